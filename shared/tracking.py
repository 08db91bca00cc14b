"""One MLflow run per pipeline run, and a registry with two aliases: challenger and champion.

    python -m shared.tracking record      log the results and register the model (if the server was down before)
    python -m shared.tracking promote     challenger -> champion, if it beats the champion
    python -m shared.tracking rollback    the former champion takes its place again
    python -m shared.tracking versions    the registered versions and who holds which alias

Without MLFLOW_TRACKING_URI everything goes to mlflow.db in the blueprint's folder.
"""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from shared import objectives, params, provenance

RUN_FILE = Path(".run.json")  # which MLflow run belongs to this folder; never tracked by DVC or git


def client() -> Any:
    """An MlflowClient on the configured store; creates and migrates a local SQLite store once, under a lock."""
    import mlflow  # seconds to import, so only where it is used

    uri = os.environ.setdefault("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    mlflow.set_tracking_uri(uri)
    local = uri.startswith("sqlite")
    with FileLock(uri.partition("///")[2] + ".lock") if local else contextlib.nullcontext():
        made = mlflow.MlflowClient(uri)
        if local:
            made.search_experiments(max_results=1)  # migrates a new database before anything else touches it
    return made


def start(name: str) -> str | None:
    """Begin the run that `epoch` and `record` add to; None, with a warning, when the server does not answer."""
    return _tolerant(lambda: _open_run(client(), name))


def epoch(run_id: str | None, step: int, values: dict[str, float]) -> str | None:
    """Log one epoch's numbers live; gives None once the server fails, so that training never waits twice."""
    if run_id is None:
        return None

    def log() -> str:
        _log_metrics(client(), run_id, values, step)
        return run_id

    return _tolerant(log)


def record() -> str | None:
    """Log parameters, numbers, reports and provenance of the present results to this pipeline run, once.

    None when the server does not answer: nothing is lost, all of it is in files; run the command again.
    """
    return _tolerant(_record)


def _record() -> str:
    store, chain = client(), provenance.collect()
    state = params.read_json(RUN_FILE) if RUN_FILE.exists() else {}
    if state.get("pipeline") == chain["pipeline"] and state.get("tracking_uri") == os.environ["MLFLOW_TRACKING_URI"]:
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


def register(folder: Path = Path("export")) -> str | None:
    """Record the run and register `folder`, the exported model, as `challenger`; gives the registry's version.

    The same model of the same run is not registered twice. None when the server does not answer.
    """
    run_id = record()
    return _tolerant(lambda: _register(run_id, folder)) if run_id else None


def _register(run_id: str, folder: Path) -> str:
    from mlflow.exceptions import MlflowException

    store, tags = client(), {key: str(value) for key, value in provenance.collect().items()}
    name = tags["name"]
    try:
        store.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    for version in store.search_model_versions(f"name='{name}'"):
        if version.tags.get("model_version") == tags["model_version"] and version.run_id == run_id:
            return str(version.version)
    store.log_artifacts(run_id, str(folder), "model")
    source = f"{store.get_run(run_id).info.artifact_uri}/model"
    version = store.create_model_version(name, source, run_id, tags=tags)
    store.set_registered_model_alias(name, "challenger", version.version)
    return str(version.version)


def promote(loaded: objectives.Objectives) -> tuple[bool, str]:
    """Make the challenger champion if it beats the present champion; (promoted, the reason in one line).

    It must be strictly better on the first release key result and hold all of them, on the same test set.
    """
    store, name = client(), loaded.name
    challenger, champion = (_alias(store, name, alias) for alias in ("challenger", "champion"))
    if challenger is None:
        return False, f"{name} has no challenger: run dvc repro"
    if champion is not None:
        if champion.version == challenger.version:
            return False, f"version {challenger.version} already is the champion"
        ours, theirs = (store.get_run(version.run_id).data.metrics for version in (challenger, champion))
        refusal = compare(loaded.release, ours, theirs)
        if challenger.tags.get("data") != champion.tags.get("data"):
            refusal = "its test set is not the champion's: evaluate both on the same data first"
        if refusal:
            return False, f"version {challenger.version} refused: {refusal}"
        store.set_model_version_tag(name, challenger.version, "former_champion", champion.version)
    store.set_registered_model_alias(name, "champion", challenger.version)
    return True, f"version {challenger.version} is champion"


def compare(release: list[objectives.KeyResult], ours: dict[str, float], theirs: dict[str, float]) -> str | None:
    """Why a challenger's numbers do not beat the champion's, or None if they do."""
    for result in release:
        if result.metric not in ours or not result.holds(ours[result.metric]):
            return f"{result.metric} target {result.target}, measured {ours.get(result.metric)}"
    first = release[0]
    if first.metric in theirs and not first.better(ours[first.metric], theirs[first.metric]):
        return f"{first.metric} {ours[first.metric]:.4g} does not beat the champion's {theirs[first.metric]:.4g}"
    return None


def rollback(name: str) -> tuple[bool, str]:
    """Give the alias champion back to the version that held it before."""
    store = client()
    champion = _alias(store, name, "champion")
    former = champion.tags.get("former_champion") if champion else None
    if former is None:
        return False, f"{name} has no former champion"
    store.set_registered_model_alias(name, "champion", former)
    return True, f"version {former} is champion again"


def _alias(store: Any, name: str, alias: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return store.get_model_version_by_alias(name, alias)
    except MlflowException:
        return None


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


def _log_metrics(store: Any, run_id: str, values: dict[str, float], step: int) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1e3)
    store.log_batch(run_id, metrics=[Metric(key, value, now, step) for key, value in values.items()])


def _log_params(store: Any, run_id: str, values: dict[str, Any]) -> None:
    from mlflow.entities import Param

    entries = [Param(key, str(value)[:500]) for key, value in values.items()]
    for first in range(0, len(entries), 100):  # MLflow takes a hundred at a time
        store.log_batch(run_id, params=entries[first : first + 100])


def _tolerant(action: Callable[[], str]) -> str | None:
    """What `action` gives, or None and one line of warning if the tracking server fails."""
    try:
        return action()
    except Exception as error:  # MLflow raises its own, requests' and SQLAlchemy's errors
        reason = " ".join(str(error).split())[:200]
        print(
            f"tracking: {type(error).__name__}: {reason}; later: python -m shared.tracking record",
            file=sys.stderr,
        )
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["record", "promote", "rollback", "versions"])
    command, loaded = parser.parse_args().command, objectives.load()
    if command == "versions":
        store = client()
        aliases = store.get_registered_model(loaded.name).aliases  # alias -> version
        for version in store.search_model_versions(f"name='{loaded.name}'"):
            held = [alias for alias, number in aliases.items() if number == version.version]
            print(version.version, version.tags.get("model_version"), version.run_id, *held)
    elif command == "record":
        gated = params.read_json("reports/objectives.json")["passed"]
        sys.exit(0 if (register() if gated else record()) else 1)
    else:
        done, reason = promote(loaded) if command == "promote" else rollback(loaded.name)
        print(f"{command}: {reason}")
        sys.exit(0 if done else 1)


if __name__ == "__main__":
    main()
