"""Real images of a small service on a real engine: built, run, proven; what must fail, fails."""

import argparse
import http.client
import json
import re
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import shipped
import yaml

from shared import container, draining, engine, images, params, smoke, stacksmoke

pytestmark = pytest.mark.container
TARGETS = pytest.mark.parametrize("target", images.TARGETS)


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    shipped.write(folder, OBJECTIVES)
    shipped.package(folder, tmp_path_factory.mktemp("store"))
    for target in images.TARGETS:
        images.build(folder, target, engine.native())
    return folder


OBJECTIVES: dict[str, Any] = {
    "name": "demo",
    "ai_type": "cv",
    "problem": "numbers must be larger",
    "requirements": [{"id": "R1", "kind": "nfr", "text": "fast", "owner": "us"}],
    "objectives": [
        {
            "objective": "fast",
            "key_results": [
                {"id": "KR1", "requirement": "R1", "metric": "m", "at_most": 1, "when": "release"}
            ],
        }
    ],
    "architecture": {"model": {"chosen": "a factor"}},
    "targets": {
        "cloud": {"image_mb": 450, "memory_mb": 400, "ready_s": 30},
        "edge": {"image_mb": 300, "memory_mb": 150, "ready_s": 15},
    },
}


def asked(target: str) -> argparse.Namespace:
    wanted = {"count": None, "seconds": 60.0}  # all that traffic.py has
    return argparse.Namespace(target=target, platform=engine.native(), **wanted)


@pytest.fixture
def instead(packaged: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Another image in place of the one that was built: `FROM` it and these lines."""

    def change(target: str, *lines: str) -> None:
        name = images.tag(images.provenance(packaged), target, engine.native())
        (tmp_path / "Dockerfile").write_text("\n".join([f"FROM {name}", *lines]))
        engine.docker("build", "--quiet", "--tag", f"{name}-changed", str(tmp_path))
        monkeypatch.setattr(images, "tag", lambda *_: f"{name}-changed")

    return change


@TARGETS
def test_an_image_answers_right_locked_up_and_drains(packaged: Path, target: str) -> None:
    figures = smoke.smoke(packaged, asked(target))
    assert figures["answers"] == 60 and figures["worst_distance"] == 0
    assert 0 < figures["ready_s"] < 30 and 20 < figures["memory_mb"] < 400
    assert figures["drained_s"] < 10
    kept = f"dist/{target}-{engine.native().removeprefix('linux/')}.json"
    assert params.read_json(packaged / kept)["answers"] == 60


@TARGETS
def test_an_image_says_where_it_comes_from(packaged: Path, target: str) -> None:
    chain = images.provenance(packaged)
    name = images.tag(chain, target, engine.native())
    labels = json.loads(engine.docker("inspect", "--format", "{{json .Config.Labels}}", name))
    assert labels["blueprint.bento"] == chain["bento"]
    assert labels["org.opencontainers.image.revision"] == chain["git_commit"]


def test_an_image_that_runs_as_root_fails(packaged: Path, instead: Any) -> None:
    # Without its capabilities, root may not write to the folder of another user either.
    instead("edge", "USER 0", "ENV SERVICE_LOG_FOLDER=/tmp/logs")
    with pytest.raises(SystemExit, match="runs as root"):
        smoke.smoke(packaged, asked("edge"))


def test_an_image_whose_model_its_user_may_change_fails(packaged: Path, instead: Any) -> None:
    instead("edge", "USER 0", "RUN chown 1034 /service/export/model.json", "USER 1034")
    with pytest.raises(SystemExit, match=r"user 1034 write to /service/export/model\.json"):
        smoke.smoke(packaged, asked("edge"))


def test_an_image_with_another_model_fails(packaged: Path, instead: Any) -> None:
    instead("edge", "USER 0", "RUN echo 3.5 > /service/export/model.json", "USER 1034")
    with pytest.raises(SystemExit, match=r"/multiply: .*8\.75.*without a container.*8\.125"):
        smoke.smoke(packaged, asked("edge"))


def test_an_image_of_another_pipeline_fails(packaged: Path, instead: Any) -> None:
    instead("edge", "USER 0", "RUN sed -i s/demo:/other:/ /service/provenance.json", "USER 1034")
    with pytest.raises(SystemExit, match=r"/info says .*other:"):
        smoke.smoke(packaged, asked("edge"))


def test_an_image_without_its_model_ends_with_the_reason(packaged: Path, instead: Any) -> None:
    instead("edge", "USER 0", "RUN rm /service/export/model.json", "USER 1034")
    with pytest.raises(SystemExit, match=r"(?s)the container stopped.*export/model\.json"):
        smoke.smoke(packaged, asked("edge"))


def test_a_budget_that_is_exceeded_fails_build_and_smoke_with_the_figure(
    packaged: Path, tmp_path: Path
) -> None:
    path = packaged / "objectives.yaml"
    small = OBJECTIVES | {"targets": {"edge": {"image_mb": 100, "memory_mb": 30}}}
    path.write_text(yaml.safe_dump(small))
    try:
        with pytest.raises(SystemExit, match=r"image_mb is [12]\d\d.*, the budget 100"):
            images.build(packaged, "edge", engine.native())
        with pytest.raises(SystemExit, match="killed at its limit of 30 MB of memory"):
            smoke.smoke(packaged, asked("edge"))
    finally:
        path.write_text(yaml.safe_dump(OBJECTIVES))


def test_an_emulated_service_has_more_time_for_everything(tmp_path: Path) -> None:
    service = {"timeout_s": 10, "wait_s": 0.5, "idle_s": None, "threads": 2}
    (tmp_path / "build").mkdir()
    (tmp_path / "build/params.yaml").write_text(yaml.safe_dump({"service": service}))
    same = {"SERVICE_MAX_AGE_STEPS": "null"}
    assert smoke.settings(tmp_path, 20) == same | {
        "SERVICE_TIMEOUT_S": "200",
        "SERVICE_WAIT_S": "10.0",
    }


def test_an_image_that_is_not_built_is_asked_for(
    packaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "tag", lambda *_: "demo-edge:none")
    with pytest.raises(SystemExit, match=f"run: make image B={packaged.name} TARGET=edge"):
        smoke.smoke(packaged, asked("edge"))


def test_a_killed_service_starts_again_and_answers(packaged: Path) -> None:
    with container.running(image(packaged, "edge"), engine.native(), 30) as service:
        engine.docker("kill", service.identity)
        engine.docker("start", service.identity)
        url = f"http://{engine.docker('port', service.identity, '3000/tcp').splitlines()[0]}"
        container.wait(service.identity, url, time.monotonic() + 30)
        status, answer = container.request(url + "/multiply", service.token, b'{"number": 2}')
        assert (status, answer["product"]) == (200, 6.5)


@TARGETS
def test_s5_told_to_stop_with_50_in_progress_it_answers_50(packaged: Path, target: str) -> None:
    more = {"SERVICE_MAX_CONCURRENCY": "64"}
    with container.running(image(packaged, target), engine.native(), 60, **more) as service:
        taken = draining.drains(service, "/multiply", b'{"number": 2}', at_a_time=50)
    assert taken < draining.GRACE_S


def image(packaged: Path, target: str) -> str:
    return images.tag(images.provenance(packaged), target, engine.native())


ASK = """
import urllib.request
headers = {"authorization": "Bearer t", "content-type": "application/json"}
asked = urllib.request.Request("http://127.0.0.1:3000/multiply", b'{"number": 2}', headers)
print(urllib.request.urlopen(asked).read().decode())
"""


@TARGETS
def test_it_starts_and_answers_without_a_network(packaged: Path, target: str) -> None:
    options = [*container.LOCKED, "--network", "none", "--env", "SERVICE_TOKEN=t"]
    identity = engine.docker("run", "--detach", *options, image(packaged, target))
    service = container.Container(identity, "http://127.0.0.1:3000", "t", 0)
    try:
        stacksmoke.until("healthy", lambda: container.healthy(service), 60)
        answer = json.loads(engine.docker("exec", identity, "python3", "-c", ASK))
        assert answer["product"] == 6.5
    finally:
        engine.docker("rm", "--force", "--volumes", identity)


@TARGETS
def test_a_full_disk_costs_records_and_no_answer(packaged: Path, target: str) -> None:
    full = ["--tmpfs", "/logs:size=16k,uid=1034"]
    with container.running(image(packaged, target), engine.native(), 60, *full) as service:
        for _ in range(400):
            found = container.request(service.url + "/multiply", service.token, b'{"number": 2}')
            assert found[0] == 200 and found[1]["product"] == 6.5
        asked = urllib.request.Request(service.url + "/metrics", headers=container.bearer(service))
        with urllib.request.urlopen(asked) as response:
            told = response.read().decode()
        (lost,) = re.findall(r"^service_log_dropped_total (\S+)", told, re.MULTILINE)
        assert 0 < float(lost) < 400
        assert container.inside(service, "shutil.disk_usage('/logs').used") <= 16 * 1024


def test_an_image_of_another_architecture_is_named(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    engine.start()
    foreign = ["--platform", "linux/s390x", "--tag", "demo-edge:foreign"]
    engine.docker("build", "--quiet", *foreign, str(tmp_path))
    with (
        pytest.raises(SystemExit, match="is for linux/s390x, wanted linux/"),
        container.running("demo-edge:foreign", engine.native(), 10),
    ):
        pass


@TARGETS
def test_an_idle_connection_outlives_a_load_balancers_patience(packaged: Path, target: str) -> None:
    """Uvicorn's usual 5 s would end it just when a balancer asks again."""
    with container.running(image(packaged, target), engine.native(), 60) as service:
        connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=30)
        connection.request("GET", "/livez")
        connection.getresponse().read()
        kept = connection.sock
        time.sleep(8)
        connection.request("GET", "/livez")
        assert connection.getresponse().status == 200 and connection.sock is kept
