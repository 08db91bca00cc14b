"""A merged model as INT4 ONNX, through the builder of ONNX Runtime GenAI."""

import subprocess
import sys
import tempfile
from pathlib import Path

NEEDED = ("model.onnx", "model.onnx.data", "genai_config.json", "tokenizer.json")
NEEDED += ("tokenizer_config.json", "chat_template.jinja")


def build(source: Path, target: Path, options: dict[str, str | int]) -> None:
    """The model in `source` (Hugging Face's layout, fp32) as INT4 ONNX for CPUs in `target`.

    In a process of its own, whose gigabytes end with it. Raises SystemExit with the end of its log.
    """
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(source)]
        command += ["-o", str(target), "-p", "int4", "-e", "cpu", "-c", cache]
        command += ["--extra_options", *(f"{key}={value}" for key, value in options.items())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"export: the builder failed:\n{done.stderr[-2000:]}")
    for path in target.iterdir():
        if path.name not in NEEDED:
            path.unlink()
