"""The model: a base language model with a LoRA adapter; build, save, load, merge."""

from pathlib import Path
from typing import Any, Literal

import peft
import torch
from peft import LoraConfig
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from shared import params

MODELS = Path("models")
ADAPTER = MODELS / "adapter"


class TrainParams(params.Params):
    adapter: str | None
    rank: PositiveInt
    alpha: PositiveFloat
    lora_dropout: float = Field(ge=0, lt=1)
    targets: str | list[str]
    epochs: PositiveInt
    patience: PositiveInt
    batch_size: PositiveInt
    accumulate: PositiveInt
    learning_rate: PositiveFloat
    warmup_share: float = Field(ge=0, lt=1)
    weight_decay: NonNegativeFloat
    precision: Literal["auto", "fp32", "bf16"]
    threads: NonNegativeInt
    seed: int


def dtype(precision: str) -> torch.dtype:
    """bf16 where it is asked for, or where `auto` finds a processor that has it; else fp32."""
    if precision == "auto":
        fast = torch.cuda.is_available() or has_bf16()
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def has_bf16() -> bool:
    """Does this processor multiply bf16 itself? Where it is emulated, it is slower than fp32."""
    capable = torch.cpu.get_capabilities()
    return bool(capable.get("avx512_bf16") or capable.get("amx_bf16") or capable.get("bf16"))


def with_adapter(base: Any, config: TrainParams) -> Any:
    """The base model with an adapter, which alone will learn; a fresh one begins as no change."""
    torch.manual_seed(config.seed)
    head = base.get_output_embeddings()  # of a slice, it would copy its weights for each row
    head.register_forward_pre_hook(lambda _, given: (given[0].contiguous(),))
    if config.adapter:
        return peft.PeftModel.from_pretrained(base, config.adapter, is_trainable=True)
    lora = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.lora_dropout,
        target_modules=config.targets,
        task_type="CAUSAL_LM",
    )
    return peft.get_peft_model(base, lora)


def save(model: Any, folder: Path = ADAPTER) -> None:
    """The adapter alone, as safetensors; the same bytes for the same weights, on any machine."""
    model.save_pretrained(folder, safe_serialization=True)
    settings = params.read_json(folder / "adapter_config.json")
    settings["base_model_name_or_path"] = None  # peft writes it itself
    if isinstance(settings["target_modules"], list):  # a set of peft: each process orders it anew
        settings["target_modules"].sort()
    params.write_json(folder / "adapter_config.json", settings)
    (folder / "README.md").unlink(missing_ok=True)  # a card of empty headings


def tuned(base: Any, folder: Path = ADAPTER) -> Any:
    """The base model with the trained adapter."""
    return peft.PeftModel.from_pretrained(base, folder).eval()


def merged(base: Any, folder: Path = ADAPTER) -> Any:
    """The base model in fp32 with the adapter added to its weights; never a quantised base."""
    if next(base.parameters()).dtype != torch.float32:
        raise ValueError("an adapter is merged into fp32 weights only")
    return tuned(base, folder).merge_and_unload()
