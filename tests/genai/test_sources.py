"""The sample is the known one; of other files every line is told what is wrong with it."""

import json
from pathlib import Path
from typing import Any

import pytest
import sources
import yaml

CARD = Path(__file__).parents[2] / "blueprints/genai/sample"
GOOD = '{"input": "a", "output": {"x": 1}}'


def lines(folder: Path, content: str | bytes) -> list[dict[str, Any]]:
    path = folder / "examples.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return sources.read_lines(path)


def test_the_sample_has_its_reports_and_asks_only_for_what_they_state() -> None:
    rows = sources.read_sample(CARD)
    assert len(rows) == 209 and all(row["input"].isprintable() for row in rows)
    stated = [row for row in rows if row["output"]["people_affected"] is not None]
    assert 0.8 < len(stated) / len(rows) < 0.9
    for row in stated:
        number = row["output"]["people_affected"]
        assert f"{number:,}" in row["input"] or str(number) in row["input"]


def test_a_file_that_is_another_is_refused(tmp_path: Path) -> None:
    card = yaml.safe_load(CARD.read_text())
    card["examples"]["sha256"] = "0" * 64
    (tmp_path / "sample").write_text(yaml.safe_dump(card))
    with pytest.raises(SystemExit, match=r"pkl.compress is not the file that ./sample names"):
        sources.read_sample(tmp_path / "sample")


@pytest.mark.parametrize("text", ["1,874 people", "all 1874.", "(1,874)", "of 1874, one", "1874"])
def test_a_number_in_the_text_is_found_with_or_without_commas(text: str) -> None:
    assert sources.states(text, 1874)


@pytest.mark.parametrize("text", ["", "11,874", "1,874,000", "1,874.5", "21874", "18740", "3.1874"])
def test_a_part_of_another_number_is_not_it(text: str) -> None:
    assert not sources.states(text, 1874)
    assert not sources.states("1,874", 874) and not sources.states("1,874", 1)


def test_substitutes_of_characters_become_readable() -> None:
    assert sources.readable("the CE\x1a\x1as  laptop\\\nwas") == "the CE's laptop was"


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        "\ufeff" + GOOD + "\r\n",
        "\n \r\n" + GOOD + "\n\n",
        GOOD.replace('"a"', '"a\u2028b\u0085c\u2029"'),
        GOOD.replace("}}", '}, "split": null, "group": null}'),
        GOOD.replace("}}", '}, "split": "test", "group": 0}'),
        GOOD.replace("1", "1e300"),
    ],
)
def test_a_line_is_read_whatever_ends_it(tmp_path: Path, content: str) -> None:
    (row,) = lines(tmp_path, content)
    assert not row.get("problem") and row["input"][0] == "a"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (GOOD[:-5], "not JSON"),
        (GOOD[:20] + "\u2028", "not JSON"),
        (GOOD.replace("1", "NaN"), "NaN is no number"),
        (GOOD.replace("1", "-Infinity"), "-Infinity is no number"),
        (GOOD.replace("1", "1e999"), "1e999 is no number"),
        (GOOD.replace("1", "9" * 5000), "not JSON"),
        (GOOD.replace("1", "[" * 70 + "]" * 70), "more than 60 levels"),
        (GOOD.replace("1", "[" * 99999), "not JSON"),
        (GOOD.replace('"x": 1', '"x": 1, "x": 2'), "stands twice"),
        ('{"input": "b", ' + GOOD[1:], "stands twice"),
        ("[]", "no text under `input`"),
        ("null", "no text under `input`"),
        ('"text"', "no text under `input`"),
        ('{"input": 5, "output": {}}', "no text under `input`"),
        ('{"input": "a", "output": []}', "no object under `output`"),
        ('{"input": "a"}', "no object under `output`"),
        (GOOD.replace("}}", '}, "label": 1}'), "unknown keys"),
        (GOOD.replace("}}", '}, "split": "dev"}'), "split is none of"),
        (GOOD.replace("}}", '}, "split": []}'), "split is none of"),
        (GOOD.replace("}}", '}, "group": ["a"]}'), "group is neither"),
        (GOOD.replace("}}", '}, "group": true}'), "group is neither"),
    ],
)
def test_a_broken_line_has_its_reason_and_the_others_are_read(
    tmp_path: Path, line: str, reason: str
) -> None:
    good, broken = lines(tmp_path, f"{GOOD}\n{line}\n")
    assert reason in broken["problem"] and not good.get("problem")
    with pytest.raises(SystemExit, match="no line is usable; the first: "):
        lines(tmp_path, line)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has no line"),
        (b"\xef\xbb\xbf\n \n", "has no line"),
        (GOOD.encode("utf-16"), "not a UTF-8 file"),
        (b"\xff\xfe\x00", "not a UTF-8 file"),
        (GOOD.replace("a", "ä", 1).encode("latin-1"), "not a UTF-8 file"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(SystemExit, match=reason):
        lines(tmp_path, content)


def test_a_long_line_is_read(tmp_path: Path) -> None:
    (row,) = lines(tmp_path, json.dumps({"input": "é" * 3_000_000, "output": {"x": 1}}))
    assert len(row["input"]) == 3_000_000 and not row.get("problem")


def test_no_text_of_the_sample_has_the_backslash_of_a_line_end() -> None:
    assert not any("\\" in row["input"] for row in sources.read_sample(CARD))
