"""A stopped training goes on, the best of the validations is kept, mistakes end it early."""

import os
import shutil
from pathlib import Path
from typing import Any

import learning
import market
import numpy as np
import playing
import pytest
import train
import vectors
from env import EnvParams
from model import TrainParams, load

from rl import stages
from shared import params

MEMORY = {"buffer_size": 2000, "learning_starts": 64}


def given() -> tuple[EnvParams, TrainParams, Any]:
    scales = params.read_json("data/prepared/scales.json")
    return params.read("env", EnvParams), params.read("train", TrainParams), scales


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present one; torch gets one thread, as beside others it is fastest so."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def prepared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """data/prepared of a short history in the present folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    shutil.copy(stages.BLUEPRINT / "objectives.yaml", folder)
    stages.history(folder)
    change(folder)
    stages.run("ingest", "validate", "prepare")
    return folder


def change(folder: Path, **values: Any) -> None:
    stages.parameters(folder, ingest={"signals": ["load"]}, train={"jobs": 1} | values)


def learnt(folder: Path, seed: int = 0, **values: Any) -> tuple[bytes, Any]:
    """The policy and the learning curve of a seed in a folder of its own."""
    folder.mkdir(exist_ok=True)
    env, config, scales = given()
    config = config.model_copy(update=values)
    learning.learn(seed, env, config, scales, folder, os.getpid())
    return (folder / f"{seed}.safetensors").read_bytes(), params.read_json(folder / f"{seed}.json")


def interrupt(patch: pytest.MonkeyPatch, validation: int, seed: int = 0) -> None:
    """A kill in the so-manyth validation of a seed."""
    look = learning.Progress.look

    def stopped(self: Any) -> None:
        if self.seed == seed and len(self.curve) == validation - 1:
            raise KeyboardInterrupt
        look(self)

    patch.setattr(learning.Progress, "look", stopped)


def test_the_best_of_the_validations_is_kept(prepared: Path) -> None:
    env, config, scales = given()
    last_was_best = []
    for seed in range(3):
        _, curve = learnt(prepared / "kept", seed, steps=2048, validations=6)
        scores = [row["validation"] for row in curve]
        model = load(
            prepared / f"kept/{seed}.safetensors", config, vectors.many(env, "train", 1, 0), scales
        )
        act, held = playing.deterministic(model), market.read("validation")
        again = learning.validate(act, env, held, config)
        assert again == pytest.approx(max(scores), rel=1e-5)
        last_was_best.append(scores[-1] == max(scores))
    assert not all(last_was_best)


@pytest.mark.parametrize("validation", [1, 2, 4])
def test_a_kill_in_any_validation_changes_nothing(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, validation: int
) -> None:
    whole = learnt(prepared / "whole", validations=4)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, validation)
        learnt(prepared / "stopped", validations=4)
    assert (prepared / "stopped/0.checkpoint").exists() == (validation > 1)
    assert not (prepared / "stopped/0.json").exists()
    assert learnt(prepared / "stopped", validations=4) == whole
    assert [row["steps"] for row in whole[1]] == [256, 512, 768, 1024]


@pytest.mark.parametrize(
    ("algorithm", "actions", "more"),
    [
        ("A2C", 3, {"n_steps": 16}),
        ("SAC", None, MEMORY | {"train_freq": 16}),
        ("SAC", None, MEMORY | {"train_freq": 16, "learning_starts": 400}),
        ("DQN", 3, MEMORY | {"train_freq": 8, "target_update_interval": 100}),
        ("TD3", None, MEMORY | {"train_freq": 8, "learning_starts": 96}),
    ],
)
def test_other_algorithms_go_on_exactly(
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
    algorithm: str,
    actions: int | None,
    more: dict[str, Any],
) -> None:
    train = {"algorithm": algorithm, "hyperparameters": more, "steps": 512, "jobs": 1}
    stages.parameters(prepared, ingest={"signals": ["load"]}, train=train, env={"actions": actions})
    whole = learnt(prepared / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 2)
        learnt(prepared / "stopped")
    assert learnt(prepared / "stopped") == whole


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({"steps": 1}, [256]),
        ({"steps": 1000, "validations": 100}, [256, 512, 768, 1024]),
        ({"steps": 1024, "validations": 1}, [1024]),
        ({"steps": 1100, "validations": 3}, [512, 768, 1280]),
    ],
)
def test_validations_come_between_whole_rollouts(
    prepared: Path, values: dict[str, int], steps: list[int]
) -> None:
    _, curve = learnt(prepared / "some", **values)
    assert [row["steps"] for row in curve] == steps
    assert all(np.isfinite(row["validation"]) for row in curve)


def test_another_environment_learns_the_same_again_with_a_seed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages.parameters(folder, env={"id": "CartPole-v1"}, train={"jobs": 1})
    stages.run("ingest", "validate", "prepare")
    first, again = learnt(folder / "first"), learnt(folder / "again")
    assert first == again and learnt(folder / "first", 1)[0] != first[0]
    assert first[1][-1]["training_reward"] > 5, "returns of training episodes are counted"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 2)
        learnt(folder / "stopped")
    _, curve = learnt(folder / "stopped")
    assert curve[0] == first[1][0] and curve[1]["steps"] == 1024


def test_a_killed_stage_leaves_done_seeds_alone_and_ends_as_an_undisturbed_one(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def results() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in Path("models").iterdir()}

    stages.run("train")
    whole = results()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 2, seed=1)
        stages.run("train")
    assert results() == whole, "the older models stay until the new ones are whole"
    names = {path.name for path in Path("checkpoint").glob("*/*")}
    assert names == {"0.safetensors", "0.json", "1.checkpoint"}
    (done,) = Path("checkpoint").glob("*/0.safetensors")
    seen = []

    def watched(*told: Any) -> None:
        seen.append(done.stat().st_mtime_ns)
        learning.learn(*told)

    before = done.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(train, "learn", watched)
        stages.run("train")
    assert seen == [before, before] and results() == whole
    assert not Path("checkpoint").exists()


def test_a_mistake_is_told_before_anything_is_learnt_or_lost(prepared: Path) -> None:
    Path("models").mkdir()
    Path("models/old").write_text("kept")
    change(prepared, hyperparameters={"gama": 1})
    with pytest.raises(SystemExit, match=r"params.yaml: train.hyperparameters.gama: unknown"):
        stages.run("train")
    change(prepared, seeds=[])
    with pytest.raises(SystemExit, match=r"train.seeds"):
        stages.run("train")
    assert Path("models/old").exists() and not Path("checkpoint").exists()


def test_the_checkpoint_belongs_to_scripts_data_and_parameters(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, config, _ = given()
    for path in stages.BLUEPRINT.glob("*.py"):
        shutil.copy2(path, prepared)
    monkeypatch.setattr(train, "__file__", str(prepared / "train.py"))
    found = [train.checkpoint_folder(config, env)]
    (found[0] / "0.json").write_text("[]")
    assert train.checkpoint_folder(config, env) == found[0] and (found[0] / "0.json").exists()
    with (prepared / "features.py").open("a") as script:
        script.write("# another look\n")
    found.append(train.checkpoint_folder(config, env))
    with Path("data/prepared/moments.safetensors").open("ab") as data:
        data.write(b" ")
    found.append(train.checkpoint_folder(config, env))
    found.append(train.checkpoint_folder(config, env.model_copy(update={"reward": "money"})))
    found.append(train.checkpoint_folder(config.model_copy(update={"seeds": (5,)}), env))
    assert len(set(found)) == 5 and [path.exists() for path in found] == [False] * 4 + [True]


def test_the_best_seed_is_chosen_by_its_best_validation(prepared: Path) -> None:
    _, config, _ = given()
    folder = prepared / "seeds"
    folder.mkdir()
    for seed, scores in ((0, [1.0, 5.0, 2.0]), (1, [4.0, 4.5, 4.9])):
        rows = [{"seed": seed, "steps": i, "validation": score} for i, score in enumerate(scores)]
        params.write_json(folder / f"{seed}.json", rows)
        (folder / f"{seed}.safetensors").write_text(f"policy {seed}")
    curve, chosen = train.write(folder, config)
    assert chosen == 0 and len(curve) == 6
    told = params.read_json("models/model.json")
    assert told == {"chosen": 0, "validation": {"0": 5.0, "1": 4.9}}
    assert Path("models/1.safetensors").read_text() == "policy 1"
