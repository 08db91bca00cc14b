"""Read a section of `params.yaml` into a typed, frozen model; write results that no kill tears."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

Model = TypeVar("Model", bound=BaseModel)
LOCKS = Path(".locks")
_held: list[Any] = []  # a lock that nobody refers to would be let go


class Params(BaseModel):
    """A section of params.yaml: immutable, finite numbers, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def read(
    section: str, model: type[Model], path: str | Path = "params.yaml", prefix: str | None = None
) -> Model:
    """The section of `path`, checked against `model`.

    prefix: of environment variables that come before the file, SERVICE_LOG_FOLDER for log_folder.
    Raises SystemExit with one line per mistake, each naming file, key and what was expected.
    """
    values = load_yaml(path)
    if section not in values:
        raise SystemExit(f"{path}: section '{section}' is missing")
    given = {name: os.environ.get(f"{prefix}{name.upper()}") for name in model.model_fields}
    own = {name: yaml.safe_load(text) for name, text in given.items() if prefix and text}
    try:
        return model.model_validate(values[section] | own)
    except ValidationError as error:
        raise SystemExit("\n".join(explain(error, f"{path}: {section}"))) from None


def stage(name: str, model: type[Model]) -> Model:
    """The parameters of stage `name`, whose files then belong to this process until it ends.

    A killed `dvc repro` may leave a stage running; the next one waits here until it is gone, so
    that two processes never write the same files.
    """
    from filelock import FileLock, Timeout  # services import this module and need no locks

    config = read(name, model)
    lock = FileLock(f"{LOCKS}/{name}")
    if os.environ.get("RANK", "0") == "0":  # one of several training processes holds it for all
        LOCKS.mkdir(exist_ok=True)
        try:
            lock.acquire(timeout=0.2)
        except Timeout:
            print(f"{name}: waits for a process that still runs this stage", file=sys.stderr)
            lock.acquire()
        _held.append(lock)
    return config


def address(text: str) -> str:
    """A type of argparse's."""
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} does not begin with http:// or https://")
    return text


def load_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; SystemExit names the file and line if it is not one."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SystemExit(f"{path}: not found; run from the blueprint's folder") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise SystemExit(f"{path}: expected a mapping of sections")
    return values


def explain(error: ValidationError, where: str) -> Iterator[str]:
    """One line per mistake: where, dotted key, what is wrong, what was given."""
    for mistake in error.errors(include_url=False, include_context=False):
        key = ".".join(str(part) for part in mistake["loc"])
        silent = mistake["type"] == "missing" or isinstance(mistake["input"], dict)
        given = "" if silent else f" (given: {mistake['input']!r:.80})"
        text = "unknown key" if mistake["type"] == "extra_forbidden" else mistake["msg"]
        yield f"{where}{'.' * bool(key)}{key}: {text}{given}"


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: str | Path, values: Any, exact: bool = False) -> None:
    """Write JSON whole or not at all; NaN and infinity are refused, floats keep six digits.

    exact: floats keep all digits, for what a user wrote.
    """
    written = values if exact else _rounded(values)
    text = json.dumps(written, indent=2, allow_nan=False, ensure_ascii=False)
    with atomic(path) as draft:
        draft.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """The content of a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'test': {'auc': 0.9}} -> {'test.auc': 0.9}; lists are kept as they are."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _rounded(values: Any) -> Any:
    if isinstance(values, dict):
        return {str(key): _rounded(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_rounded(value) for value in values]
    if isinstance(values, float):
        return float(f"{values:.6g}")
    return values
