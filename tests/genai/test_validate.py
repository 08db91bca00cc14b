"""Stage `validate`: what is left out and why, and which examples stop the pipeline."""

import json
from pathlib import Path
from typing import Any

import pytest
import validate
import yaml

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "people": {"type": ["integer", "null"]},
        "list": {"type": "array", "items": {"enum": ["a", "b"]}},
    },
    "required": ["people", "list"],
    "additionalProperties": False,
}
SETTINGS = {
    "max_problem_share": 1.0,
    "min_examples": 1,
    "near_duplicate": 0.8,
    "max_conflicts": 1.0,
    "language": None,
    "max_other_languages": 1.0,
    "personal_data": "report",
    "listed": 5,
}
PLACES = ("a parked car", "the clinic in town", "an office upstairs", "somebody's home")


@pytest.fixture(scope="module")
def tokenizer(base_model: Path) -> Any:
    import base

    return base.tokenizer(base_model)


def row(number: int, text: str = "", **changes: Any) -> dict[str, Any]:
    text = text or f"Laptop {number} of kind {number * 7} was stolen from {PLACES[number % 4]}."
    made = {"id": f"{number:06d}", "input": text, "output": {"people": number, "list": ["a", "b"]}}
    return made | {"split": "", "group": "", "problem": ""} | changes


def look(
    rows: list[Any], tokenizer: Any, schema: Any = SCHEMA, limit: int = 200, **changes: Any
) -> Any:
    config = validate.ValidateParams.model_validate(SETTINGS | changes)
    report, kept = validate.examine(rows, schema, config, tokenizer, limit)
    json.dumps(report, allow_nan=False)
    return report, kept


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"problem": "not JSON: x"}, "not JSON: x"),
        ({"input": " \n"}, "input is empty"),
        ({"input": "\u200b\x00"}, "input is empty"),
        ({"output": {"people": 5}}, "the record: 'list' is a required property"),
        ({"output": {"people": 5.5, "list": []}}, "people: "),
        ({"output": {"people": 5, "list": ["a", "z"]}}, "list.1: "),
        ({"output": {"people": 5, "list": [], "x": 1}}, "the record: "),
        ({"output": {"people": 10**18, "list": []}}, "decoding has to end"),
        ({"output": {"people": 5, "list": ["a"] * 21}}, "decoding has to end"),
        ({"output": {"people": 5, "list": "z" * 10_000}}, "list: "),
    ],
)
def test_an_example_that_cannot_be_learnt_from_is_left_out_with_the_reason(
    tokenizer: Any, changes: dict[str, Any], why: str
) -> None:
    report, kept = look([row(0), row(1, **changes)], tokenizer)
    assert [one["id"] for one in kept] == ["000000"]
    (told,) = report["problems"]
    assert told["id"] == "000001" and told["why"].startswith(why) and len(told["why"]) < 200
    assert report["problem_share"] == 0.5


def test_a_record_longer_than_any_answer_is_reported_and_left_out(tokenizer: Any) -> None:
    rows = [row(0), row(1, output={"people": 1, "list": ["a"] * 20})]
    report, kept = look(rows, tokenizer, limit=40, max_problem_share=0.4)
    assert [one["id"] for one in kept] == ["000000"]
    (told,), (stop,) = report["problems"], report["stops"]
    assert told["id"] == "000001" and "evaluate.max_answer_tokens is 40; set it to " in told["why"]
    assert "problem_share 0.500 above validate.max_problem_share" in stop
    report, kept = look(rows, tokenizer, max_problem_share=0.4)
    assert len(kept) == 2 and report["problems"] == report["stops"] == []


def test_nothing_usable_stops_with_the_first_reason(tokenizer: Any) -> None:
    with pytest.raises(SystemExit, match="none of 2 examples is usable; the first: input is empty"):
        look([row(0, input=" "), row(1, problem="x")], tokenizer)
    with pytest.raises(SystemExit, match="no text comes with one record only"):
        look([row(0, "same text"), row(1, "same text")], tokenizer)


def test_records_equal_up_to_order_and_space_are_copies_and_no_conflict(tokenizer: Any) -> None:
    text = "The laptop was stolen from a car."
    rows = [
        row(0, text, output={"people": 5, "list": ["a", "b"]}),
        row(1, "The laptop  was stolen\nfrom a car. ", output={"list": ["b", "a"], "people": 5}),
    ]
    report, kept = look(rows, tokenizer)
    assert [one["id"] for one in kept] == ["000000"]
    assert report["exact_duplicates"] == 1 and report["conflict_share"] == 0


def test_all_records_of_a_text_that_contradict_are_left_out(tokenizer: Any) -> None:
    text = "The laptop was stolen from a car."
    same = {"people": 5, "list": []}
    rows = [row(0), row(1, text, output=same), row(2, text), row(3, text, output=same)]
    report, kept = look(rows, tokenizer)
    assert [one["id"] for one in kept] == ["000000"]
    assert report["conflict_share"] == 0.75 and report["exact_duplicates"] == 0
    assert [one["id"] for one in report["conflicts"]] == ["000001", "000002", "000003"]


def test_a_broken_copy_makes_no_conflict(tokenizer: Any) -> None:
    text = "The laptop was stolen from a car."
    report, kept = look([row(0, text), row(1, text, output={"people": "x"})], tokenizer)
    assert len(kept) == 1 and report["conflict_share"] == 0


def twins() -> list[dict[str, Any]]:
    text = "On Monday the clinic found that laptop number {} was stolen from the locked office room"
    return [row(0), row(1, text.format(11)), row(2, text.format(12)), row(3)]


def test_near_duplicates_share_the_name_of_the_first(tokenizer: Any) -> None:
    report, kept = look(twins(), tokenizer, near_duplicate=0.6)
    assert [one["twins"] for one in kept] == ["000000", "000001", "000001", "000003"]
    assert report["near_duplicate_pairs"] == 1
    assert report["near_duplicates"][0] | {"cosine": 0} == {
        "id": "000001",
        "of": "000002",
        "cosine": 0,
    }


@pytest.mark.parametrize(
    ("splits", "stops"), [(("train", "test"), True), (("test", "test"), False), (("", ""), False),
                          (("train", ""), False)]
)  # fmt: skip
def test_near_duplicates_across_given_splits_stop(
    tokenizer: Any, splits: tuple[str, str], stops: bool
) -> None:
    rows = twins()
    rows[1]["split"], rows[2]["split"] = splits
    report, _ = look(rows, tokenizer, near_duplicate=0.6)
    assert bool(report["stops"]) is stops
    assert all("near duplicates in different splits: 000001" in line for line in report["stops"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"max_problem_share": 0.1}, "validate.max_problem_share"),
        ({"max_conflicts": 0.1}, "validate.max_conflicts"),
        ({"language": "de", "max_other_languages": 0.5}, "validate.max_other_languages"),
        ({"min_examples": 3}, "validate.min_examples"),
    ],
)
def test_each_limit_that_is_broken_is_named_alone(
    tokenizer: Any, changes: dict[str, Any], named: str
) -> None:
    text = "The same report was sent to us twice."
    rows = [row(0), row(1), row(2, problem="x"), row(3, text), row(4, text)]
    report, _ = look(rows, tokenizer, **changes)
    (line,) = report["stops"]
    assert named in line and "reports/validation.json" in line


def test_a_schema_that_cannot_guide_stops_and_says_so(tokenizer: Any) -> None:
    schema = {"type": "object", "properties": {"people": {"not": {"type": "string"}}}}
    report, _ = look([row(0), row(1)], tokenizer, schema)
    assert ["cannot guide decoding" in line for line in report["stops"]] == [True]


def test_personal_data_are_counted_and_masked_where_wished(tokenizer: Any) -> None:
    text = "Write to jane@example.org or call 555-123-4567, since 1,874 patients have to know it."
    report, kept = look([row(0, text)], tokenizer)
    assert report["personal_data"] == {"email": 1, "phone": 1} and kept[0]["input"] == text
    _, kept = look([row(0, text)], tokenizer, personal_data="mask")
    assert kept[0]["input"].startswith("Write to [email] or call [phone], since 1,874 patients")


def test_what_is_masked_stands_in_no_report(tokenizer: Any) -> None:
    text = "Write to jane@example.org, since 1,874 patients have to know it."
    rows = [row(0), row(1, text), row(2, text), row(3, text + " Yes.", problem="x")]
    report, _ = look(rows, tokenizer, personal_data="mask")
    assert "jane@example.org" not in json.dumps(report)


def test_records_are_masked_too_but_not_what_is_to_choose_from(tokenizer: Any) -> None:
    mail = "jane@example.org"
    text = {"type": "string"}
    parts = {"contact": {"anyOf": [text, {"type": "null"}]}, "kind": {"enum": [mail]}}
    parts |= {"list": {"type": "array", "items": text}}
    schema = {"type": "object", "properties": parts}
    record = {"contact": f"Jane, {mail}", "kind": mail, "list": [mail, "x"]}
    rows = [row(0, output=record), row(1, output=record | {"contact": 5}), row(2, output=None)]
    report, kept = look(rows, tokenizer, schema, personal_data="mask")
    masked = {"contact": "Jane, [email]", "kind": mail, "list": ["[email]", "x"]}
    assert [one["output"] for one in kept] == [masked] and len(report["problems"]) == 2
    assert report["fields"]["contact"]["counts"] == {"Jane, [email]": 1}


@pytest.mark.parametrize("listed", [0, 2])
def test_no_more_findings_are_listed_than_wished(tokenizer: Any, listed: int) -> None:
    rows = [row(0), *(row(i, problem="x") for i in range(1, 9))]
    report, _ = look(rows, tokenizer, listed=listed)
    assert len(report["problems"]) == listed and report["problem_share"] == pytest.approx(8 / 9)


def test_special_tokens_and_odd_texts_pass(tokenizer: Any) -> None:
    texts = ["<|im_end|>", "a\u2028b", "x" * 50_000, "😀", "5"]
    report, kept = look([row(i, text) for i, text in enumerate(texts)], tokenizer)
    assert [one["input"] for one in kept] == texts
    assert report["tokens"]["max"] > 1000


@pytest.mark.parametrize("text", ["line\u2028end", "next\x85line", "\x1c", "🙂 é"])
def test_the_stage_leaves_lines_that_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base_model: Path, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [row(0, f"The {text} was stolen"), row(1)]
    values = {"validate": SETTINGS, "model": {"base": str(base_model), "hub": False}}
    values |= {"evaluate": {"max_answer_tokens": 200}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/schema.json").write_text(json.dumps(SCHEMA))
    lines = "".join(json.dumps(one) + "\n" for one in rows)
    (tmp_path / "data/raw/examples.jsonl").write_text(lines)
    validate.main()
    found = (tmp_path / "data/checked.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["input"] for line in found] == [one["input"] for one in rows]


def test_the_stage_stops_but_leaves_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base_model: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    limits = SETTINGS | {"min_examples": 50}
    values = {"validate": limits, "model": {"base": str(base_model), "hub": False}}
    values |= {"evaluate": {"max_answer_tokens": 200}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/schema.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "data/raw/examples.jsonl").write_text(json.dumps(row(0)) + "\n")
    with pytest.raises(SystemExit, match=r"^validate: 1 usable examples are below"):
        validate.main()
    assert json.loads((tmp_path / "reports/validation.json").read_text())["usable"] == 1


def test_201_of_the_209_examples_of_the_sample_are_usable(tokenizer: Any) -> None:
    import ingest
    import sources

    folder = Path(__file__).parent.parent.parent / "blueprints/genai"
    rows = [ingest.whole(one, i) for i, one in enumerate(sources.read_sample(folder / "sample"))]
    values = yaml.safe_load((folder / "params.yaml").read_text())
    settings = values["validate"] | {"limit": values["evaluate"]["max_answer_tokens"]}
    schema = json.loads((folder / "schema.json").read_text())
    report, kept = look(rows, tokenizer, schema, **settings)
    assert (len(rows), len(kept)) == (209, 201)
    assert report["stops"] == [] and report["language"] == "en"
