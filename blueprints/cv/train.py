"""Stage `train`: data/prepared/ -> models/model.safetensors, model.json, history.csv.

python train.py                                      one process
torchrun --standalone --nproc-per-node 2 train.py    several; on CPUs with ACCELERATE_USE_CPU=true
A killed run goes on after its last whole epoch and ends with the weights of an undisturbed one.
"""

import shutil
from pathlib import Path
from typing import Any, Literal

import checkpoint
import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from dataset import PREPARED, Images, Order, jittered, samples, soft_targets
from frozen import Function, before, split
from model import build, refuse_size, save, turn_numbers
from pretrained import start_weights
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader
from tqdm import tqdm

from shared import memory, objectives, params, tracking

MODELS, CHECKPOINT = Path("models"), Path("checkpoint")
EPOCH = CHECKPOINT / "epoch.safetensors"


class TrainParams(params.Params):
    architecture: str
    weights: Literal["none", "packaged", "torchvision", "file"]
    weights_file: str | None
    frozen_blocks: int
    epochs: int
    patience: int
    batch_size: int
    learning_rate: float
    warmup_share: float
    weight_decay: float
    dropout: float
    soft_labels: bool
    class_weights: Literal["none", "balanced"]
    flips: bool
    turns: bool
    averaged_turns: int
    jitter: float
    precision: Literal["fp32", "bf16", "fp16"]
    threads: int
    seed: int


def averaged_turns(config: TrainParams) -> list[int]:
    """The turns that the finished network averages over."""
    allowed = turn_numbers(config.flips, config.turns)
    if not 1 <= config.averaged_turns <= len(allowed):
        raise SystemExit(
            f"params.yaml: train.averaged_turns: {config.averaged_turns} is not within 1 to "
            f"{len(allowed)}, the turns that train.flips and train.turns allow"
        )
    return allowed[: config.averaged_turns]


def learning_rate(step: int, steps: int, config: TrainParams) -> float:
    """Linear up to the peak during the warm-up, then half a cosine down to zero."""
    warmup = max(1, round(config.warmup_share * steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    angle = np.pi * (step - warmup) / max(1, steps - warmup)
    return config.learning_rate * 0.5 * (1 + float(np.cos(angle)))


def soft_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Mean over the batch of -sum(weight * target * log probability)."""
    return -(weights * targets * logits.float().log_softmax(1)).sum(1).mean()


def class_weights(targets: torch.Tensor, kind: str) -> torch.Tensor:
    """[classes] ones, or for `balanced` the inverse frequency: mean one over the images."""
    share = targets.mean(0)
    return 1 / (share * len(share)) if kind == "balanced" else torch.ones_like(share)


def datasets(
    config: TrainParams, table: pd.DataFrame, targets: np.ndarray
) -> tuple[Images, Images]:
    """What is learned from, turned and jittered, and what is validated on, as it is."""
    learning = (table["split"] == "train").to_numpy()
    if learning.sum() < config.batch_size:
        raise SystemExit(
            f"params.yaml: train.batch_size: {config.batch_size} is more than the "
            f"{learning.sum()} images to learn from; make it smaller"
        )
    turns, jitter = turn_numbers(config.flips, config.turns), jittered(config.jitter)
    return (
        Images(table[learning], targets[learning], turns, jitter),
        Images(table[~learning], targets[~learning], [0], jittered(0)),
    )


@torch.no_grad()
def validate(
    network: Any, before: Function, loader: Any, accelerator: Accelerator, positive: int
) -> dict[str, float]:
    """Loss, accuracy and AUC of the positive class on the validation split, over all processes."""
    network.eval()
    pairs = [
        accelerator.gather_for_metrics((network(before(images)).float(), truth))
        for images, truth in loader
    ]
    logits, targets = (torch.cat(part).cpu() for part in zip(*pairs, strict=True))
    truth, probability = targets.argmax(1), logits.softmax(1)[:, positive]
    return {
        "val_loss": float(soft_cross_entropy(logits, targets, torch.ones(targets.shape[1]))),
        "val_accuracy": float((logits.argmax(1) == truth).float().mean()),
        "val_auc": float(roc_auc_score(truth == positive, probability)),
    }


def best_epoch(history: list[dict[str, float]]) -> int:
    """Index of the epoch with the lowest validation loss."""
    return min(range(len(history)), key=lambda epoch: history[epoch]["val_loss"])


def learn(
    accelerator: Accelerator,
    parts: Any,
    before: Function,
    rates: list[float],
    weights: torch.Tensor,
    title: str,
) -> float:
    """One epoch with a learning rate per batch; gives the mean loss."""
    network, optimizer, loader = parts
    network.train()
    losses = []
    bar = tqdm(loader, desc=title, unit="batch", disable=not accelerator.is_main_process)
    for rate, (batch, truth) in zip(rates, bar, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = soft_cross_entropy(network(before(batch)), truth, weights)
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return float(accelerator.reduce(torch.stack(losses).mean(), "mean"))


def fit(
    config: TrainParams, positive: str, accelerator: Accelerator
) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    """The whole training: gives the weights of the best epoch and one row per epoch."""
    torch.manual_seed(config.seed)
    table, main = samples("train", "validation"), accelerator.is_main_process
    classes = sorted(table["label"].unique())
    targets = soft_targets(table, classes, positive, config.soft_labels)
    network = build(config.architecture, len(classes), config.dropout)
    start_weights(network, config.architecture, config.weights, config.weights_file)
    frozen, learned = split(network, config.frozen_blocks)
    learned.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    mark = checkpoint.fingerprint(config.model_dump(), positive, PREPARED)
    learning, holding = datasets(config, table, targets)
    refuse_size(network, config.architecture, learning.pixels.shape[-1])
    given = before(frozen, learning[0][0][None], accelerator.device)
    optimizer = torch.optim.AdamW(learned.parameters(), weight_decay=config.weight_decay)
    history, best = checkpoint.read(EPOCH, learned, optimizer, mark) or ([], {})
    run_id = tracking.start(objectives.load().name) if main else None
    order = Order(len(learning), config.seed)
    loaders = (
        DataLoader(learning, config.batch_size, sampler=order, drop_last=True),
        DataLoader(holding, config.batch_size),
    )
    *parts, held = accelerator.prepare(learned, optimizer, *loaders)
    steps = config.epochs * len(parts[2])
    rates = [learning_rate(step, steps, config) for step in range(steps)]
    weights = class_weights(learning.targets, config.class_weights).to(accelerator.device)
    for epoch in range(len(history), config.epochs):
        if history and epoch - best_epoch(history) > config.patience:
            break
        order.epoch = epoch
        torch.manual_seed((config.seed + 1) * 100_000 + epoch * 100 + accelerator.process_index)
        rate = rates[epoch * len(parts[2]) :][: len(parts[2])]
        title = f"epoch {epoch + 1}/{config.epochs}"
        loss = learn(accelerator, parts, given, rate, weights, title)
        scores = validate(parts[0], given, held, accelerator, classes.index(positive))
        history.append({"train_loss": loss, **scores})
        if best_epoch(history) == epoch:
            best = {name: value.clone() for name, value in learned.state_dict().items()}
        if main:
            state = {"fingerprint": mark, "history": history}
            checkpoint.write(EPOCH, learned, best, optimizer, state)
            run_id = tracking.epoch(run_id, epoch, history[-1])
    return network.state_dict() | best, pd.DataFrame(history).rename_axis("epoch")


def main() -> None:
    config = params.stage("train", TrainParams)
    turns = averaged_turns(config)
    memory.keep_freed()
    positive = params.load_yaml("params.yaml")["ingest"]["positive"]
    if config.threads:
        torch.set_num_threads(config.threads)
    halves = DataLoaderConfiguration(split_batches=True)  # batch_size counts all processes together
    precision = "no" if config.precision == "fp32" else config.precision
    accelerator = Accelerator(mixed_precision=precision, dataloader_config=halves)
    weights, history = fit(config, positive, accelerator)
    if accelerator.is_main_process:
        shape = np.load(PREPARED / "images.npy", mmap_mode="r").shape
        meta = {
            "architecture": config.architecture,
            "classes": sorted(samples()["label"].unique()),
            "positive": positive,
            "image_size": shape[-1],
            "channels": shape[1],
            "turns": turns,
        }
        save(weights, meta, MODELS)
        history.to_csv(MODELS / "history.csv", float_format="%.6g")
        shutil.rmtree(CHECKPOINT)
        best = best_epoch(history.to_dict("records")) + 1
        print(f"train: best epoch {best} of {len(history)} -> {MODELS}")


if __name__ == "__main__":
    main()
