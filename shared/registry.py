"""The models a blueprint has registered, with two aliases: challenger and champion.

`package` registers a model that passed the gate as challenger; people promote it, or roll back.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

from shared import objectives, provenance, tracking
from shared.comparing import Comparison

# How MLflow says that there is no such model, or no such alias of it
UNKNOWN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def register(folder: Path = Path("export")) -> str | None:
    """Record the run, register the exported model in `folder` as challenger; gives its version.

    The same model of the same run is not registered twice. None when the server does not answer.
    """
    run_id = tracking.record()
    return tracking.tolerant(lambda: _register(run_id, folder)) if run_id else None


def _register(run_id: str, folder: Path) -> str:
    from mlflow.exceptions import MlflowException

    store = tracking.client()
    tags = {key: str(value) for key, value in provenance.collect().items()}
    name = tags["name"]
    try:
        store.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    for version in store.search_model_versions(f"name='{name}'"):
        if version.tags.get("model_version") == tags["model_version"] and version.run_id == run_id:
            break
    else:
        store.log_artifacts(run_id, str(folder), "model")
        source = f"{store.get_run(run_id).info.artifact_uri}/model"
        version = store.create_model_version(name, source, run_id, tags=tags)
    store.set_registered_model_alias(name, "challenger", version.version)
    return str(version.version)


def promote(loaded: objectives.Objectives) -> tuple[bool, str]:
    """Make the challenger champion if it beats the present one; (promoted, the reason in one line).

    It must be strictly better on the first release key result and hold all of them, on the same
    test set.
    """
    store, name = tracking.client(), loaded.name
    challenger, champion = (_alias(store, name, alias) for alias in ("challenger", "champion"))
    if challenger is None:
        return False, f"{name} has no challenger: run dvc repro"
    if champion is not None:
        if champion.version == challenger.version:
            return False, f"version {challenger.version} already is the champion"
        runs = [store.get_run(version.run_id) for version in (challenger, champion)]
        ours, theirs = (run.data.metrics for run in runs)
        refusal = compare(loaded.release, ours, theirs)
        if (first := loaded.release[0].metric) not in theirs:
            refusal = f"the champion's run has no {first} to be compared with"
        if challenger.tags.get("data") != champion.tags.get("data"):
            refusal = "its test set is not the champion's: evaluate both on the same data first"
        if refusal:
            return False, f"version {challenger.version} refused: {refusal}"
        store.set_model_version_tag(name, challenger.version, "former_champion", champion.version)
    store.set_registered_model_alias(name, "champion", challenger.version)
    return True, f"version {challenger.version} is champion"


def compare(
    release: list[objectives.KeyResult], ours: dict[str, float], theirs: dict[str, float]
) -> str | None:
    """Why a challenger's numbers do not beat the champion's, or None if they do."""
    for result in release:
        if result.metric not in ours or not result.holds(ours[result.metric]):
            return f"{result.metric} target {result.target}, measured {ours.get(result.metric)}"
    first = release[0]
    if first.metric in theirs and not first.better(ours[first.metric], theirs[first.metric]):
        numbers = (
            f"{ours[first.metric]:.4g} does not beat the champion's {theirs[first.metric]:.4g}"
        )
        return f"{first.metric} {numbers}"
    return None


def rollback(name: str) -> tuple[bool, str]:
    """Give the alias champion back to the version that held it before."""
    store = tracking.client()
    champion = _alias(store, name, "champion")
    former = champion.tags.get("former_champion") if champion else None
    if former is None:
        return False, f"{name} has no former champion"
    store.set_registered_model_alias(name, "champion", former)
    return True, f"version {former} is champion again"


def promote_live(
    loaded: objectives.Objectives, comparison: Comparison, model: str = "", serves: str = ""
) -> tuple[bool, str]:
    """Make the challenger champion on the evidence of live records, as a retraining does.

    New data mean a new test set, so the gate's numbers cannot be compared with the champion's: it
    must hold all release key results, and be better in `comparison`, which its tags keep.
    model: the model version that was compared; another challenger is refused.
    serves: the model version that it takes the place of, if nobody has made that champion.
    """
    store, name = tracking.client(), loaded.name
    challenger, champion = (_alias(store, name, alias) for alias in ("challenger", "champion"))
    if challenger is None or model not in ("", challenger.tags.get("model_version")):
        later = "run python -m shared.tracking record where it was made (live/work)"
        return False, f"{name} has no challenger {model}: {later}"
    for key, value in dataclasses.asdict(comparison).items():
        store.set_model_version_tag(name, challenger.version, f"live.{key}", str(value))
    measured = store.get_run(challenger.run_id).data.metrics
    if refusal := compare(loaded.release, measured, {}) or unproven(comparison):
        return False, f"version {challenger.version} refused: {refusal}"
    former = champion or _of_model(store, name, serves)
    if former is not None and former.version != challenger.version:
        store.set_model_version_tag(name, challenger.version, "former_champion", former.version)
    store.set_registered_model_alias(name, "champion", challenger.version)
    return True, f"version {challenger.version} is champion"


def unproven(comparison: Comparison) -> str | None:
    """Why live records do not prove the challenger better, or None if they do."""
    if comparison.better:
        return None
    interval = f"95 % interval {comparison.low:.4g} to {comparison.high:.4g}"
    return f"its loss is not surely below the champion's: {comparison.gain:.4g} less, {interval}"


def champion(name: str) -> str | None:
    """The registered version that is champion; None without one, or without a registry."""
    found = _alias(tracking.client(), name, "champion")
    return str(found.version) if found else None


def withdraw(name: str, model: str) -> str:
    """Roll back if the champion is this model version; gives the reason in one line.

    Where no other was before it there is none then.
    """
    store = tracking.client()
    champion = _alias(store, name, "champion")
    if champion is None or champion.tags.get("model_version") != model:
        return f"{model} is not the champion of {name}"
    done, reason = rollback(name)
    if not done:
        store.delete_registered_model_alias(name, "champion")
    return reason


def store_of(folder: Path) -> str:
    """The tracking store of the blueprint in `folder`; this process and its children keep to it."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    if uri.startswith("sqlite:///"):  # a path relative to the blueprint's folder, or a whole one
        uri = f"sqlite:///{folder.resolve() / uri.removeprefix('sqlite:///')}"
    os.environ["MLFLOW_TRACKING_URI"] = uri
    return uri


def is_there(folder: Path) -> bool:
    """Is there a registry to speak of? A local one is not made just to ask it."""
    uri = store_of(folder)
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


def versions(name: str) -> list[str]:
    """One line per version: number, model, run, and the aliases it holds."""
    store = tracking.client()
    aliases = store.get_registered_model(name).aliases  # alias -> version
    lines = []
    for version in store.search_model_versions(f"name='{name}'"):
        held = [alias for alias, number in aliases.items() if number == version.version]
        model = version.tags.get("model_version")
        lines.append(" ".join([str(version.version), str(model), str(version.run_id), *held]))
    return lines


def _of_model(store: Any, name: str, model: str) -> Any:
    """The registered version of a model version, or None."""
    found = store.search_model_versions(f"name='{name}'")
    return next((one for one in found if one.tags.get("model_version") == model), None)


def _alias(store: Any, name: str, alias: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return store.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in UNKNOWN:
            return None
        raise  # a registry that does not answer is not one without a champion
