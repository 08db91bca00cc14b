"""The base model: a local folder as it lies, and nothing from the hub unless that is wished."""

from pathlib import Path
from typing import Any

import base
import pytest
import train
import yaml

GENAI = Path(base.__file__).parent
NAME = "someone/some-model"


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names that are asked of the hub, which gives an empty folder for each."""
    found: list[str] = []

    def fetch(name: str, place: Path) -> None:
        found.append(name)
        place.mkdir()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base, "fetch", fetch)
    return found


def folder(name: Any, hub: bool) -> Path:
    return base.folder(base.ModelParams(base=str(name), hub=hub))


@pytest.mark.parametrize("name", [NAME, "missing/folder", "/missing"])
def test_a_name_on_the_hub_is_refused_unless_that_is_wished(name: str, fetched: list[str]) -> None:
    with pytest.raises(SystemExit, match=rf"model\.base: {name} .* needs `model\.hub: true`"):
        folder(name, hub=False)
    assert fetched == [] and not Path(".base").exists()


def test_a_model_of_the_hub_is_fetched_once(fetched: list[str]) -> None:
    place = folder(NAME, hub=True)
    assert place == folder(NAME, hub=True) == Path(".base/someone-some-model")
    assert fetched == [NAME]
    with pytest.raises(SystemExit, match=r"needs `model\.hub: true`"):
        folder(NAME, hub=False)  # also when it is there from a run before


def test_a_fetch_that_is_cut_off_leaves_no_model(
    fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(name: str, place: Path) -> None:
        place.mkdir()
        raise OSError("no network")

    with monkeypatch.context() as change:
        change.setattr(base, "fetch", cut)
        with pytest.raises(OSError, match="no network"):
            folder(NAME, hub=True)
    assert folder(NAME, hub=True).exists() and fetched == [NAME], "asked again"


def test_a_local_folder_is_used_where_it_lies(fetched: list[str]) -> None:
    Path("here").mkdir()
    Path("here/config.json").write_text("{}")
    assert folder("here", hub=False) == folder("here", hub=True) == Path("here")
    assert fetched == []


def test_a_stage_says_so_before_it_does_anything(fetched: list[str]) -> None:
    values = yaml.safe_load((GENAI / "params.yaml").read_text())
    values["model"] = {"base": NAME, "hub": False}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(SystemExit, match=r"needs `model\.hub: true`"):
        train.main()
    assert fetched == [] and not Path("models").exists()
