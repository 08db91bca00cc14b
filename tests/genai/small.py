"""A small model with random weights and the real tokenizer, exported: for tests of what serves it.

Its answers mean nothing, but they must be records all the same.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from genai.documents import NESTED, tiny_base
from shared import params

INSTRUCTION = "Fill in the record."


def meta(tokenizer: Any, schema: dict[str, Any] = NESTED) -> dict[str, Any]:
    import prompts

    parts = prompts.frame(tokenizer, INSTRUCTION)._asdict()
    limits = {"max_text_tokens": 40, "truncate": "end", "max_answer_tokens": 200}
    return {"schema": schema, "frame": parts, "instruction": INSTRUCTION} | limits


@pytest.fixture(scope="session")
def small(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tiny`, the model, and `export`, the same as INT4 ONNX."""
    import base
    import quantising

    folder = tmp_path_factory.mktemp("small")
    tiny_base(base_model, folder / "tiny")
    weights = {"method": "k_quant", "block_size": 32, "accuracy_level": 4}
    quantising.build(folder / "tiny", folder / "export", weights, ["attn/qkv_proj"])
    params.write_json(folder / "export/model.json", meta(base.tokenizer(folder / "tiny")))
    return folder


@pytest.fixture(scope="session")
def predictor(small: Path) -> Any:
    from predictor import Predictor

    return Predictor(small / "export")


@pytest.fixture(scope="session")
def masked_export(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same export, as if made with `validate.personal_data: mask`."""
    folder = tmp_path_factory.mktemp("masked") / "export"
    shutil.copytree(small / "export", folder)
    told = params.read_json(folder / "model.json")
    params.write_json(folder / "model.json", told | {"personal_data": "mask"})
    return folder


@pytest.fixture(scope="session")
def masks(masked_export: Path) -> Any:
    from predictor import Predictor

    return Predictor(masked_export)


def write_examples(folder: Path, number: int = 24) -> None:
    """What `ingest` and `validate` leave: checked texts with records of two fields."""
    schema = {
        "type": "object",
        "properties": {"people": {"type": ["integer", "null"]}, "kind": {"enum": ["a", "b"]}},
        "required": ["people", "kind"],
    }
    params.write_json(folder / "data/raw/schema.json", schema)
    rows = [
        {
            "id": f"{i:06d}",
            "input": f"{i + 100} people of kind {'ab'[i % 2]} were counted by office {i}.",
            "output": {"people": i + 100, "kind": "ab"[i % 2]},
            "split": "",
            "group": "",
            "twins": f"{i:06d}",
        }
        for i in range(number)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "data/checked.jsonl").write_text(lines)
