"""Splits without leakage, prompts that are cut and answers that are not."""

import json
from pathlib import Path
from typing import Any

import base
import numpy as np
import pandas as pd
import prepare
import pytest
from prepare import PrepareParams, split, strata
from prompts import frame

from genai.small import write_examples

SCHEMA = {"type": "object", "properties": {"kind": {"enum": ["a", "b", "c"]}}}
CONFIG: dict[str, Any] = {
    "instruction": "Fill in.",
    "max_text_tokens": 10,
    "truncate": "end",
    "test_share": 0.25,
    "validation_share": 0.2,
    "stratify": "kind",
    "seed": 0,
}


def rows(number: int) -> list[dict[str, Any]]:
    return [
        {
            "id": str(i),
            "input": f"text {i}",
            "output": {"kind": "abc"[i % 3]},
            "split": "",
            "group": "",
            "twins": str(i),
        }
        for i in range(number)
    ]


def test_splits_have_their_shares_and_the_kinds_theirs() -> None:
    found = pd.Series(split(rows(300), SCHEMA, PrepareParams(**CONFIG)))
    shares = found.value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.25, abs=0.02)
    assert shares["validation"] == pytest.approx(0.75 * 0.2, abs=0.02)
    kinds = pd.Series([row["output"]["kind"] for row in rows(300)])
    by_kind = pd.crosstab(kinds, found, normalize="index")
    assert (by_kind.max() - by_kind.min()).max() < 0.03


def test_twins_and_groups_stay_together() -> None:
    given = rows(120)
    for i, row in enumerate(given):
        row["twins"] = str(i // 2)
        row["group"] = "office" if i < 6 else ""
    found = split(given, SCHEMA, PrepareParams(**CONFIG))
    assert len(set(found[:6])) == 1
    assert all(found[i] == found[i + 1] for i in range(6, 120, 2))


def test_given_splits_are_kept_and_the_rest_is_drawn() -> None:
    given = rows(100)
    for row in given[:10]:
        row["split"] = "test"
    found = split(given, SCHEMA, PrepareParams(**CONFIG))
    assert found[:10] == ["test"] * 10 and found.count("test") == 10
    assert found.count("validation") >= 15


def test_twins_of_rows_of_a_group_are_tied_to_the_whole_group() -> None:
    given = rows(120)
    for row in given[:4]:
        row["group"] = "office"
    for row in given[3:6]:
        row["twins"] = "3"
    for seed in range(5):
        found = split(given, SCHEMA, PrepareParams(**CONFIG | {"seed": seed}))
        assert len(set(found[:6])) == 1


def test_a_twin_gets_the_split_that_its_twin_has_given() -> None:
    given = rows(100)
    for i, row in enumerate(given):
        row |= {"twins": str(i // 2), "split": "" if i % 2 else ("test" if i < 20 else "train")}
    found = split(given[:80] + rows(120)[80:], SCHEMA, PrepareParams(**CONFIG))
    assert found[:20] == ["test"] * 20 and found[20:80] == ["train"] * 60


@pytest.mark.parametrize("number", [3, 6])
def test_too_few_examples_are_refused(number: int) -> None:
    with pytest.raises(SystemExit, match="prepare: "):
        split(rows(number)[:3], SCHEMA, PrepareParams(**CONFIG))


def test_twins_in_two_given_splits_are_refused() -> None:
    given = rows(40)
    for row, name in zip(given, ("test", "train"), strict=False):
        row |= {"split": name, "twins": "0"}
    with pytest.raises(SystemExit, match="lie in two splits"):
        split(given, SCHEMA, PrepareParams(**CONFIG))


def test_rare_kinds_are_one_stratum_and_unknown_fields_are_named() -> None:
    given = rows(30)
    for row, kind in zip(given, ["x", "y", "z"], strict=False):
        row["output"] = {"kind": kind}
    assert set(strata(given, "kind", SCHEMA)[:3]) == {"rare"}
    assert set(strata(given, None, SCHEMA)) == {"null"}
    with pytest.raises(SystemExit, match=r"prepare.stratify: colour is none of kind"):
        strata(given, "colour", SCHEMA)


def test_texts_are_cut_and_answers_are_not(base_model: Path) -> None:
    tokenizer, config = base.tokenizer(base_model), PrepareParams(**CONFIG)
    parts = frame(tokenizer, config.instruction)
    row = rows(1)[0] | {"input": "word " * 100, "output": {"kind": "a" * 200}}
    found = prepare.encode(row, parts, tokenizer, SCHEMA, config)
    assert found["cut"] and tokenizer.decode(found["prompt"]).count("word") == 10
    said = tokenizer.decode(found["answer"])
    assert said == json.dumps(row["output"]) + tokenizer.eos_token
    odd = {"type": "object", "properties": {"n": {"type": "number"}}}
    given = rows(1)[0] | {"output": {"n": 100 / 3}}
    record = prepare.encode(given, parts, tokenizer, odd, config)["output"]
    assert json.loads(record) == {"n": 33.333333333}, "the truth is what can be said"
    middle = config.model_copy(update={"truncate": "middle"})
    row["input"] = "first " + "word " * 100 + "last"
    said = tokenizer.decode(prepare.encode(row, parts, tokenizer, SCHEMA, middle)["prompt"])
    assert "first" in said and "last" in said


def test_the_stage_writes_examples_and_their_profile(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_examples(tmp_path, 60)
    schema = json.loads((tmp_path / "data/raw/schema.json").read_text())
    schema["properties"]["people"]["maximum"] = 9999999.99
    (tmp_path / "data/raw/schema.json").write_text(json.dumps(schema))
    import yaml

    sections = {"prepare": CONFIG, "model": {"base": str(base_model), "hub": False}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(sections))
    prepare.main()
    table = pd.read_parquet(tmp_path / "data/prepared/examples.parquet")
    assert len(table) == 60 and set(table["split"]) == {"train", "validation", "test"}
    meta = json.loads((tmp_path / "data/prepared/meta.json").read_text())
    assert meta["schema"] == schema, "every digit of it"
    assert meta["longest_answer"] == table["answer"].map(len).max()
    reference = json.loads((tmp_path / "reports/reference.json").read_text())
    shares = reference["profile"]["tokens"]["shares"]
    assert np.isclose(sum(shares), 1) and reference["answers"]["people"] == {"given": 1.0}
