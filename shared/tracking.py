"""One MLflow run per pipeline run; its command line is also that of the registry.

    python -m shared.tracking record      log the results, register the model (after an outage)
    python -m shared.tracking promote     challenger -> champion, if it beats the champion
    python -m shared.tracking rollback    the former champion takes its place again
    python -m shared.tracking versions    the registered versions and who holds which alias

Without MLFLOW_TRACKING_URI everything goes to mlflow.db in the blueprint's folder.
"""

import argparse
import contextlib
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from shared import moving, objectives, params, provenance

# Which MLflow run belongs to this folder; tracked by neither DVC nor git.
RUN_FILE = Path(".run.json")


def client() -> Any:
    """An MlflowClient on the configured store; a local one is created and migrated under a lock."""
    import mlflow  # seconds to import, so only where it is used

    uri = os.environ.setdefault("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    mlflow.set_tracking_uri(uri)
    local, file = uri.startswith("sqlite"), Path(uri.partition("///")[2])
    with FileLock(f"{file}.lock") if local else contextlib.nullcontext():
        made = mlflow.MlflowClient(uri)
        if local:  # migrates a new database before anything else touches it
            made.search_experiments(max_results=1)
        if local and not file.is_absolute():
            moving.follow(file)
    return made


def start(name: str) -> str | None:
    """Begin the run that `epoch` and `record` add to; None and a warning if it fails."""
    return tolerant(lambda: _open_run(client(), name))


def epoch(run_id: str | None, step: int, values: dict[str, float]) -> str | None:
    """Log one epoch's numbers live; None once the server fails: training never waits twice."""
    if run_id is None:
        return None

    def log() -> str:
        _log_metrics(client(), run_id, values, step)
        return run_id

    return tolerant(log)


def record() -> str | None:
    """Log parameters, numbers, reports and provenance of the present results to this run, once.

    None when the server does not answer: nothing is lost, all of it is in files; try again later.
    """
    return tolerant(_record)


def _record() -> str:
    store, chain = client(), provenance.collect()
    state = params.read_json(RUN_FILE) if RUN_FILE.exists() else {}
    present = {"pipeline": chain["pipeline"], "tracking_uri": os.environ["MLFLOW_TRACKING_URI"]}
    if present.items() <= state.items():
        return str(state["run_id"])
    run_id = _open_run(store, chain["name"])
    _log_params(store, run_id, params.flatten(params.load_yaml("params.yaml")))
    _log_metrics(store, run_id, objectives.measured(Path()), step=0)
    for key, value in chain.items():
        store.set_tag(run_id, key, str(value))
    for folder in ["reports", "plots"]:
        if Path(folder).exists():
            store.log_artifacts(run_id, folder, folder)
    for name in ["params.yaml", "objectives.yaml", "dvc.lock"]:
        if Path(name).exists():
            store.log_artifact(run_id, name)
    store.set_terminated(run_id)
    _remember(run_id, chain["pipeline"])
    return run_id


def _open_run(store: Any, name: str) -> str:
    """The run that training began and nothing has recorded yet, or else a new one."""
    state = params.read_json(RUN_FILE) if RUN_FILE.exists() else {}
    if state.get("run_id") and "pipeline" not in state and _exists(store, state["run_id"]):
        return str(state["run_id"])
    experiment = store.get_experiment_by_name(name)
    experiment_id = experiment.experiment_id if experiment else store.create_experiment(name)
    run_id = str(store.create_run(experiment_id).info.run_id)
    _remember(run_id)
    return run_id


def _remember(run_id: str, pipeline: str | None = None) -> None:
    state = {"run_id": run_id, "tracking_uri": os.environ["MLFLOW_TRACKING_URI"]}
    params.write_json(RUN_FILE, state | ({"pipeline": pipeline} if pipeline else {}))


def _exists(store: Any, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(store.get_run(run_id))
    except MlflowException:
        return False


def named(values: dict[str, Any]) -> dict[str, Any]:
    """The same under names that MLflow takes: what a user's data put into a name becomes `_`."""
    return {re.sub(r"[^\w.\- ]", "_", key)[:250]: value for key, value in values.items()}


def _log_metrics(store: Any, run_id: str, values: dict[str, float], step: int) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1e3)
    metrics = [Metric(key, value, now, step) for key, value in named(values).items()]
    for first in range(0, len(metrics), 1000):  # MLflow takes a thousand at a time
        store.log_batch(run_id, metrics=metrics[first : first + 1000])


def _log_params(store: Any, run_id: str, values: dict[str, Any]) -> None:
    from mlflow.entities import Param

    entries = [Param(key, str(value)[:500]) for key, value in named(values).items()]
    for first in range(0, len(entries), 100):  # MLflow takes a hundred at a time
        store.log_batch(run_id, params=entries[first : first + 100])


def tolerant(action: Callable[[], str], later: str = "record") -> str | None:
    """What `action` gives, or None and one line of warning if the tracking server fails.

    later: the command of this module that makes up for it.
    """
    try:
        return action()
    except Exception as error:  # MLflow raises its own, requests' and SQLAlchemy's errors
        reason = " ".join(str(error).split())[:200]
        command = f"later: python -m shared.tracking {later}"
        print(f"tracking: {type(error).__name__}: {reason}; {command}", file=sys.stderr)
        return None


def main() -> None:
    from mlflow.exceptions import MlflowException

    from shared import registry  # which builds on this module

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["record", "promote", "rollback", "versions"])
    command, loaded = parser.parse_args().command, objectives.load()
    if command == "versions":
        print("\n".join(registry.versions(loaded.name)))
    elif command == "record":
        gated = params.read_json("reports/objectives.json")["passed"]
        sys.exit(0 if (registry.register() if gated else record()) else 1)
    else:
        try:
            promoting = command == "promote"
            done, reason = registry.promote(loaded) if promoting else registry.rollback(loaded.name)
        except MlflowException as error:
            raise SystemExit(f"{command}: the registry does not answer: {error}"[:300]) from None
        print(f"{command}: {reason}")
        sys.exit(0 if done else 1)


if __name__ == "__main__":
    main()
