"""A stack on one host: its files, and all of it running, attacked, backed up and restored."""

import argparse
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shipped
import standing
import yaml
from test_smoke import OBJECTIVES

from shared import (
    benchmark,
    compose,
    container,
    deploying,
    engine,
    images,
    params,
    sbom,
    stacksmoke,
    standalone,
    volumes,
)

STARTS_S = 900.0


@pytest.fixture
def written(folder: Path, document: dict[str, Any]) -> Path:
    """The files of the small blueprint, without images."""
    shipped.write(folder, document | {"targets": {"cloud": {"memory_mb": 400}}})
    shipped.pretend(folder)
    return deploying.write(folder, "standalone", engine.native())


def services(written: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((written / "compose.yaml").read_text())["services"])


def follows(path: Path) -> subprocess.CompletedProcess[str]:
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_file_follows_the_compose_specification(written: Path) -> None:
    done = follows(written / "compose.yaml")
    assert done.returncode == 0, done.stdout
    wrong = (written / "compose.yaml").read_text().replace("mem_limit:", "memory_limit:")
    (written / "wrong.yaml").write_text(wrong)
    assert "memory_limit" in follows(written / "wrong.yaml").stdout


def test_every_service_is_locked_up_bounded_checked_and_started_again(written: Path) -> None:
    found = services(written)
    assert len(found) == 11
    for name, one in found.items():
        assert one["read_only"] is True and one["cap_drop"] == ["ALL"] and one["mem_limit"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        once = name in ("bootstrap", "backup", "restore")
        assert one["restart"] == ("no" if once else "unless-stopped"), name
        root = one["user"].startswith("0:")
        assert root == (name in ("backup", "restore")), name  # which read all owners' files
        # The service's image has its own.
        assert once or name == "service" or "test" in one["healthcheck"], name


def test_only_the_gateway_is_reachable_and_only_on_loopback(written: Path) -> None:
    document = yaml.safe_load((written / "compose.yaml").read_text())
    assert document["networks"]["inside"] == {"internal": True}
    for name, one in document["services"].items():
        assert one["networks"] == (["inside", "outside"] if name == "gateway" else ["inside"])
        ports = one.get("ports", [])
        assert bool(ports) == (name == "gateway")
        assert all(port.startswith("127.0.0.1:") for port in ports)


def test_usual_images_are_pinned_and_may_be_others(written: Path) -> None:
    found = services(written)
    for name in ("prometheus", "alertmanager", "grafana"):
        variable, _, usual = found[name]["image"].removeprefix("${").rstrip("}").partition(":-")
        assert variable == f"{name.upper()}_IMAGE" and f"/{name}:" in usual
        assert usual.rpartition(":")[2].strip("v").replace(".", "").isdigit()
    assert found["grafana"]["profiles"] == ["grafana"]
    assert compose.Stack(written).settings["COMPOSE_PROFILES"] == "grafana"


def test_secrets_stay_when_files_are_written_again_and_are_for_nobody_else(written: Path) -> None:
    before = (written / ".env").read_text()
    deploying.write(written.parents[2], "standalone", engine.native())
    assert (written / ".env").read_text() == before
    known = compose.Stack(written).settings
    assert len({known[key] for key in compose.SECRETS}) == 3
    assert (written / "secrets/service").read_text() == known["SERVICE_TOKEN"]
    assert (written / ".env").stat().st_mode & 0o077 == 0
    assert (written / "secrets").stat().st_mode & 0o077 == 0


def test_what_is_compiled_asks_and_is_asked_inside(written: Path, tools: None) -> None:
    for command in (["amtool", "check-config", "compiled/alertmanager.yml"],):
        subprocess.run(command, cwd=written, check=True, capture_output=True)
    scraped = yaml.safe_load((written / "compiled/prometheus.yml").read_text())["scrape_configs"]
    targets = [one["static_configs"][0]["targets"][0] for one in scraped]
    assert targets == ["service:3000", "monitor:9464"]
    services = yaml.safe_load((written / "compose.yaml").read_text())["services"]
    assert services["monitor"]["command"][-2:] == ["--prometheus", "http://prometheus:9090"]
    assert scraped[0]["authorization"]["credentials_file"] == "/run/secrets/service_token"
    (receiver,) = yaml.safe_load((written / "compiled/alertmanager.yml").read_text())["receivers"]
    (webhook,) = receiver["webhook_configs"]
    assert webhook["url"] == "http://worker:9099/alerts"
    token = {"credentials_file": "/run/secrets/actions_token"}
    assert webhook["http_config"]["authorization"] == token


def test_grafana_finds_the_compiled_dashboard_and_prometheus(written: Path) -> None:
    (source,) = yaml.safe_load((written / "grafana/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090" and source["isDefault"]
    (provider,) = yaml.safe_load((written / "grafana/dashboards/compiled.yaml").read_text())[
        "providers"
    ]
    mounted = [one.split(":")[:2] for one in services(written)["grafana"]["volumes"]]
    assert ["./compiled", provider["options"]["path"]] in mounted
    assert ["./grafana", "/etc/grafana/provisioning"] in mounted
    assert json.loads((written / "compiled/dashboard.json").read_text())["panels"]


def test_without_files_the_command_that_writes_them_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="run: make deploy-files TARGET=standalone"):
        compose.Stack(tmp_path)


def test_another_platform_is_refused(written: Path) -> None:
    with pytest.raises(SystemExit, match="standalone is built where it runs"):
        standalone.build(written.parents[2], "linux/riscv64")


def test_results_that_were_not_packaged_are_refused(written: Path) -> None:
    with pytest.raises(SystemExit, match="packaged before the last dvc repro"):
        standalone.build(written.parents[2], engine.native())


def test_keys_and_secrets_are_in_no_image(written: Path) -> None:
    folder = written.parents[2]
    (folder / "requirements.txt").write_text("pyyaml\n")
    for name in ("key.pem", ".env", "cv.bundle", "mine.py", "backup.tar.gz", ".netrc"):
        (folder / name).touch()
    (folder / ".git").mkdir(exist_ok=True)  # of a folder that was copied out
    (folder / ".git/config").write_text("url = https://token@git.example/app")
    with standalone.context(folder) as place:
        found = {path.name for path in (place / "app").iterdir()}
    assert "mine.py" in found
    assert not found & {"key.pem", ".env", "cv.bundle", "backup.tar.gz", ".netrc", ".git"}


def test_whatever_the_umask_is_containers_can_read_and_others_no_secret(
    folder: Path, document: dict[str, Any], tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        shipped.write(folder, document | {"targets": {"cloud": {"memory_mb": 400}}})
        shipped.pretend(folder)
        (folder / "requirements.txt").write_text("pyyaml\n")
        written = deploying.write(folder, "standalone", engine.native())
        with standalone.context(folder) as place:
            modes = {path.stat().st_mode & 0o444 for path in (place / "app").rglob("*")}
    finally:
        os.umask(before)
    assert modes == {0o444}
    for path in (written / "compiled", written / "grafana", written / "compiled/rules.yml"):
        assert path.stat().st_mode & 0o004, path
    assert (written / "secrets/service").stat().st_mode & 0o044 == 0o044
    assert (written / "secrets").stat().st_mode & 0o077 == 0


def test_quotes_around_a_setting_are_not_part_of_it(tmp_path: Path) -> None:
    lines = ["# a comment = none", 'SERVICE_TOKEN="a=b"', "A = 'x'", 'B="', "C=it's", "D="]
    (tmp_path / ".env").write_text("\n".join(lines))
    wanted = {"SERVICE_TOKEN": "a=b", "A": "x", "B": '"', "C": "it's", "D": ""}
    assert compose.environment(tmp_path) == wanted


def test_other_rules_start_who_reads_them_anew(written: Path) -> None:
    def labels() -> set[str]:
        found = services(written)
        return {found[name]["labels"]["compiled"] for name in ("prometheus", "alertmanager")}

    (before,) = labels()
    folder = written.parents[2]
    deploying.write(folder, "standalone", engine.native())
    assert labels() == {before}
    text = (folder / "objectives.yaml").read_text()
    assert "at_most: 50" in text
    (folder / "objectives.yaml").write_text(text.replace("at_most: 50", "at_most: 40"))
    deploying.write(folder, "standalone", engine.native())
    assert len(labels()) == 1 and labels() != {before}


def test_a_token_of_another_service_is_not_the_stacks(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_TOKEN", "foreign")
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "foreign")
    monkeypatch.setattr(compose, "tool", lambda: ("env",))
    stack = compose.Stack(written, SERVICE_PORT="3333")
    stack.files = []
    seen = stack.run()
    assert "foreign" not in seen and "SERVICE_PORT=3333" in seen


# What follows runs it.


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("standing")
    standing.write(folder, OBJECTIVES, tmp_path_factory.mktemp("store"))
    standalone.build(folder, engine.native())
    return folder


@pytest.mark.container
def test_what_the_worker_is_made_of_is_listed(packaged: Path) -> None:
    listed = params.read_json(sbom.write(packaged, "standalone", engine.native()))
    assert {"mlflow", "bentoml"} <= {one["name"] for one in sbom.packages(listed, "pkg:pypi/")}


@pytest.fixture(scope="module")
def stack(packaged: Path) -> Iterator[compose.Stack]:
    with stacksmoke.up(packaged, f"demo-{secrets.token_hex(3)}") as started:
        started.wait(STARTS_S)
        yield started


def product(stack: compose.Stack, number: float = 2) -> Any:
    served = stacksmoke.service(stack)
    body = json.dumps({"number": number}).encode()
    return container.request(served.url + "/multiply", served.token, body)


def until(holds: Any) -> None:
    stacksmoke.until("it", holds, STARTS_S)


@pytest.mark.container
def test_the_parts_work_together(packaged: Path, stack: compose.Stack) -> None:
    asked = argparse.Namespace(platform=engine.native(), count=30, seconds=60.0)
    figures = stacksmoke.prove(packaged, stack, asked)
    assert figures["answers"] == 30
    assert 20 < figures["service_mb"] < 500 and 5 < figures["gateway_mb"] < 128


@pytest.mark.container
def test_unusual_numbers_become_a_ticket(stack: compose.Stack) -> None:
    for _ in range(60):
        assert product(stack, 1000)[0] == 200
    until(lambda: "KR2" in stacksmoke.told(stack))


@pytest.mark.container
def test_nothing_leaves_the_host(stack: compose.Stack) -> None:
    """Another host, on a wire of its own: other containers reach it, those of the stack do not."""
    name, wire = "elsewhere", "198.51.100"
    ip = ["ip", "netns", "exec", name, "ip"]
    commands = [
        ["ip", "netns", "add", name],
        ["ip", "link", "add", "elsewhere", "type", "veth", "peer", "name", "e", "netns", name],
        ["ip", "address", "add", f"{wire}.1/24", "dev", "elsewhere"],
        ["ip", "link", "set", "elsewhere", "up"],
        [*ip, "address", "add", f"{wire}.2/24", "dev", "e"],
        [*ip, "link", "set", "e", "up"],
    ]
    try:
        for command in commands:
            subprocess.run(command, check=True)
        serve = ["python3", "-m", "http.server", "--bind", f"{wire}.2", "8000"]
        with subprocess.Popen(["ip", "netns", "exec", name, *serve]) as server:
            try:
                url = f"http://{wire}.2:8000"
                until(lambda: container.status(url) == 200)
                code = f"import urllib.request as u; print(u.urlopen('{url}', timeout=5).status)"
                usual = engine.docker("run", "--rm", engine.BASE, "python3", "-c", code)
                assert usual == "200"
                for part in ("service", "mlflow", "worker", "monitor", "gateway"):
                    identity = stack.identity(part)
                    assert not engine.works("exec", identity, "python3", "-c", code), part
            finally:
                server.kill()
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)


@pytest.mark.container
def test_a_killed_service_is_started_again(stack: compose.Stack) -> None:
    state = stack.containers()["service"]["State"]
    os.kill(state["Pid"], signal.SIGKILL)
    until(lambda: stack.containers()["service"]["State"]["StartedAt"] != state["StartedAt"])
    until(lambda: container.status(stacksmoke.url(stack, "service") + "/readyz") == 200)
    assert product(stack)[0] == 200


@pytest.mark.container
def test_a_token_is_asked_for(stack: compose.Stack) -> None:
    url = stacksmoke.url(stack, "service")
    assert container.request(url + "/multiply", "wrong", b'{"number": 2}')[0] == 401


DEPLOY = """
import pathlib, shutil
from shared import params, releasing
work = pathlib.Path("/tmp/other")
shutil.copytree("export", work / "export")
for name in ("objectives.yaml", "dvc.lock"):
    shutil.copy2(name, work)
params.write_json(work / "export/model.json", 4.0)
print(releasing.deploy(work / "export", pathlib.Path("live")))
"""


@pytest.mark.container
def test_what_is_backed_up_comes_back_after_all_is_lost(
    packaged: Path, stack: compose.Stack, tmp_path: Path
) -> None:
    """The same model, which is not the image's; the same registry, log and time series."""
    version = engine.docker("exec", stack.identity("worker"), "python3", "-c", DEPLOY)
    until(lambda: product(stack)[1].get("model_version") == version)
    assert product(stack)[1]["product"] == 8.0
    before = stacksmoke.champion(stack, "demo"), stacksmoke.told(stack), points(stack)
    file = tmp_path / "demo.tar.gz"
    volumes.backup(stack, file)
    assert product(stack)[0] == 200, "it answers during and after a backup"
    with pytest.raises(SystemExit, match="still run; stop them"):
        volumes.restore(stack, file)
    stack.run(*stacksmoke.VOLUMES)
    with pytest.raises(SystemExit, match="service was not started"):
        stack.identity("service")
    (tmp_path / "cut.tar.gz").write_bytes(file.read_bytes()[:5000])
    with pytest.raises(SystemExit):
        volumes.restore(stack, tmp_path / "cut.tar.gz")
    volumes.restore(stack, file)
    stack.run("up", "--detach")
    stack.wait(STARTS_S)
    until(lambda: product(stack)[1].get("model_version") == version)
    assert product(stack)[1]["product"] == 8.0
    after = stacksmoke.champion(stack, "demo"), stacksmoke.told(stack), points(stack)
    assert after[0] == before[0] and after[1].startswith(before[1][:-1])
    assert set(before[2]) <= set(after[2]), "Prometheus has what it had read"


def points(stack: compose.Stack) -> list[float]:
    """When Prometheus saw the service, of the time before the backup that it has on the disk."""
    query = "/api/v1/query?query=up{job='service'}[1h]"
    url = stacksmoke.url(stack, "prometheus") + query.replace("{", "%7B").replace("}", "%7D")
    found = stacksmoke.ask(url)["data"]["result"]
    return [time for one in found for time, _ in one["values"]]


@pytest.mark.container
def test_one_container_serves_watches_and_ends_when_a_part_ends(packaged: Path) -> None:
    name = images.tag(images.provenance(packaged), "single", engine.native())
    port, token = benchmark.free_port(), secrets.token_hex(8)
    options = [*container.LOCKED, "--init", "--publish", f"127.0.0.1:{port}:3000"]
    assert not engine.works("run", "--rm", *options, name), "it asks for a token"
    options += ["--env", f"SERVICE_TOKEN={token}", "--restart", "unless-stopped"]
    identity = engine.docker("run", "--detach", *options, name)
    try:
        url = f"http://127.0.0.1:{port}"
        container.wait(identity, url, time.monotonic() + STARTS_S)
        answer = container.request(url + "/multiply", token, b'{"number": 2}')
        assert answer[0] == 200 and answer[1]["product"] == 6.5
        assert container.request(url + "/multiply", "wrong", b'{"number": 2}')[0] == 401
        up = "import urllib.request as u, json; print(len([t for t in json.load(u.urlopen("
        up += "'http://127.0.0.1:9090/api/v1/targets'))['data']['activeTargets']"
        up += " if t['health'] == 'up']))"
        until(lambda: engine.docker("exec", identity, "python3", "-c", up) == "2")
        end = "import psutil; [p.kill() for p in psutil.process_iter() if p.name() == 'prometheus']"
        engine.docker("exec", identity, "python3", "-c", end)
        until(lambda: int(container.inspect(identity, "RestartCount")) >= 1)
        container.wait(identity, url, time.monotonic() + STARTS_S)
        engine.docker("stop", "--time", "60", identity)
        assert container.inspect(identity, "State.ExitCode") in ("0", "143")
    finally:
        engine.docker("rm", "--force", "--volumes", identity)
