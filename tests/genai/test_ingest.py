"""Whatever was read can be read again line by line; a schema that is none stops here."""

import json
from pathlib import Path
from typing import Any

import ingest
import pytest
import yaml

from genai.documents import NESTED
from shared import params

BLUEPRINT = Path(__file__).parents[2] / "blueprints/genai"
SIMPLE = '{"type": "object", "properties": {"a": %s}}'


def schema_of(folder: Path, text: str) -> dict[str, Any]:
    path = folder / "schema.json"
    path.write_text(text, encoding="utf-8")
    return ingest.read_schema(path)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(NESTED),
        "\ufeff" + SIMPLE % "{}",
        SIMPLE % "true",
        SIMPLE % '{"enum": ["x", null]}',
        SIMPLE % '{"const": 5}',
        SIMPLE % '{"type": "array", "items": {"$ref": "#"}}',
        SIMPLE % '{"anyOf": [{"type": "string"}, {"type": "null"}]}',
        (BLUEPRINT / "schema.json").read_text(),
    ],
)
def test_a_schema_is_read_as_it_stands(tmp_path: Path, text: str) -> None:
    assert schema_of(tmp_path, text) == json.loads(text.removeprefix("\ufeff"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a JSON file"),
        ("{", "not a JSON file"),
        ("[" * 5000, "not a JSON file"),
        (SIMPLE % '{"maximum": NaN}', "NaN is no number"),
        ("5", "must be an object with properties"),
        ("null", "must be an object with properties"),
        ("true", "must be an object with properties"),
        ("[]", "must be an object with properties"),
        ('"object"', "must be an object with properties"),
        ('{"type": "object"}', "must be an object with properties"),
        ('{"type": "object", "properties": {}}', "must be an object with properties"),
        ('{"type": "array", "items": {}}', "must be an object with properties"),
        (SIMPLE % '{"type": "text"}', r"no JSON schema: properties.a.type: 'text' is not valid"),
        (SIMPLE % '{"pattern": "("}', "no JSON schema: properties.a.pattern"),
        (SIMPLE % "5", "no JSON schema: properties.a"),
        ((SIMPLE % "{}")[:-1] + ', "$schema": 5}', r"\$schema is no text"),
        (SIMPLE % '{"$ref": "#/$defs/none"}', "cannot be used: .*leads to nothing"),
        (SIMPLE % '{"$ref": "https://x.invalid/s"}', "cannot be used: .*leads to nothing"),
        (SIMPLE % '{"items": {"$ref": "#/none"}}', "cannot be used: .*leads to nothing"),
        (SIMPLE % '{"$ref": "#"}', "cannot be used: .*goes in a circle"),
        (SIMPLE % '{"$ref": "#/properties/a"}', "cannot be used: .*goes in a circle"),
        ((SIMPLE % "{}").replace('"a"', '"a.b"'), "cannot be used: .*a name has no dot"),
    ],
)
def test_a_schema_that_cannot_be_used_says_why(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SystemExit, match=reason) as caught:
        schema_of(tmp_path, text)
    assert str(caught.value).startswith(f"ingest: {tmp_path}/schema.json: ")


def test_a_schema_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"none.json: .*No such file"):
        ingest.read_schema(tmp_path / "none.json")


def test_a_source_that_is_nothing_is_told(tmp_path: Path) -> None:
    for source in ("nowhere.jsonl", str(tmp_path)):
        with pytest.raises(SystemExit, match=r"ingest.source: .* is neither `sample` nor a file"):
            ingest.read_source(source)


def test_a_row_has_every_key_and_no_lone_surrogate_anywhere() -> None:
    row = json.loads(
        '{"input": "a\\ud800", "output": {"\\udfff": ["\\ud800b"]}, "group": "\\udc00"}'
    )
    found = ingest.whole(row, 7)
    json.dumps(found, ensure_ascii=False).encode()
    assert found["input"] == "a?" and found["output"] == {"?": ["?b"]} and found["group"] == "?"
    assert (found["id"], found["split"], found["problem"]) == ("000007", "", "")


def test_the_group_0_is_a_group_and_null_is_none() -> None:
    given = {"input": "a", "output": {}}
    assert [ingest.whole(given | {"group": group}, 0)["group"] for group in (0, 1, None, "")] == [
        "0",
        "1",
        "",
        "",
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(params, "stage", params.read)  # twice in one process: no lock
    return tmp_path


def run(folder: Path, texts: list[str], **changes: Any) -> list[dict[str, Any]]:
    section = {"source": "own.jsonl", "schema": "own.json", "limit": None, "seed": 0} | changes
    (folder / "params.yaml").write_text(yaml.safe_dump({"ingest": section}))
    (folder / "own.json").write_text(SIMPLE % '{"maximum": 9999999.99}')
    rows = [{"input": text, "output": {"a": text}} for text in texts]
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest.main()
    read = (folder / "data/raw/examples.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in read.splitlines()]


def test_line_ends_of_every_kind_inside_texts_break_no_line(folder: Path) -> None:
    texts = ["a\u2028b", "c\u2029\u0085d", "e\r\nf\x0b\x0c\x1c", "\ud800", "太阳"]
    found = run(folder, texts)
    assert [row["input"] for row in found] == [*texts[:3], "?", "太阳"]
    assert [row["output"]["a"] for row in found] == [*texts[:3], "?", "太阳"]


def test_numbers_in_a_schema_keep_every_digit(folder: Path) -> None:
    run(folder, ["a"])
    assert params.read_json(folder / "data/raw/schema.json") == params.read_json("own.json")


def test_a_limit_draws_rows_in_their_order_and_the_same_each_time(folder: Path) -> None:
    texts = [f"text {i}" for i in range(50)]
    one, again, other = (run(folder, texts, limit=9, seed=seed) for seed in (1, 1, 2))
    assert one == again != other and len(other) == 9
    assert [row["id"] for row in one] == sorted(row["id"] for row in one)
    assert len(run(folder, texts, limit=80)) == 50


def test_the_sample_is_ingested_by_its_own_parameters(folder: Path) -> None:
    for name in ("sample", "schema.json", "params.yaml"):
        (folder / name).write_text((BLUEPRINT / name).read_text())
    ingest.main()
    assert params.read_json("data/raw/schema.json")["type"] == "object"
    assert len(Path("data/raw/examples.jsonl").read_text().splitlines()) == 209
