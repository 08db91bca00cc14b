"""Where models are made: a bundle of an export, for `updates install` at the edge."""

import json
import os
import shutil
from pathlib import Path

from shared import bundles, images, intact, params, selftest
from shared.bundles import Manifest

SECONDS = 600  # for the model's own answers


def sign(bundle: Path, key: Path, sequence: int, model: Path, service: Path = Path()) -> Manifest:
    """Write a bundle of the export in `model`, with the answers that it gives on this machine.

    service: the packaged folder. Memory and latency of objectives.yaml, beside it, are its limits.
    """
    budget = images.budget(service.parent, "edge")
    draft = bundle.with_name(f".{bundle.name}.{os.getpid()}.files")
    try:
        hidden = shutil.ignore_patterns(".*", bundles.MANIFEST, intact.SUMS)
        shutil.copytree(model, draft, ignore=hidden)
        if not (draft / "provenance.json").exists():
            shutil.copy2(service / "provenance.json", draft)
        told = selftest.run("ask", service, draft, SECONDS, memory_mb=None)
        answers = json.loads(told.splitlines()[-1])
        limits = {"memory_mb": budget.memory_mb, "latency_ms": budget.latency_p95_ms}
        expected = {"tolerance": selftest.TOLERANCE, **limits, "answers": answers}
        # Not rounded to six digits, as results are
        text = json.dumps(expected, allow_nan=False)
        (draft / selftest.GOLDEN).write_text(text, encoding="utf-8")
        chain = params.read_json(draft / "provenance.json")
        about = {"name": chain["name"], "sequence": sequence, "version": chain["model_version"]}
        files = {path.relative_to(draft).as_posix(): path for path in draft.rglob("*")}
        contents = {name: path for name, path in files.items() if path.is_file()}
        return bundles.write(bundle, contents, about, key)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
