"""Where the Trainer keeps what it has learnt so far, and from where a killed run goes on."""

import hashlib
import json
import shutil
from pathlib import Path

from model import TrainParams

CHECKPOINT = Path("checkpoint")


def folder(config: TrainParams, base: Path, examples: Path) -> Path:
    """The folder for what is learnt on this base model from these examples, with these parameters
    and scripts; others go."""
    digest = hashlib.sha256(config.model_dump_json().encode())
    begin = [base, Path(config.adapter)] if config.adapter else [base]
    start = [path for place in begin for path in sorted(place.glob("*")) if path.is_file()]
    scripts = sorted(Path(__file__).parent.glob("*.py"))
    for path in [examples, *start, *scripts]:
        with path.open("rb") as file:  # in pieces: a base model has gigabytes
            digest.update(hashlib.file_digest(file, "sha256").digest())
    found = CHECKPOINT / digest.hexdigest()[:16]
    if not found.exists():
        shutil.rmtree(CHECKPOINT, ignore_errors=True)
        found.mkdir(parents=True, exist_ok=True)
    return found


def newest(folder: Path) -> str | None:
    """The newest checkpoint that is whole; a kill may have hit the next, whose state comes last."""
    steps = {int(path.name.split("-")[1]): path for path in folder.glob("checkpoint-*")}
    for _, path in sorted(steps.items(), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text())
        except (OSError, ValueError):
            continue
        return str(path)
    return None
