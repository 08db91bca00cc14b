"""Stage `train`: LoRA on the base model with transformers' Trainer -> models/adapter/, history.csv.

    python train.py                 a killed run goes on after its last epoch
    accelerate launch train.py      several processes or GPUs

Only the answers are learnt; the prompt's tokens give no loss.
"""

import shutil
from pathlib import Path
from typing import Any

import base
import checkpoint
import model
import pandas as pd
import torch
from model import MODELS, TrainParams
from peft.helpers import disable_input_dtype_casting
from recorder import Recorder, history
from transformers import EarlyStoppingCallback, Trainer, TrainingArguments

from shared import params

PREPARED = Path("data/prepared")
IGNORED = -100  # of labels, by the loss of transformers
SHORT = 512  # tokens


class Examples(torch.utils.data.Dataset):
    """Prompts and answers of one split."""

    def __init__(self, split: str) -> None:
        table = pd.read_parquet(PREPARED / "examples.parquet")
        rows = table[table["split"] == split]
        self.pairs = list(zip(rows["prompt"], rows["answer"], strict=True))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int) -> dict[str, Any]:
        prompt, answer = self.pairs[i]
        return {"input_ids": [*prompt.tolist(), *answer.tolist()], "answer": answer.tolist()}


def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch that ends with the answers, so that logits of the last tokens are all that is needed.

    input_ids, attention_mask: [rows, longest]; labels: [rows, longest answer + 1].
    """
    widest = max(len(row["input_ids"]) for row in rows)
    last = max(len(row["answer"]) for row in rows) + 1  # the token before says the first
    ids = torch.zeros((len(rows), widest), dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full((len(rows), last), IGNORED)
    for i, row in enumerate(rows):
        ids[i, widest - len(row["input_ids"]) :] = torch.tensor(row["input_ids"])
        mask[i, widest - len(row["input_ids"]) :] = 1
        labels[i, last - len(row["answer"]) :] = torch.tensor(row["answer"])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "logits_to_keep": last}


def attention(examples: Examples) -> str:
    """Eager is quicker for short texts, but its memory grows with the square of the length."""
    longest = max(len(prompt) + len(answer) for prompt, answer in examples.pairs)
    return "eager" if longest <= SHORT else "sdpa"


def arguments(config: TrainParams, folder: Path, number: int) -> TrainingArguments:
    """The Trainer's settings; a step takes `accumulate` batches of each process."""
    found = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulate,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        weight_decay=config.weight_decay,
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        restore_callback_states_from_checkpoint=True,  # how much of `patience` is used up
        metric_for_best_model="eval_loss",
        use_cpu=not torch.cuda.is_available(),
        bf16=model.dtype(config.precision) == torch.bfloat16,
        dataloader_pin_memory=torch.cuda.is_available(),
        report_to="none",
        disable_tqdm=False,
        seed=config.seed,
    )
    at_once = found.train_batch_size * found.gradient_accumulation_steps * found.world_size
    steps = -(-number // at_once) * config.epochs
    found.warmup_steps = int(config.warmup_share * steps)  # a share would be rounded up
    return found


def main() -> None:
    config = params.stage("train", TrainParams)
    place = base.folder(params.read("model", base.ModelParams))
    torch.set_num_threads(config.threads or torch.get_num_threads())
    folder = checkpoint.folder(config, place, PREPARED / "examples.parquet")
    examples = {name: Examples(name) for name in ("train", "validation")}
    start = base.load(place, model.dtype(config.precision), attention(examples["train"]))
    network = model.with_adapter(start, config)
    trainer = Trainer(
        network,
        arguments(config, folder, len(examples["train"])),
        data_collator=collate,
        train_dataset=examples["train"],
        eval_dataset=examples["validation"],
        callbacks=[Recorder(), EarlyStoppingCallback(config.patience)],
    )
    with disable_input_dtype_casting(network):  # autocast does it, with fewer copies
        trainer.train(resume_from_checkpoint=checkpoint.newest(folder))
    if trainer.is_world_process_zero():
        shutil.rmtree(MODELS, ignore_errors=True)
        model.save(trainer.model)
        losses = history(trainer.state.log_history)
        losses.to_csv(MODELS / "history.csv", index=False)
        shutil.rmtree(checkpoint.CHECKPOINT)
        best = losses.loc[losses["val_loss"].idxmin()]
        print(f"train: epoch {best['epoch']:g}, validation loss {best['val_loss']:.4f} -> {MODELS}")


if __name__ == "__main__":
    main()
