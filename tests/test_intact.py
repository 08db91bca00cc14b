"""What is damaged in a deployed model is found, and no rollback serves it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_releasing import deploy
from updating import Device

from shared import attempts, intact, lineage, releasing, retraining, saying, updates
from shared.audit import Failed, Refused


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A model of files on two levels, with an online store."""
    (tmp_path / "store").mkdir()
    for name in ("model.onnx", "store/registry.json", "store/online.db"):
        (tmp_path / name).write_text(name)
    intact.seal(tmp_path)
    return tmp_path


def test_a_model_is_whole_as_sealed_and_as_sha256sum_says(sealed: Path) -> None:
    assert intact.damaged(sealed) == []
    subprocess.run(["sha256sum", "--check", "--quiet", intact.SUMS], cwd=sealed, check=True)
    (sealed / "store/online.db").write_text("a month later")
    assert intact.damaged(sealed) == [], "an online store takes new values"


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "changed": (lambda place: (place / "model.onnx").write_text("other"), "model.onnx"),
    "cut off": (lambda place: (place / "model.onnx").write_text("mod"), "model.onnx"),
    "gone": (lambda place: (place / "store/registry.json").unlink(), "store/registry.json"),
    "no list": (lambda place: (place / intact.SUMS).write_text(""), intact.SUMS),
    "no lines": (lambda place: (place / intact.SUMS).write_text("x"), intact.SUMS),
    "no text": (lambda place: (place / intact.SUMS).write_bytes(b"\xff"), intact.SUMS),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file_is_named(sealed: Path, kind: str) -> None:
    damage, name = DAMAGES[kind]
    damage(sealed)
    assert intact.damaged(sealed) == [name]


def test_a_rollback_to_a_damaged_model_is_refused_until_it_is_put_in_place_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = folder / "live"
    first, second = deploy(folder, "first"), deploy(folder, "second")
    (live / "models" / first / "model.onnx").write_text("firsT")
    before = (live / "current").stat()
    monkeypatch.setattr(sys, "argv", ["releasing", "rollback"])
    with pytest.raises(Refused, match=rf"before, {first}, is damaged \(model.onnx\)"):
        releasing.main()
    assert (live / "current").stat() == before and lineage.current(live) == second
    assert [one["event"] for one in lineage.history(live)] == ["promoted", "promoted"]
    assert deploy(folder, "first") == first, "what is damaged is put in place anew"
    deploy(folder, "second")
    assert releasing.rollback(live) == first
    assert (lineage.serving(live) / "model.onnx").read_text() == "first"


def test_deploying_the_served_model_again_mends_it_and_a_service_looks_again(
    folder: Path,
) -> None:
    live, first = folder / "live", deploy(folder, "first")
    (place := lineage.serving(live) / "model.onnx").write_text("garbage")
    before = (live / "current").stat().st_mtime_ns
    assert deploy(folder, "first") == first and place.read_text() == "first"
    assert (live / "current").stat().st_mtime_ns > before
    assert len(lineage.history(live)) == 1


def test_a_model_that_an_earlier_release_put_in_place_is_rolled_back_to(folder: Path) -> None:
    first, _ = deploy(folder, "first"), deploy(folder, "second")
    (folder / "live/models" / first / intact.SUMS).unlink()
    assert releasing.rollback(folder / "live") == first


def test_a_retraining_says_that_there_is_no_way_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = folder / "live"
    first, second = deploy(folder, "first"), deploy(folder, "second")
    (live / "models" / first / "model.onnx").unlink()
    monkeypatch.setattr(releasing, "served", lambda *_: False)
    monkeypatch.setattr(releasing, "says", lambda _: first)
    with pytest.raises(Failed, match=f"refuses {second} and serves {first}; .* is damaged"):
        retraining._see_it_served("http://127.0.0.1:9", second, live)
    assert lineage.current(live) == second


@pytest.fixture
def device(tmp_path: Path, document: dict[str, Any]) -> Device:
    return Device(tmp_path / "device", document, memory_mb=500, latency_p95_ms=5000)


def test_a_device_keeps_its_model_where_the_one_before_is_damaged(device: Device) -> None:
    device.install(device.sign("v1", 2.0, 1))
    packaged = device.live / "models/packaged-packaged/model.json"
    packaged.write_text("9.0")
    with pytest.raises(Refused, match=r"packaged-packaged, is damaged \(model.json\)"):
        updates.rollback(device.live)
    assert device.serves == 2.0
    device.install(device.sign("v2", 4.0, 2))
    (next(device.live.glob("models/v1-*")) / "golden.json").unlink()
    with pytest.raises(Refused, match=r"v1-.*, is damaged \(golden.json\)"):
        updates.rollback(device.live)
    assert device.serves == 4.0


def test_a_device_whose_service_does_not_follow_never_gets_a_damaged_model(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.install(device.sign("v1", 2.0, 1))

    def silent(*_: object) -> bool:
        (next(device.live.glob("models/v1-*")) / "model.json").write_text("9.0")
        return False

    monkeypatch.setattr(saying, "served", silent)
    with pytest.raises(Refused, match=r"does not serve it .*; the model before, v1-.* is damaged"):
        device.install(device.sign("v2", 4.0, 2), url="http://127.0.0.1:9")
    assert device.serves == 4.0
    assert attempts.remembered(device.live)[-1]["event"] == "failed"
