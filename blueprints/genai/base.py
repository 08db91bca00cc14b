"""The base model and its tokenizer: packaged, a local folder, or from the hub where that is wished.

The packaged one is a GGUF; it is converted once to safetensors in `.base`, which nothing tracks.
"""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import jinja2
import torch
from filelock import FileLock
from sources import package_file
from transformers import AutoModelForCausalLM, AutoTokenizer, logging

from shared import params

CACHE = Path(".base")


class ModelParams(params.Params):
    base: str
    hub: bool


def folder(config: ModelParams) -> Path:
    """Where the base model lies in Hugging Face's layout: config, safetensors, tokenizer."""
    given = Path(config.base).expanduser()
    if config.base != "packaged" and (given / "config.json").is_file():
        return given
    place = CACHE / re.sub(r"[^\w.-]", "-", config.base)
    if config.base != "packaged" and not config.hub:
        raise SystemExit(
            f"params.yaml: model.base: {config.base} is neither `packaged` nor a folder with a "
            "config.json; a name on the hub needs `model.hub: true`"
        )
    CACHE.mkdir(exist_ok=True)
    with FileLock(f"{CACHE}/lock"):  # several training processes start at once
        if not place.exists():
            draft = place.with_name(f"{place.name}.draft")
            shutil.rmtree(draft, ignore_errors=True)
            make = convert if config.base == "packaged" else lambda path: fetch(config.base, path)
            make(draft)
            draft.rename(place)
    return place


def convert(place: Path, card: Path = Path("sample")) -> None:
    """The packaged GGUF as safetensors in fp32: reading it takes half a second then, not 25."""
    file = package_file(card, "model")
    names: Any = {"gguf_file": file.name}
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **names)
    model = AutoModelForCausalLM.from_pretrained(file.parent, **names)
    del model.config.quantization_config  # its weights are floats now; saving would refuse
    model.hf_quantizer, model.config._name_or_path = None, "packaged"
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)


def fetch(name: str, place: Path) -> None:
    """A model of the hub; only safetensors, never a pickle."""
    os.environ["HF_HUB_OFFLINE"] = "0"
    import huggingface_hub
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = False
    patterns = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
    huggingface_hub.snapshot_download(name, local_dir=place, allow_patterns=patterns)


def tokenizer(place: Path) -> Any:
    """The tokenizer of a base model; refuses one in which no record can be asked for or begun."""
    logging.set_verbosity_error()
    found = AutoTokenizer.from_pretrained(place)
    if reason := unfit(found):
        raise SystemExit(f"params.yaml: model.base: {place} {reason}; use another base model")
    return found


def unfit(tokenizer: Any) -> str | None:
    """Why records cannot be learnt and decoded with a tokenizer, or None."""
    if not tokenizer.chat_template:
        return "has no chat template"
    turns = [{"role": role, "content": "x"} for role in ("system", "user")]
    try:
        tokenizer.apply_chat_template(turns, tokenize=False)
    except jinja2.TemplateError as error:
        return f"has a chat template that takes no system message ({error})"
    first, *_ = tokenizer.tokenize("{", add_special_tokens=False)
    if first != "{":
        return f"has a tokenizer that begins a piece with a space ({first!r}); a record has none"
    return None


def load(place: Path, dtype: torch.dtype = torch.float32, attention: str = "sdpa") -> Any:
    """The causal language model in a folder, for evaluation."""
    logging.set_verbosity_error()
    options: Any = {"dtype": dtype, "attn_implementation": attention, "use_safetensors": True}
    return AutoModelForCausalLM.from_pretrained(place, **options).eval()
