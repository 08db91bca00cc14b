"""Held-out reports as traffic, and as letters that tell the same facts."""

import itertools
import json
import re
from pathlib import Path

import letters
import numpy as np
import pandas as pd
import pytest
import requested
import sources
import traffic
from records import Json


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Json]:
    card = Path(traffic.__file__).with_name("sample")
    with pytest.MonkeyPatch.context() as patch:  # where a package is fetched that is missing
        patch.chdir(tmp_path_factory.mktemp("sample"))
        return sources.read_sample(card)


@pytest.fixture
def folder(reports: list[Json], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Json]:
    """A folder in which the pipeline held back every fourth of twenty reports; gives these."""
    rows = [row | {"id": f"{i:06d}"} for i, row in enumerate(reports[:20])]
    (tmp_path / "data/prepared").mkdir(parents=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "data/checked.jsonl").write_text(lines)
    splits = [
        {"id": row["id"], "split": "train" if i % 4 else "test"} for i, row in enumerate(rows)
    ]
    pd.DataFrame(splits).to_parquet(tmp_path / "data/prepared/examples.parquet")
    monkeypatch.chdir(tmp_path)
    return rows[::4]


def test_each_round_has_every_held_out_report_once(folder: list[Json]) -> None:
    found = list(itertools.islice(traffic.items("none", seed=1), 15))
    rounds = [[item.body["text"] for item in found[i : i + 5]] for i in (0, 5, 10)]
    wanted = {row["input"]: row["output"] for row in folder}
    assert all(sorted(texts) == sorted(wanted) for texts in rounds)
    assert len({tuple(texts) for texts in rounds}) > 1, "in another order each time"
    assert all(item.truth == wanted[item.body["text"]] for item in found)
    once = [item.body["text"] for item in traffic.items("none", seed=1, once=True)]
    assert once == rounds[0]


@pytest.mark.parametrize("shift", sorted(traffic.SHIFTS))
def test_traffic_is_drawn_by_its_seed(folder: list[Json], shift: str) -> None:
    one, again, other = (
        [item.body["text"] for item in itertools.islice(traffic.items(shift, seed), 10)]
        for seed in (1, 1, 2)
    )
    assert one == again != other
    for text in one:
        requested.Document(text=text)


def test_letters_have_the_truths_of_their_reports(folder: list[Json]) -> None:
    found = list(itertools.islice(traffic.items("letters", seed=1), 10))
    truths = [json.dumps(item.truth) for item in found]
    assert sorted(truths[:5]) == sorted(json.dumps(row["output"]) for row in folder)
    assert len({item.body["text"] for item in found}) == 10


def test_a_letter_keeps_the_number_and_brings_no_second_one_of_people(
    reports: list[Json],
) -> None:
    draw = np.random.default_rng(0)
    for row in reports:
        number, text = row["output"]["people_affected"], letters.letter(row["input"], draw)
        assert number is None or sources.states(text, number), text
        around = letters.letter("", draw)
        assert not re.search(r"\d[\d,]* (people|persons|patients|individuals|clients)", around)


def test_a_letter_is_one_and_not_a_report(reports: list[Json]) -> None:
    draw = np.random.default_rng(0)
    found = [letters.letter(row["input"], draw) for row in reports]
    whole = " ".join(found)
    assert not re.search(r"\b(CE|BA|e?PHI|OCR|HHS|covered entity|laptop|stolen)\b", whole)
    assert not re.search(r"[{}\\]", whole), "nothing is left to be filled in"
    words = [len(text.split()) for text in found]
    assert 120 < np.median(words) < 300, "as long as letters are"
    assert len({text[:40] for text in found}) > 50, "many write"


def test_words_at_the_beginning_of_a_sentence_have_a_capital() -> None:
    found = letters.exchanged("CE lost it. CE told the CE.", r"\bCE\b", "company")
    assert found == "Company lost it. Company told the company."


@pytest.mark.parametrize("said", ["entity's (CE)", "entity's (CE's)", "entity's"])
def test_abbreviations_go_with_what_they_stand_for(said: str) -> None:
    text = letters.reworded(f"A covered {said} laptop computer", np.random.default_rng(0))
    assert re.fullmatch(r"A (company|corporation)'s (notebook|portable PC)", text)
