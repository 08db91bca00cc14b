"""A canary gets its share and goes by one command: in the manifests, and behind a real proxy."""

import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import customkinds
import jsonschema
import kubernetes_validate
import pytest
import shipped
import yaml

from shared import benchmark, canary, container, deploying, engine, images

ROOT = Path(__file__).parent.parent
OLD, NEW = "demo-cloud:old-p1-amd64", "demo-cloud:new-p1-amd64"


def release(folder: Path, version: str) -> Path:
    """Package a release of the small blueprint and write its manifests."""
    shipped.pretend(folder, version)
    return deploying.write(folder, "cloud", "linux/amd64")


@pytest.fixture
def packaged(folder: Path, document: dict[str, Any]) -> Path:
    """The manifests of the release `old`."""
    shipped.write(folder, document | {"targets": {"cloud": {"memory_mb": 400}}})
    return release(folder, "old")


@pytest.fixture
def place(folder: Path, packaged: Path, tmp_path: Path) -> Path:
    """It serves `old`, and `new` is packaged."""
    place = tmp_path / "place"
    with pytest.raises(SystemExit, match=f"is new and serves {OLD}"):
        canary.start(place, packaged, 10)
    release(folder, "new")
    return place


def component(place: Path) -> dict[str, Any]:
    text = (place / "release/canary.yaml").read_text()
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def weights(place: Path) -> dict[str, int]:
    (rule,) = component(place)["HTTPRoute"]["spec"]["rules"]
    return {backend["name"]: backend["weight"] for backend in rule["backendRefs"]}


def runs(document: dict[str, Any]) -> str:
    (service,) = document["spec"]["template"]["spec"]["containers"]
    return str(service["image"])


def test_a_canary_gets_its_share_more_of_it_and_all(place: Path, packaged: Path) -> None:
    with pytest.raises(SystemExit, match="there is no canary to promote"):
        canary.promote(place)
    assert not (place / "release").exists(), "no route where there never was a canary"
    assert canary.start(place, packaged, 10) == NEW
    assert weights(place) == {"demo": 90, "demo-canary": 10}
    canary.start(place, packaged, 50)
    assert weights(place) == {"demo": 50, "demo-canary": 50}
    assert (canary.image(place / "base"), runs(component(place)["Deployment"])) == (OLD, NEW)
    assert canary.promote(place) == canary.image(place / "base") == NEW
    assert weights(place) == {"demo": 100, "demo-canary": 0}
    assert component(place)["Deployment"]["spec"]["replicas"] == 0
    with pytest.raises(SystemExit, match="there is no canary to promote"):
        canary.promote(place)


def test_a_canary_and_a_whole_release_are_taken_back(place: Path, packaged: Path) -> None:
    canary.start(place, packaged, 10)
    assert canary.rollback(place) == OLD and weights(place)["demo"] == 100
    with pytest.raises(SystemExit, match="neither a canary nor a release before"):
        canary.rollback(place)
    canary.start(place, packaged, 10)
    canary.promote(place)
    assert canary.rollback(place) == canary.image(place / "base") == OLD


def test_a_canary_that_is_taken_back_twice_takes_no_release_with_it(
    place: Path, packaged: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a kill, or since an overlay lacked the component."""
    canary.start(place, packaged, 10)
    canary.promote(place)
    release(folder, "newer")
    canary.start(place, packaged, 10)
    overlay = place / "production/kustomization.yaml"
    before = overlay.read_text()
    overlay.write_text(before.replace(f"../{canary.RELEASE}", "../mine"))
    with pytest.raises(SystemExit, match="then once more"):
        canary.rollback(place)
    overlay.write_text(before)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(canary.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            canary.rollback(place)
    assert canary.rollback(place) == canary.image(place / "base") == NEW
    assert weights(place) == {"demo": 100, "demo-canary": 0} and (place / "before").is_dir()


def test_make_takes_a_canary_and_a_whole_release_back(place: Path, packaged: Path) -> None:
    canary.start(place, packaged, 10)
    assert made(place).stdout.splitlines()[-2:] == [
        f"rollback: {OLD} serves all",
        f"kubectl apply -k {place}/production",
    ]
    assert weights(place) == {"demo": 100, "demo-canary": 0}
    canary.start(place, packaged, 10)
    canary.promote(place)
    assert made(place).returncode == 0 and canary.image(place / "base") == OLD
    done = made(place)
    assert done.returncode != 0 and "neither a canary nor a release before" in done.stderr


def made(place: Path) -> subprocess.CompletedProcess[str]:
    """The command of docs/targets.md, of which the environment is there already."""
    command = ["make", "--assume-old=setup", "rollback-cloud", "B=cv", f"PLACE={place}"]
    own = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False)


def test_a_place_is_made_whole_or_not_at_all(packaged: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / ".empty.draft/base").mkdir(parents=True)
    with pytest.raises(SystemExit, match="is new and serves"):
        canary.start(tmp_path / "empty", packaged, 10)
    assert (tmp_path / "empty/production").is_dir() and not (tmp_path / ".empty.draft").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    with pytest.raises(SystemExit, match="has files, but no base"):
        canary.start(tmp_path / "other", packaged, 10)


def test_an_overlay_with_components_of_its_own_is_told_to_name_the_canarys(
    place: Path, packaged: Path
) -> None:
    overlay = place / "production/kustomization.yaml"
    before = overlay.read_text()
    overlay.write_text(before + "components:\n  - ../mine\n")
    with pytest.raises(SystemExit, match=r"add `- \.\./release` to its components"):
        canary.start(place, packaged, 10)
    overlay.write_text(before + "components:\n  - ../mine\n  - ../release\n")
    assert canary.start(place, packaged, 10) == NEW
    overlay.write_text(before.rstrip("\n"))
    canary.start(place, packaged, 20)
    assert yaml.safe_load(overlay.read_text())["components"] == ["../release"]


@pytest.mark.parametrize("killed_at", [1, 2])
@pytest.mark.parametrize("command", ["promote", "rollback"])
@pytest.mark.parametrize("then", ["again", "back"])
def test_a_kill_between_two_renames_loses_no_release(
    place: Path,
    packaged: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    killed_at: int,
    then: str,
) -> None:
    canary.start(place, packaged, 10)
    if command == "rollback":
        canary.promote(place)
    rename, done = Path.rename, []

    def killed(path: Path, target: Path) -> Path:
        done.append(rename(path, target))
        if len(done) == killed_at:
            raise KeyboardInterrupt
        return done[-1]

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            getattr(canary, command)(place)
    if command == "promote" and then == "again" and killed_at == 2:
        with pytest.raises(SystemExit, match="there is no canary"):
            canary.promote(place)
    else:
        canary.promote(place) if (command, then) == ("promote", "again") else canary.rollback(place)
    wanted = NEW if (command, then) == ("promote", "again") else OLD
    assert canary.image(place / "base") == wanted
    assert weights(place) == {"demo": 100, "demo-canary": 0}
    assert not (place / "next").exists()


def test_what_a_canary_is_follows_the_schema_and_selects_its_own_pods(
    place: Path, packaged: Path
) -> None:
    canary.start(place, packaged, 10)
    found = component(place)
    for kind in ("Deployment", "Service", "NetworkPolicy"):
        kubernetes_validate.validate(found[kind], "1.33", strict=True)
        assert found[kind]["metadata"]["name"] == "demo-canary"
    customkinds.check(found["HTTPRoute"])
    for folder in ("release", "production"):
        customkinds.check(yaml.safe_load((place / folder / "kustomization.yaml").read_text()))
    pods, own = found["Deployment"]["spec"], {"app.kubernetes.io/name": "demo-canary"}
    assert pods["selector"]["matchLabels"] == found["Service"]["spec"]["selector"] == own
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == own
    assert own.items() <= pods["template"]["metadata"]["labels"].items()
    # Metrics, feedback and the log are gathered as the others'.
    assert found["Service"]["metadata"]["labels"] == {"app.kubernetes.io/name": "demo"}
    volumes = {one["name"]: one for one in pods["template"]["spec"]["volumes"]}
    assert volumes["logs"]["persistentVolumeClaim"]["claimName"] == "demo"


def test_in_the_shadow_a_release_gets_copies_and_a_log_of_its_own(
    place: Path, packaged: Path
) -> None:
    """Until it gets a share of the requests, with the others' log, or all of them."""
    assert canary.start(place, packaged, 0) == NEW
    found = component(place)
    customkinds.check(found["HTTPRoute"])
    kubernetes_validate.validate(found["Deployment"], "1.33", strict=True)
    (rule,) = found["HTTPRoute"]["spec"]["rules"]
    (filtered,) = rule["filters"]
    assert filtered["requestMirror"]["backendRef"]["name"] == "demo-canary"
    assert weights(place) == {"demo": 100, "demo-canary": 0}
    assert (runs(found["Deployment"]), found["Deployment"]["spec"]["replicas"]) == (NEW, 1)
    assert log_folder(found["Deployment"]) == "/logs/shadow"
    canary.start(place, packaged, 10)
    assert weights(place) == {"demo": 90, "demo-canary": 10}
    assert log_folder(component(place)["Deployment"]) is None
    assert "filters" not in component(place)["HTTPRoute"]["spec"]["rules"][0]
    canary.start(place, packaged, 0)
    assert canary.promote(place) == canary.image(place / "base") == NEW
    assert log_folder(canary.read(place / "base", "deployment")) is None
    assert "filters" not in component(place)["HTTPRoute"]["spec"]["rules"][0]


def log_folder(deployment: dict[str, Any]) -> Any:
    (service,) = deployment["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one.get("value") for one in service["env"]}.get("SERVICE_LOG_FOLDER")


def test_a_misspelt_field_of_the_route_would_be_found() -> None:
    route = canary.route("demo", 10)
    (rule,) = route["spec"]["rules"]
    rule["backendRef"] = rule.pop("backendRefs")
    with pytest.raises(jsonschema.ValidationError, match="backendRef"):
        customkinds.check(route)


def test_every_overlay_names_the_component_once(place: Path, packaged: Path) -> None:
    canary.start(place, packaged, 10)
    canary.start(place, packaged, 20)
    overlay = yaml.safe_load((place / "production/kustomization.yaml").read_text())
    assert overlay["components"] == ["../release"] and overlay["resources"] == ["../base"]


def test_what_cannot_be_is_refused(place: Path, packaged: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="from 1 to 99"):
        canary.start(place, packaged, 100)
    with pytest.raises(SystemExit, match="run: make deploy-files TARGET=cloud"):
        canary.start(place, tmp_path / "none", 10)
    canary.start(place, packaged, 10)
    canary.promote(place)
    with pytest.raises(SystemExit, match="serves demo-cloud:new-p1-amd64 already"):
        canary.start(place, packaged, 10)


PROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend all
  bind 127.0.0.1:{port}
  default_backend service
backend service
  balance roundrobin
{servers}
"""


@pytest.fixture(scope="module")
def proxy() -> str:
    """HAProxy, which shares requests out by weight as a Gateway does."""
    if not shutil.which("haproxy", path="/usr/sbin:/usr/bin"):
        engine.install("haproxy")
    return str(shutil.which("haproxy", path="/usr/sbin:/usr/bin"))


@pytest.fixture
def shared_out(place: Path, proxy: str, tmp_path: Path) -> Iterator[Any]:
    """Starts the proxy anew with the weights in PLACE, for servers by name; gives its address."""
    running: list[subprocess.Popen[bytes]] = []

    def apply(addresses: dict[str, str]) -> str:
        while running:
            running.pop().kill()
        port = benchmark.free_port()
        lines = [
            f"  server {name} {addresses[name].removeprefix('http://')} weight {weight}"
            for name, weight in weights(place).items()
        ]
        config = tmp_path / "haproxy.cfg"
        config.write_text(PROXY.format(port=port, servers="\n".join(lines)))
        running.append(subprocess.Popen([proxy, "-db", "-f", str(config)]))
        deadline = time.monotonic() + 30
        while container.status(f"http://127.0.0.1:{port}/readyz") == 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return f"http://127.0.0.1:{port}"

    yield apply
    while running:
        running.pop().kill()


def answers(url: str, token: str) -> Counter[float]:
    """How often each of 100 answers came."""
    found = [container.request(url + "/multiply", token, b'{"number": 2}') for _ in range(100)]
    assert {status for status, _ in found} == {200}
    return Counter(answer["product"] for _, answer in found)


@pytest.mark.container
def test_a_bad_release_has_its_share_of_real_requests_until_it_is_rolled_back(
    place: Path, packaged: Path, folder: Path, tmp_path: Path, shared_out: Any
) -> None:
    (folder / "dist/demo.bento").unlink()
    shipped.package(folder, tmp_path / "store")
    name = images.build(folder, "edge", engine.native())
    bad = f"{name}-canary"
    lines = [f"FROM {name}", "USER 0", "RUN echo 1000 > /service/export/model.json", "USER 1034"]
    (dockerfile := tmp_path / "Dockerfile").write_text("\n".join(lines))
    arguments = ["--tag", bad, "--file", str(dockerfile), str(folder / "dist")]
    engine.docker("build", "--quiet", *arguments)
    token = {"SERVICE_TOKEN": "t" * 40}
    with (
        container.running(name, engine.native(), 60, **token) as old,
        container.running(bad, engine.native(), 60, **token) as new,
    ):
        addresses = {"demo": old.url, "demo-canary": new.url}
        canary.start(place, packaged, 10)
        assert answers(shared_out(addresses), "t" * 40) == {6.5: 90, 2000.0: 10}
        canary.rollback(place)
        assert answers(shared_out(addresses), "t" * 40) == {6.5: 100}
