"""Stage `explore`: one page of any examples, with nothing in it that a text could run."""

import json
from pathlib import Path
from typing import Any

import explore
import pytest
import yaml

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "people": {"type": ["integer", "null"]},
        "text": {"type": "string"},
        "id": {"type": "string"},
    },
}
SHOWN = {"examples_shown": 3, "findings_listed": 2}


def rows(number: int, word: str = "plain") -> list[dict[str, Any]]:
    return [
        {
            "id": f"{i:06d}",
            "input": f"report {word} " + "x " * i,
            "output": {"people": i or None, "text": f"field {word}", "id": word},
        }
        for i in range(number)
    ]


def report(found: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    import checks

    outputs = [row["output"] for row in found]
    kinds = ("problems", "conflicts", "other_languages", "near_duplicates")
    empty: dict[str, Any] = {kind: [] for kind in kinds}
    made = {
        "rows": len(found),
        "usable": len(found),
        "problem_share": 0.0,
        "conflict_share": 0.0,
        "other_language_share": 0.0,
        "exact_duplicates": 0,
        "near_duplicate_pairs": 0,
        "language": "en",
        "tokens": {"p5": 1.0, "p50": 2.0, "p95": 3.0, "max": 4.0},
        "personal_data": {},
        "fields": checks.distribution(outputs, SCHEMA),
    }
    return made | empty | changes


def page(
    folder: Path, patch: pytest.MonkeyPatch, found: list[Any], told: Any, **settings: int
) -> str:
    patch.chdir(folder)
    (folder / "params.yaml").write_text(yaml.safe_dump({"explore": SHOWN | settings}))
    for path, text in {
        "data/checked.jsonl": "".join(json.dumps(row) + "\n" for row in found),
        "data/raw/schema.json": json.dumps(SCHEMA),
        "reports/validation.json": json.dumps(told),
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    explore.main()
    return (folder / "reports/explore.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [1, 2, 30])
def test_without_findings_every_section_says_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    found = rows(number)
    text = page(tmp_path, monkeypatch, found, report(found))
    assert text.count("<p>None.</p>") == 5
    assert "http" not in text, "self-contained"
    assert text.count('<img class="chart"') >= 3


def finding(number: int, word: str) -> dict[str, Any]:
    return {"id": f"{number:06d}", "text": word, "why": word}


def test_nothing_of_a_text_a_record_or_a_finding_is_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rows(3, EVIL)
    evil = [finding(1, EVIL)]
    told = report(found, problems=evil, conflicts=evil, other_languages=evil, language=EVIL)
    told["personal_data"] = {EVIL: 1}
    told["fields"][EVIL] = {"null_share": 0, "nullable": False, "distinct": 1, "counts": {EVIL: 1}}
    text = page(tmp_path, monkeypatch, found, told)
    assert "<script" not in text and "<img src" not in text
    assert text.count("&lt;script&gt;") >= 8
    assert 'alt="&lt;script' in text


@pytest.mark.parametrize(
    "label", ["$\\frac$", "costs $5", "$x_{$", "line\nend", "a" * 80, "你好", ""]
)
@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_answer_can_be_drawn(label: str) -> None:
    from page import chart

    found = {"counts": {label: 3, label + " again": 2}}
    figure = explore.distribution(label, found)
    assert figure
    assert [len(axis.patches) for axis in figure.axes] == [2]
    assert "base64" in chart(figure, label)


def test_long_answers_that_begin_alike_have_bars_of_their_own() -> None:
    same = "b" * 50
    figure = explore.distribution("x", {"counts": {same + "1": 5, same + "2": 3}})
    assert figure
    assert sorted(bar.get_width() for bar in figure.axes[0].patches) == [3, 5]
    assert len({bar.get_y() for bar in figure.axes[0].patches}) == 2


def test_a_field_that_is_always_null_is_drawn_without_a_bar() -> None:
    from page import chart

    figure = explore.distribution("x", {"counts": {}})
    assert figure and chart(figure, "x")
    assert explore.distribution("x", {"quantiles": [1, 2, 3, 4, 5]}) is None


def test_fields_called_text_and_id_hide_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rows(4, "word")
    text = page(tmp_path, monkeypatch, found, report(found), examples_shown=4)
    for row in found:
        assert f"<td>{row['id']}</td><td>{row['input']}</td>" in text
    assert text.count("<td>&quot;field word&quot;</td>") == 4


@pytest.mark.parametrize("number", [0, 1, 2, 5, 50])
def test_findings_beyond_the_limit_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    found = rows(10)
    listed = [finding(i, f"finding {i}.") for i in range(5)]
    told = report(found, rows=20, problem_share=0.5, problems=listed)
    text = page(tmp_path, monkeypatch, found, told, findings_listed=number)
    assert text.count("<td>finding ") == 2 * min(number, 5)
    assert f"<p>{10 - min(number, 5)} more are not shown.</p>" in text


@pytest.mark.parametrize("shown", [1, 3, 500])
def test_examples_are_drawn_over_all_lengths(shown: int) -> None:
    found = rows(9)
    text = explore.examples(found, SCHEMA, shown)
    ids = [row["id"] for row in found if f"<td>{row['id']}</td>" in text]
    assert len(ids) == min(shown, 9) and ids[0] == "000000"
    assert shown == 1 or ids[-1] == "000008"


def test_no_examples_are_none() -> None:
    assert explore.examples(rows(3), SCHEMA, 0) == "<p>None.</p>"


def test_the_table_of_fields_has_quantiles_or_nothing() -> None:
    found = rows(5)
    table = explore.numbers(report(found)["fields"])
    assert list(table.index) == ["people", "text", "id"]
    assert list(table.loc["people"])[:3] == ["20%", "", "1"] and table.loc["people"].iloc[-1] == "4"
    assert list(table.loc["text"]) == ["0%", 1, "", "", "", "", ""]


def test_the_same_examples_give_the_same_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rows(6)
    texts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        texts.append(page(tmp_path / name, monkeypatch, found, report(found)))
    assert texts[0] == texts[1]
