"""Manifests: valid by Kubernetes' published schemas, safe by what reviewers ask for, consistent."""

import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import shipped
import yaml

from shared import deploying

VERSION = "1.33"
OWN_KINDS = ("ServiceMonitor", "PrometheusRule", "Kustomization")  # which Kubernetes does not know


@pytest.fixture
def written(folder: Path, document: dict[str, Any]) -> Path:
    """The files of the small blueprint."""
    shipped.write(folder, document | {"targets": {"cloud": {"memory_mb": 400}}})
    shipped.pretend(folder)
    return deploying.write(folder, "cloud", "linux/amd64")


@pytest.fixture
def documents(written: Path) -> dict[str, Any]:
    """All objects of the base by kind."""
    found = [yaml.safe_load(path.read_text()) for path in sorted((written / "base").glob("*.yaml"))]
    return {document["kind"]: document for document in found}


def test_every_object_follows_kubernetes_schema(documents: dict[str, Any]) -> None:
    checked = [kind for kind in documents if kind not in OWN_KINDS]
    for kind in checked:
        kubernetes_validate.validate(documents[kind], VERSION, strict=True)
    assert len(checked) == 8


def test_a_wrong_field_would_be_found(documents: dict[str, Any]) -> None:
    documents["Deployment"]["spec"]["stragety"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(documents["Deployment"], VERSION, strict=True)


def test_all_files_are_listed_and_all_that_is_listed_is_there(written: Path) -> None:
    listed = yaml.safe_load((written / "base/kustomization.yaml").read_text())["resources"]
    there = {path.name for path in (written / "base").glob("*.yaml")} - {"kustomization.yaml"}
    assert sorted(listed) == sorted(there)


def test_a_pod_leaves_before_it_is_told_to_stop_and_has_time_to_answer(
    documents: dict[str, Any],
) -> None:
    spec = documents["Deployment"]["spec"]["template"]["spec"]
    stop = int(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    timeout = shipped.SERVICE_PARAMS["timeout_s"]
    assert stop >= 10
    assert spec["terminationGracePeriodSeconds"] > stop + timeout  # type: ignore[operator]
    rolling = documents["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert rolling["maxUnavailable"] == 0
    assert documents["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_no_pod_is_root_writes_to_its_root_or_talks_to_kubernetes(
    documents: dict[str, Any],
) -> None:
    retraining = documents["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    for spec in (documents["Deployment"]["spec"]["template"]["spec"], retraining):
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"]
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"] and container["resources"]["limits"]
    assert documents["ServiceAccount"]["automountServiceAccountToken"] is False
    assert documents["NetworkPolicy"]["spec"]["egress"] == []


def test_probes_and_secrets_are_those_of_the_service(documents: dict[str, Any]) -> None:
    (service,) = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    for probe, path in {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}.items():
        assert service[f"{probe}Probe"]["httpGet"] == {"path": path, "port": "http"}
    keys = {one["name"]: one["valueFrom"]["secretKeyRef"]["key"] for one in service["env"]}
    assert keys == {"SERVICE_TOKEN": "token", "SERVICE_SECRET": "secret"}
    # 400 MB, and eight bodies of 0.1 MB more
    assert service["resources"]["requests"]["memory"] == "381Mi"
    assert service["resources"]["limits"]["memory"] == "382Mi"


def test_what_selects_finds_what_it_selects(documents: dict[str, Any]) -> None:
    labels = documents["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        documents["Deployment"]["spec"]["selector"]["matchLabels"],
        documents["Service"]["spec"]["selector"],
        documents["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        documents["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels for selector in selectors)
    monitored = documents["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items()
    assert monitored <= documents["Service"]["metadata"]["labels"].items()
    target = documents["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"]
    assert target == documents["Deployment"]["metadata"]["name"] == "demo"


def test_the_overlay_names_the_image_of_the_base(written: Path, documents: dict[str, Any]) -> None:
    overlay = yaml.safe_load((written / "production/kustomization.yaml").read_text())
    (service,) = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    (image,) = overlay["images"]
    assert service["image"] == f"{image['name']}:1234567-p1-amd64"
    assert "newTag" not in image, "which release it is, is the base's to say"


def test_the_alert_rules_are_those_of_the_objectives(
    documents: dict[str, Any], tmp_path: Path, tools: None
) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump(documents["PrometheusRule"]["spec"]))
    done = subprocess.run(
        ["promtool", "check", "rules", rules], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "rules found" in done.stdout, done.stdout + done.stderr
    # What they ask for is what the operator names the Service's metrics.
    assert 'service="demo"' in rules.read_text()
    assert documents["Service"]["metadata"]["name"] == "demo"


def test_metrics_have_the_labels_that_the_rules_ask_for(documents: dict[str, Any]) -> None:
    """By itself the operator puts the Service's name into `job` and `service`."""
    (endpoint,) = documents["ServiceMonitor"]["spec"]["endpoints"]
    labels = dict.fromkeys(("job", "service"), documents["Service"]["metadata"]["name"])
    labels |= {one["targetLabel"]: one["replacement"] for one in endpoint["relabelings"]}
    assert labels == {"job": "service", "service": "demo"}
    assert 'up{service="demo",job="service"}' in yaml.safe_dump(documents["PrometheusRule"]["spec"])


def test_without_a_budget_of_memory_there_is_no_limit_to_set(
    folder: Path, document: dict[str, Any]
) -> None:
    shipped.write(folder, document)
    shipped.pretend(folder)
    with pytest.raises(SystemExit, match=r"targets\.cloud\.memory_mb is missing"):
        deploying.write(folder, "cloud", "linux/amd64")
