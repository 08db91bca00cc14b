"""What a stack does once, before its service starts: the images' model is registered and deployed.

    python -m shared.bootstrap          in the blueprint's folder; does nothing where all is done

A model that was deployed before, and was followed by a better one, does not come back.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from shared import lineage, objectives, provenance, registry, releasing, workspace

LIVE = Path("live")


def register(work: Path) -> None:
    """In the workspace, where files may be written: the run, the model, the alias champion.

    Raises SystemExit where the server does not take it.
    """
    for command, most in (("record", 0), ("promote", 1)):  # promote: 1 where a better one is there
        done = subprocess.run(
            [sys.executable, "-m", "shared.tracking", command], cwd=work, check=False
        )
        if done.returncode > most:
            raise SystemExit(f"bootstrap: {command} failed")
    if registry.champion(objectives.load(work / "objectives.yaml").name) is None:
        raise SystemExit("bootstrap: the registry has no champion; see above")


def main() -> None:
    version = provenance.collect()["model_version"]
    if version in [change["version"] for change in lineage.history(LIVE)]:
        print(f"bootstrap: {version} was deployed before; {lineage.current(LIVE)} is served")
        return
    LIVE.mkdir(exist_ok=True)
    work = workspace.workspace(LIVE)
    # Results of an earlier model must not pass for this one's.
    for name in ("export", "metrics.json", "export.json", "reports", "dvc.lock"):
        _copy(Path(name), work / name)
    if os.environ.get("MLFLOW_TRACKING_URI"):
        register(work)
    print(f"bootstrap: {releasing.deploy(work / 'export', LIVE)} is served")


def _copy(path: Path, goal: Path) -> None:
    if path.is_dir():
        shutil.rmtree(goal, ignore_errors=True)
        shutil.copytree(path, goal)
    elif path.exists():
        shutil.copy2(path, goal)


if __name__ == "__main__":
    main()
