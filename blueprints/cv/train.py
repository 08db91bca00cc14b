"""Stage `train`: data/prepared/ -> models/model.safetensors, model.json, history.csv.

One process: python train.py. Several processes or GPUs: accelerate launch --num_processes 2 train.py
A killed run goes on after its last whole epoch and ends with the same weights as an undisturbed one.
"""

from pathlib import Path
from typing import Any, Literal

import checkpoint
import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from dataset import PREPARED, Images, Order, augmentation, samples, soft_targets
from model import build, freeze, normalise, save, start_weights
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader
from tqdm import tqdm

from shared import objectives, params, tracking

MODELS, CHECKPOINT = Path("models"), Path("checkpoint/epoch.safetensors")


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
    jitter: float
    precision: Literal["no", "bf16", "fp16"]
    threads: int
    seed: int


def learning_rate(step: int, steps: int, config: TrainParams) -> float:
    """Linear up to the peak during the warm-up, then half a cosine down to zero."""
    warmup = max(1, round(config.warmup_share * steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    return config.learning_rate * 0.5 * (1 + float(np.cos(np.pi * (step - warmup) / max(1, steps - warmup))))


def soft_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean over the batch of -sum(weight * target * log probability)."""
    return -(weights * targets * logits.float().log_softmax(1)).sum(1).mean()


def channels_last(images: torch.Tensor) -> torch.Tensor:
    """Normalised images in the memory layout of the network: a third faster on CPUs."""
    return normalise(images).contiguous(memory_format=torch.channels_last)


def balanced(targets: torch.Tensor) -> torch.Tensor:
    """[classes] inverse frequency, mean one over the images."""
    share = targets.mean(0)
    return 1 / (share * len(share))


@torch.no_grad()
def validate(network: Any, loader: Any, accelerator: Accelerator, positive: int) -> dict[str, float]:
    """Loss, accuracy and AUC of the positive class on the validation split, over all processes."""
    network.eval()
    pairs = [
        accelerator.gather_for_metrics((network(channels_last(images)).float(), truth)) for images, truth in loader
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


def fit(config: TrainParams, positive: str, accelerator: Accelerator) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    """The whole training: gives the weights of the best epoch and one row per epoch."""
    torch.manual_seed(config.seed)
    table = samples("train", "validation")
    classes = sorted(table["label"].unique())
    targets = soft_targets(table, classes, positive, config.soft_labels)
    network = build(config.architecture, len(classes), config.dropout)
    network = start_weights(network, config.architecture, config.weights, config.weights_file)
    frozen = freeze(network, config.frozen_blocks)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learned = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(learned, weight_decay=config.weight_decay)
    learn, hold = ((table["split"] == name).to_numpy() for name in ("train", "validation"))
    order = Order(int(learn.sum()), config.seed)
    images = Images(table[learn], targets[learn], augmentation(config.flips, config.turns, config.jitter))
    loader = DataLoader(images, config.batch_size, sampler=order, drop_last=True)
    holding = DataLoader(Images(table[hold], targets[hold]), config.batch_size)
    weights = balanced(images.targets) if config.class_weights == "balanced" else torch.ones(len(classes))
    mark = checkpoint.fingerprint(config.model_dump_json(), PREPARED / "samples.csv", PREPARED / "images.npy")
    history, best = checkpoint.read(CHECKPOINT, network, optimizer, mark) or ([], {})
    run_id = tracking.start(objectives.load().name) if accelerator.is_main_process else None
    prepared = accelerator.prepare(network, optimizer, loader, holding)
    weights = weights.to(accelerator.device)
    steps = config.epochs * len(prepared[2])
    for epoch in range(len(history), config.epochs):
        if history and epoch - best_epoch(history) > config.patience:
            break
        order.epoch = epoch
        torch.manual_seed((config.seed + 1) * 100_000 + epoch * 100 + accelerator.process_index)
        prepared[0].train()
        for module in frozen:
            module.eval()
        losses = []
        bar = tqdm(
            prepared[2],
            desc=f"epoch {epoch + 1}/{config.epochs}",
            disable=not accelerator.is_main_process,
        )
        for step, (pixels, truth) in enumerate(bar, epoch * len(prepared[2])):
            for group in prepared[1].param_groups:
                group["lr"] = learning_rate(step, steps, config)
            loss = soft_cross_entropy(prepared[0](channels_last(pixels)), truth, weights)
            accelerator.backward(loss)
            prepared[1].step()
            prepared[1].zero_grad()
            losses.append(loss.detach())
        mean = float(accelerator.reduce(torch.stack(losses).mean(), "mean"))
        history.append(
            {
                "train_loss": mean,
                **validate(prepared[0], prepared[3], accelerator, classes.index(positive)),
            }
        )
        if best_epoch(history) == epoch:
            best = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
        if accelerator.is_main_process:
            checkpoint.write(CHECKPOINT, network, best, optimizer, {"fingerprint": mark, "history": history})
            run_id = tracking.epoch(run_id, epoch, history[-1])
    return best, pd.DataFrame(history).rename_axis("epoch")


def main() -> None:
    config = params.read("train", TrainParams)
    positive = params.load_yaml("params.yaml")["ingest"]["positive"]
    if config.threads:
        torch.set_num_threads(config.threads)
    split = DataLoaderConfiguration(split_batches=True)  # batch_size stays what it says with several processes
    accelerator = Accelerator(mixed_precision=config.precision, dataloader_config=split)
    weights, history = fit(config, positive, accelerator)
    if accelerator.is_main_process:
        table = samples()
        meta = {
            "architecture": config.architecture,
            "classes": sorted(table["label"].unique()),
            "positive": positive,
        }
        save(
            weights,
            meta | {"image_size": int(np.load(PREPARED / "images.npy", mmap_mode="r").shape[-1])},
            MODELS,
        )
        history.to_csv(MODELS / "history.csv", float_format="%.6g")
        CHECKPOINT.unlink(missing_ok=True)
        print(f"train: best epoch {best_epoch(history.to_dict('records')) + 1} of {len(history)} -> {MODELS}")


if __name__ == "__main__":
    main()
