"""A packaged service around the small model, asked behind its guard, and what it has logged."""

import asyncio
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from shared import guards, params, serving

FOLDER = Path(__file__).parents[2] / "blueprints/genai"
LOSS = {"theft": True, "media": [{"place": "Laptop"}], "people": None}
RECORD: dict[str, Any] = {"holder": {"name": "a", "state": "CA"}, "loss": LOSS}


@pytest.fixture
def packaged(masked_export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A packaged service whose model was trained on masked texts; it logs what it is asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERVICE_LOG_INPUTS", "true")
    for name in ("service.py", "params.yaml", "requirements-serve.txt"):
        shutil.copy(FOLDER / name, tmp_path)
    chain = {"name": "incident-records", "model_version": "small", "bento": "none"}
    params.write_json(tmp_path / "provenance.json", chain)
    shutil.copytree(masked_export, tmp_path / "export")
    return tmp_path


def post(module: ModuleType, path: str, question: Any) -> httpx.Response:
    """The answer to a question behind the guard."""

    async def send() -> httpx.Response:
        guarded = guards.Guard(module.app, **serving.guard(module.app, module.CONFIG, set()))
        transport = httpx.ASGITransport(guarded)
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            return await client.post(path, json=question, timeout=60)

    return asyncio.run(send())


def asked(module: ModuleType, **question: Any) -> str:
    return post(module, "/extract", question).raise_for_status().text


def events(text: str) -> list[dict[str, Any]]:
    """What a stream of chat completions has sent, but its end mark."""
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def logged(folder: Path) -> list[dict[str, Any]]:
    parts = sorted((folder / "logs").glob("requests-*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]
