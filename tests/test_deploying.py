"""Manifests: valid by Kubernetes' published schemas, safe by what reviewers ask for, consistent."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import customkinds
import httpx
import jsonschema
import kubernetes_validate
import pydantic
import pytest
import shipped
import standing
import yaml

from shared import audit, benchmark, deploying, images, lineage, requestlog

VERSION = "1.33"
OWN_KINDS = ("ServiceMonitor", "PrometheusRule", "Kustomization")  # see customkinds.py


@pytest.fixture
def written(folder: Path, document: dict[str, Any]) -> Path:
    """The files of the small blueprint."""
    shipped.write(folder, document | {"targets": {"cloud": {"memory_mb": 400}}})
    shipped.pretend(folder)
    return deploying.write(folder, "cloud", "linux/amd64")


@pytest.fixture
def documents(written: Path) -> dict[str, Any]:
    """All objects of the base by kind, those of another name than the service's by both."""
    found = [yaml.safe_load(path.read_text()) for path in sorted((written / "base").glob("*.yaml"))]
    named = [(one.get("metadata", {}).get("name", "demo"), one) for one in found]
    parts = [(name.removeprefix("demo").strip("-"), one) for name, one in named]
    return {f"{part} {one['kind']}".strip(): one for part, one in parts}


def pods(documents: dict[str, Any]) -> dict[str, Any]:
    """The specification of every pod, by the name of what starts it."""
    found = {name: one["spec"] for name, one in documents.items() if "Deployment" in name}
    jobs = {
        name: one["spec"]["jobTemplate"]["spec"]
        for name, one in documents.items()
        if "CronJob" in name
    }
    return {name: one["template"]["spec"] for name, one in (found | jobs).items()}


def test_every_object_follows_kubernetes_schema(documents: dict[str, Any]) -> None:
    checked = [name for name in documents if name not in OWN_KINDS]
    for name in checked:
        kubernetes_validate.validate(documents[name], VERSION, strict=True)
    assert len(checked) == 13


def test_a_wrong_field_would_be_found(documents: dict[str, Any]) -> None:
    documents["Deployment"]["spec"]["stragety"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(documents["Deployment"], VERSION, strict=True)


def test_every_object_of_an_operator_follows_its_schema(
    written: Path, documents: dict[str, Any]
) -> None:
    for kind in OWN_KINDS:
        customkinds.check(documents[kind])
    customkinds.check(overlay(written))


MISSPELT = {
    "ServiceMonitor": ("spec", "endpoints", 0, "relabelings", 0, "targetLabel"),
    "PrometheusRule": ("spec", "groups", 0, "rules", 0, "expr"),
    "Kustomization": ("labels", 0, "includeSelectors"),
}


@pytest.mark.parametrize("kind", OWN_KINDS)
def test_a_misspelt_field_of_an_operator_would_be_found(
    documents: dict[str, Any], kind: str
) -> None:
    *path, last = MISSPELT[kind]
    place: Any = documents[kind]
    for part in path:
        place = place[part]
    place[f"{last}x"] = place.pop(last)
    with pytest.raises((jsonschema.ValidationError, pydantic.ValidationError), match=f"{last}x"):
        customkinds.check(documents[kind])


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
    assert set(pods(documents)) == {"Deployment", "monitor Deployment", "retraining CronJob"}
    for spec in pods(documents).values():
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"]
        assert spec["automountServiceAccountToken"] is False
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"] and container["resources"]["limits"]
    assert documents["ServiceAccount"]["automountServiceAccountToken"] is False
    for name in ("NetworkPolicy", "monitor NetworkPolicy", "retraining NetworkPolicy"):
        assert documents[name]["spec"]["egress"] == []


def test_an_overlay_may_say_whom_the_service_calls(
    written: Path, documents: dict[str, Any]
) -> None:
    (patch,) = yaml.safe_load((written / "production/egress.yaml").read_text())
    assert (patch["op"], patch["path"]) == ("replace", "/spec/egress")
    policy = documents["NetworkPolicy"]
    policy["spec"]["egress"] = patch["value"]
    kubernetes_validate.validate(policy, VERSION, strict=True)
    opened(written)
    (*_, line) = overlay(written)["patches"]
    names = [name for name in NETWORKS if re.fullmatch(line["target"]["name"], name)]
    assert line["path"] == "egress.yaml" and names == ["demo", "demo-canary", "demo-retraining"]


NETWORKS = ["demo", "demo-canary", "demo-monitor", "demo-retraining"]


def opened(written: Path) -> None:
    """Take the `#` from the line that names egress.yaml, as its comment says."""
    path = written / "production/kustomization.yaml"
    lines = path.read_text().splitlines()
    kept = [line.replace("# ", "", 1) if "path: egress.yaml" in line else line for line in lines]
    assert kept != lines
    path.write_text("\n".join(kept))


def overlay(written: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((written / "production/kustomization.yaml").read_text()))


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


def test_the_overlay_names_the_images_of_the_base(written: Path, documents: dict[str, Any]) -> None:
    (service,) = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    (monitor,) = documents["monitor Deployment"]["spec"]["template"]["spec"]["containers"]
    for one, image in zip((service, monitor), overlay(written)["images"], strict=True):
        assert one["image"] == f"{image['name']}:1234567-p1-amd64"
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


def test_the_monitor_reads_the_log_that_all_replicas_write(documents: dict[str, Any]) -> None:
    deployment = documents["monitor Deployment"]["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    places = {}
    for name in ("Deployment", "monitor Deployment"):
        spec = pods(documents)[name]
        (container,) = spec["containers"]
        claims = {one["name"]: one.get("persistentVolumeClaim") for one in spec["volumes"]}
        mounts = {one["mountPath"]: one for one in container["volumeMounts"]}
        places[name] = claims[mounts["/logs"]["name"]], mounts["/logs"].get("readOnly", False)
    assert places["Deployment"] == ({"claimName": "demo"}, False)
    assert places["monitor Deployment"] == ({"claimName": "demo"}, True)
    assert documents["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
    assert documents["live PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_metrics_have_the_labels_that_the_rules_ask_for(documents: dict[str, Any]) -> None:
    """By itself the operator puts the Service's name into `job` and `service`."""
    found = {}
    for endpoint in documents["ServiceMonitor"]["spec"]["endpoints"]:
        (service,) = [
            one
            for one in (documents["Service"], documents["monitor Service"])
            if one["spec"]["ports"][0]["name"] == endpoint["port"]
        ]
        labels = dict.fromkeys(("job", "service"), service["metadata"]["name"])
        labels |= {one["targetLabel"]: one["replacement"] for one in endpoint["relabelings"]}
        found[service["metadata"]["name"]] = labels
    assert found["demo"] == {"job": "service", "service": "demo"}
    assert found["demo-monitor"] == {"job": "monitor", "service": "demo"}
    rules = yaml.safe_dump(documents["PrometheusRule"]["spec"])
    assert 'up{service="demo",job="service"}' in rules
    assert 'monitor_last_run_timestamp_seconds{service="demo"}' in rules


def test_the_commands_of_the_monitors_pod_watch_the_service(
    written: Path, documents: dict[str, Any], folder: Path
) -> None:
    """As the worker's image has them in /app: the blueprint's folder."""
    (folder / "monitor.py").write_text(standing.MONITOR)
    (folder / "objectives.yaml").write_text(watched(folder))
    log = requestlog.RequestLog(folder / "logs", "requests", 1, 1)
    for number in range(20):
        log.write({"id": f"r{number}", "model": "m", "number": 1000})
    spec, port = pods(documents)["monitor Deployment"], str(benchmark.free_port())
    (first,), (monitor,) = spec["initContainers"], spec["containers"]
    subprocess.run([sys.executable, *first["command"][1:]], cwd=folder, check=True)
    assert lineage.current(folder / "live")
    there = {"/logs": str(folder / "logs"), "9464": port}
    command = [sys.executable, *(there.get(word, word) for word in monitor["command"][1:])]
    url = f"http://127.0.0.1:{port}/metrics"
    with benchmark.running(command, url, folder / "monitor.log", cwd=folder):
        deadline = time.monotonic() + 60
        while 'live_metric{metric="live.mean"} 1000.0' not in httpx.get(url).text:
            assert time.monotonic() < deadline, (folder / "monitor.log").read_text()
            time.sleep(0.1)


RETRAIN = """
from shared import lineage, retraining

asked = retraining.arguments(None)
assert asked.champion and lineage.current(asked.live) == asked.champion
(asked.live / "retrained").write_text(asked.key_result)
"""


def test_the_commands_of_a_retraining_run_where_the_monitor_runs(
    documents: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    spec = pods(documents)["retraining CronJob"]
    # Without logged inputs cv's and genai's would be refused each week.
    assert documents["retraining CronJob"]["spec"]["suspend"] is True
    (rule,) = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    monitor = documents["monitor Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert rule["labelSelector"]["matchLabels"].items() <= monitor
    (container,), (data, model) = spec["containers"], spec["initContainers"]
    mounted = {one["mountPath"].strip("/") for one in container["volumeMounts"]}
    assert {"app/live", "app/.dvc/cache", "app/.dvc/tmp"} <= mounted, "as in standalone.WRITABLE"
    (folder / "retrain.py").write_text(RETRAIN)
    (cached := folder / ".dvc/cache/files/md5/ab/c").parent.mkdir(parents=True)
    (tmp_path / "cache").mkdir()
    there = {"/app/.dvc/cache/.": f"{folder}/.dvc/cache/.", "/cache": str(tmp_path / "cache")}
    for text in ("first", "second"):  # each release brings its data
        cached.write_text(text)
        cached.chmod(0o444)
        os.utime(cached, (time.time() + 9, time.time() + 9))
        subprocess.run([there.get(word, word) for word in data["command"]], check=True)
        assert (tmp_path / "cache/files/md5/ab/c").read_text() == text
    for one in (model, container):
        subprocess.run([sys.executable, *one["command"][1:]], cwd=folder, check=True)
    assert (folder / "live/retrained").read_text() == "schedule"
    assert audit.read(folder / "live")[-1]["event"] == "retrain_finished"


def test_every_image_is_one_that_is_built(documents: dict[str, Any]) -> None:
    chain = {"bento": "demo:1234567-p1"}
    built = {images.tag(chain, stage, "linux/amd64") for stage in ("cloud", "worker")}
    for spec in pods(documents).values():
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            assert container["image"] in built


def watched(folder: Path) -> str:
    """The objectives, with a key result that the monitor measures."""
    document = yaml.safe_load((folder / "objectives.yaml").read_text())
    document["objectives"][0]["key_results"].append(standing.WATCHED | {"id": "KR3"})
    return yaml.safe_dump(document)


def test_without_a_budget_of_memory_there_is_no_limit_to_set(
    folder: Path, document: dict[str, Any]
) -> None:
    shipped.write(folder, document)
    shipped.pretend(folder)
    with pytest.raises(SystemExit, match=r"targets\.cloud\.memory_mb is missing"):
        deploying.write(folder, "cloud", "linux/amd64")
