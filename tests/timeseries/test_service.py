"""Answers by id are kept, and only as long as they are true."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import forecaster
import httpx
import pandas as pd
import pytest
import store
from copied import service

from shared import guards, serving
from shared.direct import Direct

pytestmark = pytest.mark.pipeline


@pytest.fixture
def served(tourism: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = tmp_path / "app"
    shutil.copytree(tourism, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return service(folder)


def asked(module: Any, *questions: dict[str, Any]) -> list[dict[str, Any]]:
    """Answers to the questions, one after the other; and each is logged."""

    async def send() -> list[dict[str, Any]]:
        guarded = guards.Guard(
            Direct(module.app, module.app), **serving.guard(module.app, module.CONFIG, set())
        )
        transport = httpx.ASGITransport(guarded)
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            found = [await client.post("/forecast", json=question) for question in questions]
        return [one.raise_for_status().json() for one in found]

    return asyncio.run(send())


def test_the_same_question_is_answered_once_until_the_store_changes(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, computed, answer = served.MODELS.now.predictor, [], served.answer
    monkeypatch.setattr(served, "answer", lambda *given: computed.append(1) or answer(*given))
    question = {"series_id": predictor.meta["series"][0]}
    first, again, shorter = asked(served, question, question, question | {"horizon": 2})
    assert len(computed) == 2 and len(shorter["mean"]) == 2
    assert first["mean"] == again["mean"] and first["request_id"] != again["request_id"]

    table = pd.read_parquet("data/prepared/features.parquet")
    rows = table[table["series_id"] == question["series_id"]]
    earlier = rows[rows["event_timestamp"] == pd.Timestamp(predictor.meta["ends"][0], tz="UTC")]
    store.reading(Path("export/store")).write_to_online_store(store.VIEW, earlier)
    (changed,) = asked(served, question)
    assert changed["last_observation"] == predictor.meta["ends"][0][:10] + "T00:00:00"
    assert changed["last_observation"] < first["last_observation"]
    lines = Path(served.CONFIG.log_folder).glob("requests-*.jsonl")
    assert sum(len(part.read_text().splitlines()) for part in lines) == 4, "kept answers are logged"


def test_histories_are_not_kept_and_what_is_kept_is_bounded(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = served.MODELS.now.predictor
    times = pd.date_range("2015-01-01", periods=48, freq="MS").strftime("%Y-%m-%d")
    history = {"timestamps": list(times), "values": [float(i) for i in range(48)]}
    asked(served, {"history": history})
    assert not predictor.kept
    monkeypatch.setattr(forecaster, "MOST_KEPT", 3)
    asked(served, *({"series_id": name} for name in predictor.meta["series"][:5]))
    assert len(predictor.kept) == 2
    predictor.keep(b"x" * 2000, 0, ({}, {}))
    assert len(predictor.kept) == 2, "no long question is kept"
