"""Batches end with the answers, losses are read from the log, and only the adapter learns."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import base
import checkpoint
import model
import pandas as pd
import pytest
import torch
import train
from model import TrainParams
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments

CONFIG: dict[str, Any] = {
    "adapter": None,
    "rank": 4,
    "alpha": 8,
    "lora_dropout": 0.0,
    "targets": "all-linear",
    "epochs": 2,
    "patience": 2,
    "batch_size": 2,
    "accumulate": 1,
    "learning_rate": 0.01,
    "warmup_share": 0.1,
    "weight_decay": 0.0,
    "precision": "fp32",
    "threads": 1,
    "seed": 0,
}


def row(prompt: list[int], answer: list[int]) -> dict[str, Any]:
    return {"input_ids": prompt + answer, "answer": answer}


def test_a_batch_ends_with_the_answers_and_learns_nothing_else() -> None:
    found = train.collate([row([1, 2, 3], [4, 5]), row([6], [7])])
    assert found["input_ids"].tolist() == [[1, 2, 3, 4, 5], [0, 0, 0, 6, 7]]
    assert found["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [0, 0, 0, 1, 1]]
    assert found["labels"].tolist() == [[-100, 4, 5], [-100, -100, 7]]
    assert found["logits_to_keep"] == 3


def test_the_loss_of_a_batch_is_that_of_the_answers_tokens(small: Path) -> None:
    network = base.load(small / "tiny")
    rows = [row([11, 12, 13], [14, 15, 2]), row([16], [17, 2])]
    with torch.no_grad():
        ours = float(network(**train.collate(rows)).loss)
        told = []
        for one in rows:
            ids, answer = one["input_ids"], one["answer"]
            logits = network(torch.tensor([ids])).logits[0].log_softmax(1)
            first = len(ids) - len(answer)
            told += [float(logits[first - 1 + i, token]) for i, token in enumerate(answer)]
    assert ours == pytest.approx(-sum(told) / len(told), rel=1e-3)


def test_history_has_a_row_per_epoch() -> None:
    log = [
        {"loss": 1.0, "epoch": 1.0},
        {"eval_loss": 0.8, "epoch": 1.0},
        {"loss": 0.5, "epoch": 2.0},
        {"eval_loss": 0.7, "epoch": 2.0},
        {"train_loss": 0.75, "epoch": 2.0},
    ]
    wanted = pd.DataFrame({"epoch": [1, 2], "train_loss": [1.0, 0.5], "val_loss": [0.8, 0.7]})
    pd.testing.assert_frame_equal(train.history(log), wanted)


def test_a_fresh_adapter_changes_nothing_and_merging_is_exact(small: Path, tmp_path: Path) -> None:
    ids = torch.arange(20, 40)[None]
    network = base.load(small / "tiny")
    with torch.no_grad():
        before = network(ids).logits
        adapted = model.with_adapter(network, TrainParams(**CONFIG)).eval()
        assert torch.equal(adapted(ids).logits, before)
        generator = torch.Generator().manual_seed(1)
        for name, values in adapted.named_parameters():
            if "lora_B" in name:
                values.copy_(torch.randn(values.shape, generator=generator) * 0.1)
        changed = adapted(ids).logits
        assert not torch.allclose(changed, before, atol=1e-3)
        model.save(adapted, tmp_path / "adapter")
        files = {path.name for path in (tmp_path / "adapter").iterdir()}
        assert files == {"adapter_config.json", "adapter_model.safetensors"}
        again = model.merged(base.load(small / "tiny"), tmp_path / "adapter")
        assert torch.allclose(again(ids).logits, changed, atol=1e-4)


def test_a_rounded_base_is_never_merged_into(small: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fp32"):
        model.merged(base.load(small / "tiny", torch.bfloat16), tmp_path)


def test_only_the_adapter_learns(small: Path) -> None:
    adapted = model.with_adapter(base.load(small / "tiny"), TrainParams(**CONFIG))
    learning = {name for name, values in adapted.named_parameters() if values.requires_grad}
    assert learning and all("lora_" in name for name in learning)


def test_an_adapter_learns_on(small: Path, tmp_path: Path) -> None:
    """It begins as it was saved, whatever the parameters say of a fresh one, and learns."""
    first = model.with_adapter(base.load(small / "tiny"), TrainParams(**CONFIG))
    with torch.no_grad():
        for name, values in first.named_parameters():
            if "lora_B" in name:
                values.add_(0.1)
    model.save(first, tmp_path / "adapter")
    change = {"adapter": str(tmp_path / "adapter"), "rank": 8, "seed": 1}
    second = model.with_adapter(base.load(small / "tiny"), TrainParams(**(CONFIG | change)))
    before = {name: values for name, values in first.named_parameters() if "lora_" in name}
    after = {name: values for name, values in second.named_parameters() if values.requires_grad}
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_precision_is_what_the_processor_has() -> None:
    assert model.dtype("fp32") == torch.float32 and model.dtype("bf16") == torch.bfloat16
    wanted = torch.bfloat16 if model.has_bf16() or torch.cuda.is_available() else torch.float32
    assert model.dtype("auto") == wanted


def test_steps_of_the_schedule_cover_all_epochs(tmp_path: Path) -> None:
    config = SimpleNamespace(**(CONFIG | {"warmup_share": 0.5, "accumulate": 2}))
    assert train.arguments(config, tmp_path, 9).warmup_steps == 3, "half of 3 steps in 2 epochs"


def test_the_warm_up_is_a_share_of_the_steps_that_all_processes_do_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SimpleNamespace(**(CONFIG | {"warmup_share": 0.5, "epochs": 4}))
    assert train.arguments(config, tmp_path, 9).warmup_steps == 10, "half of 5 steps in 4 epochs"
    monkeypatch.setattr(TrainingArguments, "world_size", 2)
    assert train.arguments(config, tmp_path, 9).warmup_steps == 6, "half of 3 steps in 4 epochs"


class Killed(TrainerCallback):
    def on_epoch_begin(self, arguments: Any, state: Any, control: Any, **rest: Any) -> None:
        if round(state.epoch) == 3:
            raise KeyboardInterrupt


def test_a_killed_run_has_no_more_patience_than_one_that_was_not(
    small: Path, tmp_path: Path
) -> None:
    """Nothing is learnt, so that three epochs after the first are no better."""
    change = {"epochs": 9, "patience": 3, "learning_rate": 1e-30}
    config, rows = TrainParams(**(CONFIG | change)), [row([11, 12], [13, 2]), row([14], [15, 2])]

    def trainer(*callbacks: TrainerCallback) -> Trainer:
        return Trainer(
            model.with_adapter(base.load(small / "tiny"), config),
            train.arguments(config, tmp_path, len(rows)),
            data_collator=train.collate,
            train_dataset=rows,
            eval_dataset=rows,
            callbacks=[EarlyStoppingCallback(config.patience), *callbacks],
        )

    with pytest.raises(KeyboardInterrupt):
        trainer(Killed()).train()
    second = trainer()
    second.train(resume_from_checkpoint=checkpoint.newest(tmp_path))
    assert second.state.epoch == 4


def test_an_adapter_is_the_same_file_in_every_process(small: Path, tmp_path: Path) -> None:
    """peft keeps the names of the layers in a set, whose order each process draws anew."""
    told = """
import sys, base, model
from pathlib import Path
config = model.TrainParams(**eval(sys.argv[1]))
model.save(model.with_adapter(base.load(Path(sys.argv[2])), config), Path(sys.argv[3]))
"""
    files = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        command = [sys.executable, "-c", told, repr(CONFIG), str(small / "tiny"), str(folder)]
        here = {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run(command, check=True, env=os.environ | here)
        files.append((folder / "adapter_config.json").read_text())
    assert files[0] == files[1]


def test_an_adapter_names_no_path_of_this_machine(small: Path, tmp_path: Path) -> None:
    adapted = model.with_adapter(base.load(small / "tiny"), TrainParams(**CONFIG))
    model.save(adapted, tmp_path / "adapter")
    assert str(small) not in (tmp_path / "adapter/adapter_config.json").read_text()
