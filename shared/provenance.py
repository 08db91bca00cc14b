"""Where a model comes from: commit, state of the pipeline, data; the chain every response names."""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from shared import objectives, params

# What a model is: graphs, arrays, and the thresholds and choices beside them.
MODEL = (".json", ".onnx", ".data", ".safetensors")  # .data: weights beside a large graph
CODE = ["*.py", "params.yaml", "objectives.yaml", "dvc.yaml", "requirements*.txt"]
CODE += ["feature_store.yaml", "schema.json"]


def collect(folder: Path = Path()) -> dict[str, Any]:
    """The chain of the results in `folder`: name, commit, hashes of pipeline, data and model.

    An image has no git: it was built with GIT_COMMIT and GIT_DIRTY.
    """
    return {
        "name": objectives.load(folder / "objectives.yaml").name,
        "git_commit": _git(folder, "rev-parse", "HEAD") or os.environ.get("GIT_COMMIT", "none"),
        "git_dirty": _changed(folder) or os.environ.get("GIT_DIRTY") == "True",
        "pipeline": pipeline_hash(folder / "dvc.lock"),
        "data": data_hash(folder / "dvc.lock"),
        "model_version": file_hash(*model_files(folder / "export"))[:12],
    }


def packaged(folder: Path) -> dict[str, Any]:
    """The chain that packaging wrote beside a service; unpackaged, that of the working tree."""
    path = folder / "provenance.json"
    return dict(params.read_json(path)) if path.exists() else collect(folder) | {"bento": "none"}


def pipeline_hash(path: Path) -> str:
    """SHA-256 of the stages in dvc.lock up to `export`: commands, parameters, hashes of code, data.

    `gate` and `package` are left out: they read this hash before their own entries are written.
    """
    stages = _stages(path)
    return _digest({name: stages[name] for name in stages if name not in ("gate", "package")})


def data_hash(path: Path) -> str:
    """SHA-256 of what `prepare` made: two runs with the same value saw the same splits."""
    return _digest(_stages(path).get("prepare", {}).get("outs"))


def model_files(folder: Path) -> list[Path]:
    """The files of an exported model that decide its answers, in a fixed order."""
    return sorted(path for path in folder.glob("*") if path.suffix in MODEL)


def file_hash(*paths: Path) -> str:
    """SHA-256 over the content of files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while piece := file.read(2**20):
                digest.update(piece)
    return digest.hexdigest()


def _changed(folder: Path) -> bool:
    """Do the blueprint's own files, or those of `shared`, differ from the commit?"""
    shared = str(Path(__file__).resolve().parent)  # may lie two folders up
    return any(_git(folder, "status", "--porcelain", "--", *paths) for paths in (CODE, [shared]))


def _stages(path: Path) -> dict[str, Any]:
    return dict(params.load_yaml(path).get("stages", {})) if path.exists() else {}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _git(folder: Path, *arguments: str) -> str:
    """Output of a git command, empty where there is no git or no commit yet."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
