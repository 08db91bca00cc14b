"""A merged model as INT4 ONNX, through the builder of ONNX Runtime GenAI."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from shared import params

NEEDED = ("model.onnx", "model.onnx.data", "genai_config.json", "tokenizer.json")
NEEDED += ("tokenizer_config.json", "chat_template.jinja")


def settings(weights: dict[str, Any], eight_bits: list[str], layers: int) -> dict[str, Any]:
    """The builder's: 4 bits, but 8 of the last matrix and of these matrices in each layer."""
    wide: list[dict[str, str]] = [{"preset": "last_matmul"}]
    wide += [
        {"name": f"/model/layers.{i}/{name}/MatMul"} for i in range(layers) for name in eight_bits
    ]
    overrides = [{"match": match, "type": "int8"} for match in wide]
    shared = {"type": "uint4", "symmetric": False, "op_types": ["MatMul", "Gather"]}
    return {"quant_config": {"weights": weights | shared | {"overrides": overrides}}}


def build(source: Path, target: Path, weights: dict[str, Any], eight_bits: list[str]) -> None:
    """The model in `source` (Hugging Face's layout, fp32) as INT4 ONNX for CPUs in `target`.

    In a process of its own, whose gigabytes end with it. Raises SystemExit with the end of its log.
    """
    layers = params.read_json(source / "config.json")["num_hidden_layers"]
    wanted = json.dumps(settings(weights, eight_bits, layers))
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(source)]
        command += ["-o", str(target), "-p", "int4", "-e", "cpu", "-c", cache]
        command += ["--target_options", wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"export: the builder failed:\n{done.stderr[-2000:]}")
    for path in target.iterdir():
        if path.name not in NEEDED:
            path.unlink()
