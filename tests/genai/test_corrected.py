"""Corrected records as examples: what was learnt is not tested, from one retraining to the next."""

from pathlib import Path
from typing import Any

import base
import checks
import corrected
import letters
import numpy as np
import sources
from corrected import RetrainParams, Rows
from records import Json

CONFIG: dict[str, Any] = {
    "rows": 100,
    "held_back": 4,
    "validation_share": 0.2,
    "same_record": True,
    "epochs": 1,
    "learning_rate": 0.001,
    "gate_without": (),
}
SCHEMA = {
    "type": "object",
    "properties": {"people": {"type": ["integer", "null"]}, "kind": {"enum": ["a", "b"]}},
    "required": ["people", "kind"],
    "additionalProperties": False,
}


def example(text: str, people: int, split: str = "", group: str = "", **more: Any) -> Json:
    row = {"input": text, "output": {"people": people, "kind": "a"}, "split": split}
    return row | {"group": group, "live": False, "new": False} | more


def came(text: str, people: int, **more: Any) -> Json:
    return example(text, people, live=True, new=True, **more)


def several(number: int, first: int = 0) -> Rows:
    return [came(told(i), i) for i in range(first, first + number)]


def told(number: int, how: str = "") -> str:
    """A text that is like no other number's."""
    return " ".join(f"{how}word{number}x{i}" for i in range(5))


def together(rows: Rows, **change: Any) -> Rows:
    return corrected.together(rows, 0.8, RetrainParams(**(CONFIG | change)))


def splits(rows: Rows) -> dict[str, str]:
    return {row["input"]: row["split"] for row in rows}


def kept(rows: Rows) -> Rows:
    """As the next retraining finds them."""
    wanted = ("input", "output", "split")
    rest = {"group": "", "live": True, "new": False}
    return [{key: row[key] for key in wanted} | rest for row in rows if row["live"]]


def test_so_many_new_reports_are_held_back_and_a_share_validates() -> None:
    found = list(splits(together(several(14))).values())
    assert [found.count(name) for name in corrected.SPLITS] == [8, 2, 4]
    assert splits(together(several(3))) == dict.fromkeys(splits(several(3)), "test")


def test_a_report_stays_where_it_was_however_many_come_after_it() -> None:
    first = together(several(14))
    second = together(corrected.latest([], kept(first), several(14, first=7)))
    before, after = splits(first), splits(second)
    assert {text: after[text] for text in before} == before
    tested = [row for row in second if row["new"] and row["split"] == "test"]
    assert len(tested) == 4, "those that were held back before count"


def test_the_same_report_in_other_words_is_never_on_both_sides() -> None:
    """Real reports, each in several letters, beside other letters in the same words."""
    card, draw = Path(corrected.__file__).with_name("sample"), np.random.default_rng(0)
    reports = sources.read_sample(card)
    twins = checks.near_twins([row["input"] for row in reports[:120]], 0.8)
    first = checks.clusters(120, twins)
    old = [
        row
        | {"split": "train" if number < 60 else "test", "group": "", "live": False, "new": False}
        for row, number in zip(reports[:120], first, strict=True)
    ]
    sent = [row | {"of": i} for _ in range(3) for i, row in enumerate(reports[40:140])]
    new = [
        row | {"input": letters.letter(row["input"], draw)}
        | {"split": "", "group": "", "live": True, "new": True}
        for row in sent
    ]  # fmt: skip
    found = together(corrected.latest(old, [], new), held_back=30)
    of: dict[int, set[str]] = {}
    for row in found:
        if "of" in row:
            of.setdefault(row["of"], set()).add(row["split"])
    assert len(of) == 100 and all(len(names) == 1 for names in of.values())
    assert all("test" not in of[i] for i in range(20)), "they were learnt before"
    texts = [row["input"] for row in found]
    for one, other, _ in checks.near_twins(texts, 0.8):
        assert found[one]["split"] == found[other]["split"], "validate would stop"
    held_back = {row["report"] for row in found if row["live"] and row["split"] == "test"}
    assert len(held_back) == 30


def test_a_text_that_was_learnt_is_not_tested_when_it_comes_again() -> None:
    old = [example("a b c d", 1, "train"), example("e f g h", 2, "validation", group="x")]
    new = [came("a  b c d", 9), came("e f g h", 2), came("in other words", 1)]
    found = together(corrected.latest(old, [], new))
    assert splits(found) == {
        "a  b c d": "train",
        "e f g h": "validation",
        "in other words": "test",
    }, "the record says 9 now, so that the other words are of something else"
    (group,) = {row["group"] for row in found if row["input"] == "e f g h"}
    assert group == "x"


def test_a_former_test_text_that_is_learnt_now_is_tested_no_longer() -> None:
    old = [example(told(i), i, "test") for i in range(12)]
    new = [came(told(i, "letter"), i) for i in range(10)]
    found = together(corrected.latest(old, [], new))
    of_letters = {row["output"]["people"]: row["split"] for row in found if row["live"]}
    of_reports = {row["output"]["people"]: row["split"] for row in found if not row["live"]}
    tested = {i for i, name in of_letters.items() if name == "test"}
    assert len(of_letters) == 10 and len(tested) == 4
    assert of_reports == dict.fromkeys([*sorted(tested), 10, 11], "test")


def test_where_records_repeat_the_same_one_ties_nothing() -> None:
    rows = [example("learnt before", 0, "train"), *[came(told(i), 0) for i in range(8)]]
    assert {row["split"] for row in together(rows)} == {"train"}
    found = list(splits(together(rows, same_record=False)).values())
    assert found.count("test") == 4


def test_the_newest_correction_of_a_text_counts() -> None:
    old, before = [example("one text", 1, "train")], [came("two text", 2, split="test")]
    new = [came("one text", 3), came("two text", 4), came("two  text", 5)]
    found = corrected.latest(old, before, new)
    assert [(row["output"]["people"], row["split"]) for row in found] == [(3, "train"), (5, "test")]


def test_a_former_test_text_keeps_the_split_of_its_first_retraining() -> None:
    """The model that serves now has learnt it; it must not be compared on it."""
    old = [example("one text", 1, "test")]
    before = [came("one text", 1, split="train"), came("two text", 2, split="validation")]
    found = corrected.latest(old, before, [came("one text", 3)])
    assert splits(found) == {"one text": "train", "two text": "validation"}


def test_of_a_tested_report_only_its_newest_text_is_asked() -> None:
    rows = [came(told(i, how), i) for how in "abc" for i in range(10)]
    rows += [example("a report of old", 0, "train")]
    found = together(rows)
    asked = corrected.examples(found)
    tested = [row["input"] for row in asked if row["split"] == "test"]
    assert len(tested) == 4 and all("cword" in text for text in tested)
    others = [row for row in found if row["split"] != "test"]
    assert [row for row in asked if row["split"] != "test"] == others


def test_what_could_not_be_learnt_is_left_out(base_model: Path) -> None:
    truths: list[Any] = [{"people": 1, "kind": "a"}, {"people": 1}, {"people": 1, "kind": "c"}]
    logged = [{"text": f"jane{i}@x.org", "truth": truth} for i, truth in enumerate(truths)]
    logged += [{"text": "", "truth": truths[0]}, {"truth": truths[0]}]
    tokenizer = base.tokenizer(base_model)
    (found,) = corrected.usable(logged, SCHEMA, tokenizer, mask=False, limit=100)
    assert found["input"] == "jane0@x.org" and found["output"] == truths[0]
    (found,) = corrected.usable(logged, SCHEMA, tokenizer, mask=True, limit=100)
    assert "jane" not in found["input"]
    assert corrected.usable(logged, SCHEMA, tokenizer, mask=False, limit=5) == []
    schema = {"type": "object", "properties": {"to": {"type": "string"}}}
    logged = [{"text": "a text", "truth": {"to": "jane@x.org"}}]
    (found,) = corrected.usable(logged, schema, tokenizer, mask=True, limit=100)
    assert found["output"] == {"to": "[email]"}


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert corrected.read(tmp_path / "none.jsonl") == []
    rows = [came("line\u2028end\n", 1), came("\ud800", 2)]
    corrected.write(tmp_path / "some.jsonl", rows, ("input", "output"))
    found = corrected.read(tmp_path / "some.jsonl")
    assert found == [{key: row[key] for key in ("input", "output")} for row in rows]
