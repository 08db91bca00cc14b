"""A checkpoint is resumed by the training that wrote it, and by no other."""

import runpy
from pathlib import Path
from typing import Any

import checkpoint
import pytest
import torch
from checkpoint import fingerprint, read, write


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Parameters that start from a file; its data lie beside it."""
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared/images.npy").write_bytes(b"pixels")
    (tmp_path / "start.safetensors").write_bytes(b"weights")
    return {"weights": "file", "weights_file": str(tmp_path / "start.safetensors"), "epochs": 3}


def test_parameters_data_and_the_weights_file_make_the_fingerprint(
    config: dict[str, Any], tmp_path: Path
) -> None:
    data, file = tmp_path / "prepared", tmp_path / "start.safetensors"
    mark = fingerprint(config, "bad", data)
    assert fingerprint(config, "bad", data) == mark
    assert fingerprint(config | {"epochs": 4}, "bad", data) != mark
    assert fingerprint(config, "good", data) != mark
    file.write_bytes(b"others!")
    assert fingerprint(config, "bad", data) != mark
    file.write_bytes(b"weights")
    assert fingerprint(config, "bad", data) == mark, "content counts, not the time of writing"
    (data / "images.npy").write_bytes(b"others")
    assert fingerprint(config, "bad", data) != mark


def test_an_edited_script_makes_another_fingerprint(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "checkpoint.py").write_bytes(Path(checkpoint.__file__).read_bytes())
    (tmp_path / "train.py").write_text("EPOCHS = 1")
    copied = runpy.run_path(str(tmp_path / "checkpoint.py"))["fingerprint"]
    mark = copied(config, "bad", tmp_path / "prepared")
    assert copied(config, "bad", tmp_path / "prepared") == mark
    (tmp_path / "train.py").write_text("EPOCHS = 2")
    assert copied(config, "bad", tmp_path / "prepared") != mark


def test_a_weights_file_that_is_not_used_does_not_count(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["weights"] = "packaged"
    mark = fingerprint(config, "bad", tmp_path / "prepared")
    (tmp_path / "start.safetensors").unlink()
    assert fingerprint(config, "bad", tmp_path / "prepared") == mark
    assert fingerprint(config | {"weights_file": None}, "bad", tmp_path / "prepared") != mark


def test_what_another_weights_file_began_is_not_resumed(
    config: dict[str, Any], tmp_path: Path
) -> None:
    network, path = torch.nn.Linear(2, 2), tmp_path / "epoch.safetensors"
    optimizer = torch.optim.AdamW(network.parameters())
    state = {
        "fingerprint": fingerprint(config, "bad", tmp_path / "prepared"),
        "history": [{"loss": 1.0}],
    }
    write(path, network, network.state_dict(), optimizer, state)
    again = read(path, network, optimizer, fingerprint(config, "bad", tmp_path / "prepared"))
    assert again is not None and again[0] == [{"loss": 1.0}]
    (tmp_path / "start.safetensors").write_bytes(b"others!")
    assert read(path, network, optimizer, fingerprint(config, "bad", tmp_path / "prepared")) is None
