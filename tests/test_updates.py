"""A signed model on a device: served once it proved itself, refused with a reason, taken back."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

import pytest
import updating
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from test_archives import TOKEN, served
from updating import Device

from shared import archives, attempts, bundles, container, lineage, params, saying, updates
from shared.audit import Refused


@pytest.fixture
def device(tmp_path: Path, document: dict[str, Any]) -> Device:
    return Device(tmp_path / "device", document, memory_mb=500, latency_p95_ms=5000)


def test_a_bundle_is_served_and_the_model_before_is_kept(device: Device) -> None:
    assert device.install(device.sign("v1", 2.0, 1)) == "v1"
    assert device.serves == 2.0
    assert device.install(device.sign("v2", 4.0, 2)) == "v2"
    assert device.serves == 4.0
    assert updates.rollback(device.live).startswith("v1-") and device.serves == 2.0
    assert updates.rollback(device.live) == "packaged-packaged" and device.serves == 3.25
    with pytest.raises(Refused, match="no model before packaged-packaged"):
        updates.rollback(device.live)


def test_the_service_follows_and_says_where_the_model_comes_from(device: Device) -> None:
    shutil.copytree(device.service, device.folder / "app/service")
    bundle = device.sign("v1", 2.0, 1)
    with served(device.folder / "app", MODEL_POINTER=str(device.live / "current")) as url:
        os.environ["SERVICE_TOKEN"] = TOKEN
        try:
            device.install(bundle, url=url)
        finally:
            del os.environ["SERVICE_TOKEN"]
        _, answer = container.request(url + "/multiply", TOKEN, b'{"number": 3}')
        assert answer["product"] == 6 and answer["provenance"]["model_version"] == "v1"


def test_a_service_that_does_not_follow_gets_the_model_before(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.install(device.sign("v1", 2.0, 1))
    monkeypatch.setattr(updates, "SECONDS", 2)
    bundle = device.sign("v2", 4.0, 2)
    with pytest.raises(Refused, match="does not serve it within 2 s but None"):
        device.install(bundle, url="http://127.0.0.1:9")
    assert device.serves == 2.0
    with pytest.raises(Refused, match="rolled back before"):
        device.install(bundle)


def test_installing_the_served_model_again_changes_no_model(device: Device) -> None:
    bundle = device.sign("v1", 2.0, 1)
    device.install(bundle)
    inode = (device.live / "current").stat().st_ino
    assert device.install(bundle) == "v1"
    assert (device.live / "current").stat().st_ino == inode


def test_installing_the_served_model_again_repairs_it_and_a_service_takes_it(
    device: Device,
) -> None:
    bundle = device.sign("v1", 2.0, 1)
    device.install(bundle)
    place = lineage.serving(device.live)
    (place / "model.json").write_text("garbage\n")
    (place / "golden.json").unlink()
    shutil.copytree(device.service, device.folder / "app/service")
    with served(device.folder / "app", MODEL_POINTER=str(device.live / "current")) as url:
        os.environ["SERVICE_TOKEN"] = TOKEN
        try:
            assert saying.says(url) == "packaged", "what was garbled is refused"
            assert device.install(bundle, url=url) == "v1"
        finally:
            del os.environ["SERVICE_TOKEN"]
    assert bundles.intact(place) and device.serves == 2.0
    events = [one["event"] for one in attempts.remembered(device.live)]
    assert events[-2:] == ["repairing", "installed"]
    assert lineage.line(device.live) == ["packaged-packaged", place.name]


def test_a_repair_that_is_cut_off_is_finished_by_the_next(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = device.sign("v1", 2.0, 1)
    device.install(bundle)
    place = lineage.serving(device.live)
    (place / "model.json").write_text("garbage\n")
    with monkeypatch.context() as cut_off, pytest.raises(KeyboardInterrupt):
        cut_off.setattr(Path, "rename", interrupted)
        device.install(bundle)
    assert device.install(bundle) == "v1" and bundles.intact(place)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_older_bundle_is_refused_unless_it_is_asked_for(device: Device) -> None:
    old, new, other = (device.sign(f"v{n}", float(n), min(n, 2)) for n in (1, 2, 3))
    device.install(new)
    before = device.state()
    for bundle, sequence in ((old, 1), (other, 2)):
        with pytest.raises(Refused, match=f"sequence {sequence} is not above 2; --allow-downgrade"):
            device.install(bundle)
        after = device.state()
        assert b'"refused"' in after.pop("updates.jsonl").splitlines()[-1]
        assert after.items() < before.items(), "nothing else has changed"
    assert device.install(old, allow_downgrade=True) == "v1" and device.serves == 1.0
    with pytest.raises(Refused, match="is not above 2"):
        device.install(other)
    assert device.install(new) == "v2", "the highest was never withdrawn"


def test_what_was_rolled_back_does_not_come_again_by_itself(device: Device) -> None:
    first, second = device.sign("v1", 2.0, 1), device.sign("v2", 4.0, 2)
    device.install(first)
    device.install(second)
    updates.rollback(device.live)
    with pytest.raises(Refused, match="v2 was rolled back before"):
        device.install(second)
    assert device.serves == 2.0
    device.install(second, allow_downgrade=True)
    assert device.serves == 4.0


def exchange(device: Device, change: Callable[[Any], Any]) -> Path:
    """A bundle, rightly signed, with other golden content."""
    bundle = device.sign("v1", 2.0, 1)
    manifest, folder = updating.manifest(bundle, device), device.folder / "unpacked"
    folder.mkdir()
    bundles.read(bundle, [device.public], folder)
    content = params.read_json(folder / "golden.json")
    change(content)
    (folder / "golden.json").write_text(json.dumps(content))
    about = {"name": "demo", "version": "v1", "sequence": manifest.sequence}
    contents = {name: folder / name for name in manifest.files}
    bundles.write(bundle, contents, about, device.private)
    return bundle


BAD: dict[str, tuple[Callable[[Any], Any], str]] = {
    "another answer": (
        lambda golden: golden["answers"][0]["answer"].update(product=6),
        r"/multiply answers \{'product': 5.0\}, not \{'product': 6\}",
    ),
    "a question it refuses": (
        lambda golden: golden["answers"][0].update(body={"number": "x"}),
        "/multiply answers 400: Input should be a valid number",
    ),
    "too slow": (lambda golden: golden.update(latency_ms=1e-6), "at most 1e-06 are allowed"),
    "too large": (lambda golden: golden.update(memory_mb=4), "MB of memory, at most 8 are"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_signed_model_that_fails_its_self_test_is_refused(device: Device, what: str) -> None:
    change, reason = BAD[what]
    bundle = exchange(device, change)
    with pytest.raises(Refused, match=f"self-test: .*{reason}"):
        device.install(bundle)
    assert device.serves == 3.25 and lineage.current(device.live) is None


def signed_by_another(files: dict[str, bytes]) -> dict[str, bytes]:
    return files | {"manifest.sig": Ed25519PrivateKey.generate().sign(files["manifest.json"])}


def without(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {key: content for key, content in files.items() if key != name}


TAMPERED: dict[str, tuple[Callable[[dict[str, bytes]], dict[str, bytes]], str]] = {
    "no signature": (
        lambda files: without(files, "manifest.sig"),
        "manifest.sig of the bundle has",
    ),
    "an empty signature": (lambda files: files | {"manifest.sig": b""}, "by a known key"),
    "a long signature": (lambda files: files | {"manifest.sig": bytes(65)}, "has 65 bytes"),
    "another key": (signed_by_another, "not signed by a known key"),
    "another manifest": (
        lambda files: files | {"manifest.json": files["manifest.json"].replace(b"v2", b"v9")},
        "not signed by a known key",
    ),
    "another model": (lambda files: files | {"model.json": b"4.1\n"}, "model.json .* not what"),
    "other answers": (
        lambda files: files | {"golden.json": bytes(len(files["golden.json"]))},
        "golden.json of the bundle is not what was signed",
    ),
    "a file missing": (lambda files: without(files, "model.json"), "the place of model.json"),
    "a file more": (lambda files: files | {"more.json": b"{}"}, "does not end behind its last"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_u1_a_tampered_bundle_is_refused_and_the_device_serves_on(
    device: Device, what: str
) -> None:
    change, reason = TAMPERED[what]
    bundle = device.sign("v2", 4.0, 2)
    bundle.write_bytes(updating.packed(change(updating.entries(bundle))))
    refused(device, bundle, reason)


@pytest.mark.parametrize("twentieth", range(20))
def test_u1_a_bundle_that_is_cut_off_is_refused_and_the_device_serves_on(
    device: Device, twentieth: int
) -> None:
    bundle = device.sign("v2", 4.0, 2)
    os.truncate(bundle, bundle.stat().st_size * twentieth // 20)
    refused(device, bundle, "cut off|does not end")


def refused(device: Device, bundle: Path, reason: str) -> None:
    """It is, which changes nothing but updates.jsonl, and that once."""
    shutil.copytree(device.model("v1", 2.0), device.live / "models/v1")
    lineage.flip(device.live, "v1", event="promoted", version="v1")
    before = device.state()
    for _ in range(2):
        with pytest.raises(Refused, match=reason) as said:
            device.install(bundle)
        after = device.state()
        (line,) = after.pop("updates.jsonl").splitlines()
        told = json.loads(line)
        assert told["event"] == "refused" and told["bundle"] == "v2.bundle"
        assert told["reason"] == str(said.value)
        assert after == before | {".releasing.lock": b""} and device.serves == 2.0
    assert updates.status(device.live)["last"] == told


def test_what_fails_three_times_is_remembered_and_given_up(device: Device) -> None:
    bundle = exchange(device, BAD["another answer"][0])
    for _ in range(attempts.TRIES):
        with pytest.raises(Refused, match="self-test"):
            device.install(bundle)
    before = device.state()
    reason = "v1 was tried 3 times and is given up: refused: self-test: .*not"
    for _ in range(2):
        with pytest.raises(Refused, match=reason) as said:
            device.install(bundle, allow_downgrade=True)
    after = device.state()
    told = after.pop("updates.jsonl").removeprefix(before.pop("updates.jsonl"))
    assert json.loads(told)["reason"] == str(said.value), "once, in one line"
    assert after == before and device.serves == 3.25
    assert device.install(device.sign("v2", 7.0, 2)) == "v2", "another one is tried"


def test_a_model_that_does_not_load_or_end_is_refused(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = device.sign("v1", 2.0, 1)
    predictor = device.service / "predictor.py"
    right = predictor.read_text()
    predictor.write_text(
        right.replace("    return json", "    1 / (folder.name == 'export')\n    return json")
    )
    with pytest.raises(Refused, match="self-test: ZeroDivisionError"):
        device.install(bundle)
    endless = "    while folder.name != 'export': pass\n    return json"
    predictor.write_text(right.replace("    return json", endless))
    monkeypatch.setattr(updates, "SECONDS", 3)
    with pytest.raises(Refused, match="self-test: it took more than 3 s"):
        device.install(bundle)
    assert lineage.current(device.live) is None


def test_a_bundle_of_another_application_is_refused(device: Device) -> None:
    bundle = device.sign("v1", 2.0, 1)
    params.write_json(device.service / "provenance.json", updating.CHAIN | {"name": "other"})
    with pytest.raises(Refused, match="the bundle is for demo, this is other"):
        device.install(bundle)


def test_without_space_for_two_of_it_nothing_is_read(device: Device) -> None:
    bundle = device.folder / "large.bundle"
    bundle.touch()
    os.truncate(bundle, shutil.disk_usage(device.folder).free)  # sparse
    with pytest.raises(Refused, match="MB of disk are needed"):
        device.install(bundle)
    assert device.state().keys() <= {".releasing.lock"}


def test_a_disk_that_fills_up_meanwhile_changes_nothing(device: Device) -> None:
    device.install(device.sign("v1", 2.0, 1))
    bundle, full = device.sign("v2", 4.0, 2), device.live / "updates.jsonl"
    size = full.stat().st_size
    command = device.command("install", bundle, "--key", device.public, "--live", device.live)
    # Another test's BentoML may have left a folder in which metrics would be files from the start.
    kept = {key: value for key, value in os.environ.items() if "MULTIPROC" not in key.upper()}
    done = subprocess.run(
        command,
        cwd=device.service,
        env=kept,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "failed: " in done.stderr and device.serves == 2.0
    assert device.install(bundle) == "v2"


# Python runs it in each process that finds it on its path, the self-test's too.
CLOCK = """
import sys, time
seconds = iter(range({begin}, {begin} + {step} * 10**6, {step}))
time.time = lambda: float(next(seconds))
with open({told!r}, "a") as file:
    print(*sys.orig_argv, file=file)
"""


@pytest.mark.parametrize(
    ("begin", "step"),
    [(0, 1), (2**31 + 5, 1), (int(time.time()), -3600)],
    ids=["1970", "2038", "back"],  # the same in every process
)
def test_u5_no_clock_matters(device: Device, begin: int, step: int) -> None:
    """1970, 2038, and one that is set back by an hour whenever it is asked."""
    told = device.folder / "told"
    clock = CLOCK.format(begin=begin, step=step, told=str(told))
    (device.folder / "sitecustomize.py").write_text(clock)
    own = os.environ | {"PYTHONPATH": os.pathsep.join([str(device.folder), str(updating.ROOT)])}
    for number in (1, 2):
        bundle = device.sign(f"v{number}", 2.0 * number, number)
        os.utime(bundle, (begin, begin))
        command = device.command("install", bundle, "--key", device.public, "--live", device.live)
        done = subprocess.run(
            command, cwd=device.service, env=own, capture_output=True, text=True, check=False
        )
        assert done.stdout == f"install: v{number} is served\n", done.stderr
        assert device.serves == 2.0 * number
    modules = [line.split(" -m ")[1].split()[0] for line in told.read_text().splitlines()]
    assert modules == ["shared.updates", "shared.selftest"] * 2
    steps = [(one["event"], one["sequence"]) for one in attempts.remembered(device.live)]
    events = ["trying", "switching", "installed"]
    assert steps == [(event, number) for number in (1, 2) for event in events]


def test_commands_sign_install_and_tell(device: Device) -> None:
    (device.folder / "service").rename(device.folder / "build")
    device.service.symlink_to("build")
    bundle = device.folder / "b"
    command = device.command("sign", bundle, "--key", device.private, "--sequence", "4")
    done = subprocess.run(command, cwd=device.folder, capture_output=True, text=True, check=False)
    assert done.stdout == f"sign: {bundle} has demo packaged, sequence 4\n", done.stderr
    _, error = (installing := device.begin(bundle)).communicate()
    assert installing.returncode == 0, error
    told = subprocess.check_output(device.command("status", "--live", device.live))
    found = json.loads(told)
    assert found["serves"].startswith("packaged-") and found["before"] == "packaged-packaged"
    assert found["sequence"] == 4 and found["last"]["event"] == "installed"
    _, error = (installing := device.begin(device.folder / "none")).communicate()
    assert installing.returncode == 1 and "failed: [Errno 2] No such file" in error


def test_a_device_takes_a_model_back_by_the_command_of_its_unit(device: Device) -> None:
    device.install(device.sign("v1", 2.0, 1))
    device.install(device.sign("v2", 4.0, 2))
    assert "systemctl start $name-rollback" in (archives.TEMPLATES / "README.md").read_text()
    template = Template((archives.TEMPLATES / "NAME-rollback.service").read_text())
    (line,) = re.findall("^ExecStart=(.*)", template.substitute(name="demo"), re.MULTILINE)
    there = {"/opt/demo/.venv/bin/python": sys.executable, "%S/demo/live": str(device.live)}
    command = [there.get(word, word) for word in line.split()]
    run: Any = {"cwd": device.service, "capture_output": True, "text": True, "check": False}
    done = subprocess.run(command, **run)
    assert done.returncode == 0 and device.serves == 2.0, done.stderr
    assert re.fullmatch(r"rollback: v1-\w+ is served again\n", done.stdout)
    assert subprocess.run(command, **run).stdout == "rollback: packaged-packaged is served again\n"
    done = subprocess.run(command, **run)
    assert done.returncode == 1 and "no model before packaged-packaged" in done.stderr
    assert device.serves == 3.25
