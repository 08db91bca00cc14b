"""What is logged and what another server is sent: never more than training saw."""

import asyncio
import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import upstream
from predictor import Piece

from shared import guards, params, serving

FOLDER = Path(upstream.__file__).parent
PERSONAL = "Write to jane@example.org, since a laptop was stolen."
HIDDEN = "Write to [email], since a laptop was stolen."
LOSS = {"theft": True, "media": [{"place": "Laptop"}], "people": None}
RECORD = {"holder": {"name": "a", "state": "CA"}, "loss": LOSS}


@pytest.fixture
def folder(masked_export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A packaged service whose model was trained on masked texts; it logs what it is asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERVICE_LOG_INPUTS", "true")
    for name in ("service.py", "params.yaml", "requirements-serve.txt"):
        shutil.copy(FOLDER / name, tmp_path)
    chain = {"name": "incident-records", "model_version": "small", "bento": "none"}
    params.write_json(tmp_path / "provenance.json", chain)
    shutil.copytree(masked_export, tmp_path / "export")
    return tmp_path


def service(folder: Path) -> ModuleType:
    """service.py of a folder, which loads the model there; logs go below the working directory."""
    given = importlib.util.spec_from_file_location("service_of_a_copy", folder / "service.py")
    assert given and given.loader
    module = importlib.util.module_from_spec(given)
    given.loader.exec_module(module)
    return module


def asked(module: ModuleType, **question: Any) -> str:
    """The answer to a question behind the guard."""

    async def send() -> str:
        guarded = guards.Guard(module.app, **serving.guard(module.app, module.CONFIG, set()))
        transport = httpx.ASGITransport(guarded)
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            found = await client.post("/extract", json=question, timeout=60)
        return found.raise_for_status().text

    return asyncio.run(send())


def logged(folder: Path) -> list[dict[str, Any]]:
    (part,) = (folder / "logs").glob("requests-*.jsonl")
    return [json.loads(line) for line in part.read_text().splitlines()]


def test_what_is_logged_is_masked_as_in_training(folder: Path) -> None:
    module = service(folder)
    assert json.loads(asked(module, text=PERSONAL))["ai_generated"]
    assert "event: record" in asked(module, text=PERSONAL, stream=True)
    assert [row["text"] for row in logged(folder)] == [HIDDEN, HIDDEN]


def test_what_is_sent_to_another_server_is_masked_as_in_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_UPSTREAM", "http://gpu:8000/v1")
    seen: list[str] = []

    def generate(server: Any, instruction: str, text: str, *_: Any) -> Iterator[Piece]:
        seen.append(text)
        yield Piece(json.dumps(RECORD), 1, 0.1)

    monkeypatch.setattr(upstream.Server, "generate", generate)
    assert json.loads(asked(service(folder), text=PERSONAL))["record"] == RECORD
    assert seen == [HIDDEN] and logged(folder)[0]["text"] == HIDDEN
