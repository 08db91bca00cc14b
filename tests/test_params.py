import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared import params


class Section(params.Params):
    rate: float
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {rat: 1}", "train.rat: unknown key"),
        ("train: {rate: fast}", "train.rate"),
        ("train: {rate: .nan}", "finite"),
        ("other: {}", "section 'train' is missing"),
        ("[1]", "expected a mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_mistake_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(SystemExit) as stopped:
        params.read("train", Section, path)
    assert message in str(stopped.value) and "params.yaml" in str(stopped.value)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="run from the blueprint's folder"):
        params.read("train", Section, tmp_path / "none.yaml")


def test_values_are_typed_and_frozen(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("train: {rate: 0.5, names: [a]}")
    section = params.read("train", Section, tmp_path / "p.yaml")
    assert section.rate == 0.5
    with pytest.raises(Exception, match="frozen"):
        section.rate = 1.0


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    params.write_json(path, {"x": 1})
    with pytest.raises(RuntimeError), params.atomic(path) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert params.read_json(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_json_refuses_nan_and_rounds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        params.write_json(tmp_path / "a.json", {"x": float("nan")})
    params.write_json(tmp_path / "a.json", {"x": (0.123456789,), 1: {"y": "z"}})
    assert params.read_json(tmp_path / "a.json") == {"x": [0.123457], "1": {"y": "z"}}


def test_exact_json_keeps_every_digit_and_refuses_nan(tmp_path: Path) -> None:
    schema = {"maximum": 9999999.99, "enum": [1234567.5, 48.856614, 0.125, 1]}
    params.write_json(tmp_path / "a.json", schema, exact=True)
    assert params.read_json(tmp_path / "a.json") == schema
    with pytest.raises(ValueError, match="not JSON compliant"):
        params.write_json(tmp_path / "a.json", {"x": float("nan")}, exact=True)


def test_flatten_joins_keys_with_dots() -> None:
    assert params.flatten({"a": {"b": {"c": 1}}, "d": [2]}) == {"a.b.c": 1, "d": [2]}


def test_a_stage_waits_for_a_process_that_still_runs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("train: {}\n")
    code = "from shared import params; params.stage('train', params.Params); "
    code += "print('in', flush=True); input()"
    command = [sys.executable, "-c", code]
    pipes = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }
    first = subprocess.Popen(command, **pipes)
    assert first.stdout.readline() == "in\n"
    second = subprocess.Popen(command, **pipes)
    assert "waits for a process that still runs this stage" in second.stderr.readline()
    worker = subprocess.Popen(command, env=os.environ | {"RANK": "1"}, **pipes)
    assert worker.stdout.readline() == "in\n", (
        "the other processes of one training do not wait for each other"
    )
    worker.communicate("\n")
    first.kill()
    assert second.stdout.readline() == "in\n", "a killed process holds nothing"
    second.communicate("\n")
    first.communicate()


def test_the_environment_comes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Service(params.Params):
        log_folder: str
        log_inputs: bool
        threads: int

    path = tmp_path / "params.yaml"
    path.write_text("service: {log_folder: logs, log_inputs: false, threads: 2}\n")
    monkeypatch.setenv("SERVICE_LOG_FOLDER", "/var/log/app")
    monkeypatch.setenv("SERVICE_LOG_INPUTS", "true")
    found = params.read("service", Service, path, prefix="SERVICE_")
    assert found == Service(log_folder="/var/log/app", log_inputs=True, threads=2)
    assert params.read("service", Service, path).log_folder == "logs"
    monkeypatch.setenv("SERVICE_THREADS", "many")
    with pytest.raises(SystemExit, match=r"service\.threads: .*integer.*given: 'many'"):
        params.read("service", Service, path, prefix="SERVICE_")
