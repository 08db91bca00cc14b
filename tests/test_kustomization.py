"""Overlay and canary as `kubectl apply -k` builds them, with everything switched on too."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import customkinds
import kubernetes_validate
import kustomizing
import pytest
import shipped
import yaml

from shared import canary, deploying

KUBECTL = pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl here")


@pytest.fixture
def place(folder: Path, document: dict[str, Any], tmp_path: Path) -> Path:
    """A copy of the manifests of release `old`; `new` is packaged."""
    shipped.write(folder, document | {"targets": {"cloud": {"memory_mb": 400}}})
    for version in ("old", "new"):
        shipped.pretend(folder, version)
        deploying.write(folder, "cloud", "linux/amd64")
        if version == "old":
            canary.begin(tmp_path / "place", folder / "dist/deploy/cloud")
    return tmp_path / "place"


def kustomized(place: Path) -> dict[str, Any]:
    """All objects of the overlay by kind and name."""
    text = subprocess.check_output(["kubectl", "kustomize", place / "production"], text=True)
    return {f"{one['kind']} {one['metadata']['name']}": one for one in yaml.safe_load_all(text)}


def container(built: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = built[f"Deployment {name}"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def weighted(place: Path, folder: Path) -> None:
    canary.start(place, folder / "dist/deploy/cloud", 10)


# What people do with a copy -> the images of service and canary, and the canary's weight.
STEPS: dict[str, tuple[list[Callable[[Path, Path], Any]], str, str | None, int]] = {
    "begun": ([], "old", None, 0),
    "canary": ([weighted], "old", "new", 10),
    "promoted": ([weighted, lambda place, _: canary.promote(place)], "new", "new", 0),
    "no canary": ([weighted, lambda place, _: canary.rollback(place)], "old", "old", 0),
    "back": (
        [
            weighted,
            lambda place, _: canary.promote(place),
            lambda place, _: canary.rollback(place),
        ],
        "old",
        "old",
        0,
    ),
}


@pytest.mark.parametrize("everything", [False, True], ids=["as written", "all switched on"])
@pytest.mark.parametrize("name", STEPS)
def test_all_that_a_kustomization_names_is_there(
    place: Path, folder: Path, name: str, everything: bool
) -> None:
    for step in STEPS[name][0]:
        step(place, folder)
    if everything:
        kustomizing.switch_on(place / "production")
    customkinds.check(yaml.safe_load((place / "production/kustomization.yaml").read_text()))
    objects, wrong = kustomizing.gathered(place / "production")
    assert wrong == [] and len(objects) >= 15


@pytest.mark.parametrize(
    ("was", "is_now", "wrong"),
    [
        ("../base", "../bass", "bass is not there"),
        ("name: demo}", "name: dema}", "there is no HorizontalPodAutoscaler dema"),
        ("minReplicas", "minReplica", "has no /spec/minReplica to replace"),
        ("name: demo-cloud", "name: demo-clowd", "no container runs demo-clowd"),
        ("egress.yaml}", "egres.yaml}", "egres.yaml is not there"),
        ("env/-", "envs/-", "has no /spec/template/spec/containers/0/envs/- to add"),
        ("env/0/value", "env/1/value", "env/1/value to replace"),
    ],
)
def test_what_does_not_resolve_would_be_found(
    place: Path, was: str, is_now: str, wrong: str
) -> None:
    kustomizing.switch_on(place / "production")
    path = place / "production/kustomization.yaml"
    text = path.read_text()
    assert was in text
    path.write_text(text.replace(was, is_now))
    _, found = kustomizing.gathered(place / "production")
    assert any(wrong in one for one in found), found


@KUBECTL
@pytest.mark.parametrize("name", STEPS)
def test_kubectl_builds_service_and_canary(place: Path, folder: Path, name: str) -> None:
    steps, serves, tried, weight = STEPS[name]
    for step in steps:
        step(place, folder)
    built = kustomized(place)
    assert {one["metadata"]["namespace"] for one in built.values()} == {"demo"}
    registry = "registry.example.com/demo-cloud:{}-p1-amd64"
    assert container(built, "demo")["image"] == registry.format(serves)
    assert ("Deployment demo-canary" in built) == (tried is not None)
    if tried:
        assert container(built, "demo-canary")["image"] == registry.format(tried)
        assert built["Deployment demo-canary"]["spec"]["replicas"] == (1 if weight else 0)
        (rule,) = built["HTTPRoute demo"]["spec"]["rules"]
        shares = {one["name"]: one["weight"] for one in rule["backendRefs"]}
        assert shares == {"demo": 100 - weight, "demo-canary": weight}


@KUBECTL
def test_kubectl_builds_what_is_switched_on(place: Path, folder: Path) -> None:
    weighted(place, folder)
    before = kustomized(place)
    assert before["CronJob demo-retraining"]["spec"]["suspend"] is True
    policies = [one for name, one in before.items() if name.startswith("NetworkPolicy")]
    assert not any(one["spec"]["egress"] for one in policies)
    kustomizing.switch_on(place / "production")
    built = kustomized(place)
    for name, one in built.items():
        if name.split()[0] not in ("ServiceMonitor", "PrometheusRule", "HTTPRoute"):
            kubernetes_validate.validate(one, "1.33", strict=True)
    assert built["CronJob demo-retraining"]["spec"]["suspend"] is False
    called = [name for name in built if built[name].get("spec", {}).get("egress")]
    assert called == [f"NetworkPolicy demo{of}" for of in ("", "-canary", "-retraining")]
    for name in ("demo", "demo-canary"):
        logs = {"name": "SERVICE_LOG_INPUTS", "value": "true"}
        assert logs in container(built, name)["env"]
    job = built["CronJob demo-retraining"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert job["containers"][0]["env"][0]["value"] == "http://mlflow.mlflow:5000"
