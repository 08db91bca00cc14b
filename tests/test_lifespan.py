"""What a worker does when it starts."""

import asyncio
import gc
import json
import logging
import socket
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi import FastAPI

from shared import lifespan, params
from shared.models import Models


def test_an_open_door_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVICE_TOKEN", raising=False)
    with socket.create_server(("127.0.0.1", 0)):
        lifespan.refuse_open_door()
    with socket.create_server(("0.0.0.0", 0)):
        with pytest.raises(RuntimeError, match="without a token"):
            lifespan.refuse_open_door()
        monkeypatch.setenv("SERVICE_TOKEN", "x")
        lifespan.refuse_open_door()


def test_memory_is_frozen_at_the_start_and_the_deployed_model_is_served_from_the_first_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_OPEN", "1")
    monkeypatch.setenv("MODEL_POINTER", str(tmp_path / "live/current"))
    chain = {"name": "demo", "model_version": "packaged", "bento": "demo:1"}
    params.write_json(tmp_path / "provenance.json", chain)
    deployed = tmp_path / "live/models/v1/provenance.json"
    params.write_json(deployed, chain | {"model_version": "v1"})
    (tmp_path / "live/current").write_text("v1\n")
    app, nothing = FastAPI(), lambda model: {}
    app.state.models = models = Models[Any](tmp_path, lambda folder: folder, nothing, nothing)

    async def live() -> None:
        async with lifespan.lifespan(app):
            assert models.now.chain["model_version"] == "v1"
            while gc.isenabled():  # the collector's task runs at the next turn of the loop
                await anyio.lowlevel.checkpoint()
            assert gc.get_freeze_count() > 0
        while len(asyncio.all_tasks()) > 1:  # its tasks end with it
            await anyio.lowlevel.checkpoint()

    try:
        asyncio.run(live())
    finally:
        gc.enable()
        gc.unfreeze()


def test_what_is_no_http_has_a_line_of_json_and_all_else_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def record(text: str) -> logging.LogRecord:
        return logging.LogRecord("uvicorn.error", logging.WARNING, "", 0, text, (), None)

    assert not lifespan.told_as_json(record("Invalid HTTP request received."))
    line = json.loads(capsys.readouterr().err)
    assert line["status"] == 400 and line["id"] is None
    assert lifespan.told_as_json(record("Started server process"))
    assert capsys.readouterr().err == ""
