"""The small blueprint of `shipped`, with what stands around its service on one host."""

import json
from pathlib import Path
from typing import Any

import shipped

from shared import params

# Its mean is watched: numbers above 100 are not usual.
MONITOR = '''
"""Watches the mean of the numbers."""

from shared import drift, monitoring

with monitoring.watch(__doc__) as watch:
    for windows in watch.runs():
        for window in windows:
            found = drift.mean(row["number"] for row in window.rows)
            watch.record(window, {"live.mean": found})
'''
DVC = """
stages:
  gate:
    cmd: python -m shared.objectives gate
    outs: [{reports/objectives.json: {cache: false}}]
"""
PACKAGES = """bentoml dvc fastapi filelock httptools httpx mlflow numpy orjson packaging
prometheus-client psutil pydantic python-multipart pyyaml ruamel-yaml tqdm uvicorn"""
WATCHED = {"id": "KR2", "requirement": "R1", "metric": "live.mean", "at_most": 100}
WATCHED |= {"when": "live", "window": "20 requests", "for": "1 of 1", "then": "ticket"}


def write(folder: Path, document: dict[str, Any], store: Path) -> None:
    """The blueprint after its stage `package`, which was not registered anywhere."""
    document = json.loads(json.dumps(document))
    document["objectives"][0]["key_results"].append(WATCHED)
    shipped.write(folder, document)
    (folder / "monitor.py").write_text(MONITOR)
    (folder / "requirements.txt").write_text("\n".join(PACKAGES.split()) + "\n")
    (folder / "dvc.yaml").write_text(DVC)
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    params.write_json(folder / "metrics.json", {"m": 0.5})
    params.write_json(folder / "reports/objectives.json", {"passed": True})
    params.write_json(folder / "reports/reference.json", {"live_metrics": ["live.mean"]})
    shipped.package(folder, store)
