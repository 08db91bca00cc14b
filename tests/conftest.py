"""Fixtures that several tests share: an objectives file, a folder with results, a repository."""

import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import yaml
from copied import app, reproduced, server  # noqa: F401
from isolated import blueprint
from stores import migrated, store  # noqa: F401

from shared import params

ROOT = Path(__file__).parent.parent
# Files whose tests use one copied-out folder, in which a pipeline has run for minutes.
SHARED = (
    "test_copy_out.py",
    "test_kills.py",
    "test_abuse.py",
    "test_gate.py",
    "test_live.py",
    "test_retrain.py",
    "test_targets.py",
)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    with blueprint(collector.path):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    with blueprint(item.path):
        return (yield)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of one folder, and those of one file, go to the same of several processes.

    Not by xdist's marks: pytest 9.2 ignores what it writes into the names of tests.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = Path(nodeid.partition("::")[0])
            return str(path.parent if path.name in SHARED else path)

    return ByFolder(config, log)


@pytest.fixture(scope="session")
def tools() -> None:
    """Prometheus and Alertmanager, installed as users do it."""
    if not all(shutil.which(tool) for tool in ("promtool", "amtool", "prometheus-alertmanager")):
        subprocess.run(["make", "tools"], cwd=ROOT, check=True)


@pytest.fixture
def document() -> dict[str, Any]:
    return {
        "name": "demo",
        "ai_type": "cv",
        "problem": "Find what is broken.",
        "requirements": [
            {"id": "R1", "kind": "business", "text": "find it", "owner": "quality"},
            {"id": "R2", "kind": "nfr", "text": "fast", "owner": "production"},
        ],
        "objectives": [
            {
                "objective": "Nothing broken leaves",
                "key_results": [
                    {
                        "id": "KR1",
                        "requirement": "R1",
                        "metric": "test.auc",
                        "at_least": 0.9,
                        "when": "release",
                    },
                    {
                        "id": "KR2",
                        "requirement": "R2",
                        "metric": "live.latency_p95_ms",
                        "at_most": 50,
                        "when": "live",
                        "for": "5m",
                        "then": "page",
                    },
                ],
            }
        ],
        "architecture": {
            "model": {"chosen": "small", "rejected": [{"name": "large", "because": "slow"}]},
            "patterns": ["champion and challenger"],
        },
    }


@pytest.fixture
def folder(tmp_path: Path, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A blueprint's folder after `export`, in a git repository, as the working directory."""
    (tmp_path / "objectives.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "params.yaml").write_text("train: {epochs: 1}\n")
    (tmp_path / "dvc.lock").write_text(
        yaml.safe_dump({"stages": {"prepare": {"outs": ["x"]}, "gate": {"cmd": "a"}}})
    )
    params.write_json(tmp_path / "metrics.json", {"test": {"auc": 0.95}})
    params.write_json(tmp_path / "reports/reference.json", {"live_metrics": {}})
    (tmp_path / "export").mkdir()
    (tmp_path / "export/model.onnx").write_bytes(b"model")
    for command in (
        ["init", "-q"],
        ["config", "user.email", "a@b.invalid"],
        ["config", "user.name", "a"],
        ["add", "-A"],
        ["commit", "-qm", "x"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path
