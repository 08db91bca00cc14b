"""What is signed is the model with its own answers and the limits of the objectives."""

from pathlib import Path
from typing import Any

import pytest
from updating import Device, manifest

from shared import bundles, params, signing


@pytest.fixture
def device(tmp_path: Path, document: dict[str, Any]) -> Device:
    return Device(tmp_path / "device", document, memory_mb=500, latency_p95_ms=5000)


def unpacked(bundle: Path, device: Device) -> Path:
    place = device.folder / "place"
    place.mkdir()
    bundles.read(bundle, [device.public], place)
    return place


def test_a_bundle_has_the_models_own_answers_and_the_budgets(device: Device) -> None:
    bundle, model = device.folder / "b", device.model("v1", 2.0)
    (model / ".gitignore").write_text("*\n")
    signing.sign(bundle, device.private, 5, model, device.service)
    found = manifest(bundle, device)
    assert (found.name, found.version, found.sequence) == ("demo", "v1", 5)
    assert set(found.files) == {"golden.json", "model.json", "provenance.json"}
    golden = params.read_json(unpacked(bundle, device) / "golden.json")
    example = {"path": "/multiply", "body": {"number": 2.5}, "answer": {"product": 5.0}}
    assert golden["answers"] == [example] and golden["tolerance"] == 0.01
    assert (golden["memory_mb"], golden["latency_ms"]) == (500, 5000)
    assert device.install(bundle) == "v1"


def test_a_model_that_came_in_a_bundle_can_be_signed_again(device: Device) -> None:
    device.install(device.sign("v1", 2.0, 1))
    (model,) = (device.live / "models").glob("v1-*")
    again = device.folder / "again"
    assert signing.sign(again, device.private, 2, model, device.service).version == "v1"
    assert device.install(again) == "v1" and device.serves == 2.0


def test_the_packaged_model_is_signed_with_the_packages_provenance(device: Device) -> None:
    bundle = device.folder / "b"
    made = signing.sign(bundle, device.private, 1, device.packaged, device.service)
    assert made.version == "packaged"
    assert sorted(path.name for path in device.packaged.iterdir()) == ["model.json"]
    assert not list(device.folder.glob(".b.*"))
