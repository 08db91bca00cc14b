"""Losses of each epoch: for MLflow while training runs, and as a table."""

import os
from typing import Any

import pandas as pd
from transformers import TrainerCallback

from shared import objectives, tracking


class Recorder(TrainerCallback):
    """Sends each epoch's losses to MLflow, and says where a killed run goes on."""

    def __init__(self) -> None:
        first = os.environ.get("RANK", "0") == "0"  # of several processes, as torchrun numbers them
        self.run_id = tracking.start(objectives.load().name) if first else None

    def on_train_begin(self, arguments: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step:
            print(f"train: goes on after epoch {state.epoch:g}")

    def on_evaluate(self, arguments: Any, state: Any, control: Any, **rest: Any) -> None:
        row = history(state.log_history).iloc[-1]
        values = {key: float(row[key]) for key in ("train_loss", "val_loss")}
        self.run_id = tracking.epoch(self.run_id, int(row["epoch"]), values)


def history(log: list[dict[str, float]]) -> pd.DataFrame:
    """epoch, train_loss, val_loss of each epoch from the Trainer's log."""
    rows: dict[int, dict[str, float]] = {}
    for entry in log:
        row = rows.setdefault(round(entry.get("epoch", 0)), {})
        row |= {"train_loss": entry["loss"]} if "loss" in entry else {}
        row |= {"val_loss": entry["eval_loss"]} if "eval_loss" in entry else {}
    table = pd.DataFrame(
        [{"epoch": epoch} | row for epoch, row in rows.items() if "val_loss" in row]
    )
    return table[["epoch", "train_loss", "val_loss"]]
