import importlib.metadata
import shutil
from pathlib import Path

import pytest

from shared import packaging, params

SERVICE = "import numpy\nimport helper\n\n@bentoml.service()\nclass Demo:\n    pass\n"


def test_local_imports_are_followed_through_one_another(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    (tmp_path / "helper.py").write_text("from deeper import x\n")
    (tmp_path / "deeper.py").write_text("import helper\n")
    (tmp_path / "other.py").write_text("")
    names = [path.name for path in packaging.local_imports(tmp_path / "service.py")]
    assert names == ["service.py", "helper.py", "deeper.py"]


def test_pins_are_the_installed_versions_of_all_that_is_needed(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("# serve\npydantic==1  # reason\n")
    pins = packaging.pinned(tmp_path / "r.txt")
    assert f"pydantic=={importlib.metadata.version('pydantic')}" in pins
    assert any(pin.startswith("pydantic-core==") for pin in pins)
    assert not any(pin.startswith("email-validator") for pin in pins), (
        "extras that nobody asked for"
    )


def test_a_requirement_of_another_system_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text('no-such-package; sys_platform == "win32"\nsix\n')
    assert packaging.pinned(tmp_path / "r.txt") == [f"six=={importlib.metadata.version('six')}"]


def test_a_requirement_that_is_not_installed_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("no-such-package\n")
    with pytest.raises(SystemExit, match="no-such-package is not installed"):
        packaging.pinned(tmp_path / "r.txt")


def test_the_build_folder_holds_all_that_the_service_imports(folder: Path) -> None:
    (folder / "service.py").write_text(SERVICE)
    (folder / "helper.py").write_text("")
    (folder / "requirements-serve.txt").write_text("pydantic\n")
    chain = packaging.assemble(folder, folder / "build")
    built = {
        path.relative_to(folder / "build").as_posix() for path in (folder / "build").rglob("*")
    }
    assert {
        "service.py",
        "helper.py",
        "export/model.onnx",
        "shared/guards.py",
        "params.yaml",
    } <= built
    assert not any("__pycache__" in name for name in built)
    assert params.read_json(folder / "build/provenance.json") == chain
    assert chain["bento"].startswith(f"demo:{chain['model_version']}-")


def test_nothing_is_packaged_when_the_gate_failed(folder: Path) -> None:
    params.write_json(folder / "reports/objectives.json", {"passed": False})
    with pytest.raises(SystemExit, match="the gate has not passed"):
        packaging.main()


def test_the_bento_is_built_exported_and_registered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(folder / "store"))
    service = "import bentoml\n\n\n@bentoml.service(name='demo')\nclass Demo:\n    pass\n"
    (folder / "service.py").write_text(service)
    (folder / "requirements-serve.txt").write_text("pydantic\n")
    params.write_json(folder / "reports/objectives.json", {"passed": True})
    packaging.main()
    packaging.main()  # the same results again replace the Bento instead of failing
    bento = params.read_json(folder / "build/provenance.json")["bento"].replace(":", "/")
    for half in (bento, "other/being-built"):
        shutil.rmtree(folder / "store/bentos" / half, ignore_errors=True)
        (folder / "store/bentos" / half).mkdir(parents=True)
    packaging.main()  # a Bento that a kill cut off, and one that another pipeline is building
    assert "demo version 1: challenger" in capsys.readouterr().out
    assert (folder / "dist/demo.bento").stat().st_size > 10_000
