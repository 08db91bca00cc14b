"""The forecast service: POST /forecast, POST /feedback, GET /info; BentoML around predictor.py.

bentoml serve service:DemandForecast        then open http://127.0.0.1:3000
curl -H 'content-type: application/json' -d '{"series_id": "M1"}' http://127.0.0.1:3000/forecast
"""

import os
from pathlib import Path
from typing import Any

import bentoml
import monitor
import numpy as np
import pandas as pd
import requested
import store
from fastapi import Request
from fastapi.responses import JSONResponse
from predictor import Known, Predictor
from pydantic import Field
from requested import Question

from shared import guards, params, provenance, serving
from shared.guards import BadInput

FOLDER = Path(__file__).parent


class ServiceParams(serving.ServiceParams):
    max_history: int = Field(ge=1)


CONFIG = params.read("service", ServiceParams, FOLDER / "params.yaml")
PREDICTOR = Predictor(FOLDER / "export")
CHAIN = provenance.packaged(FOLDER)
# Another online store (Redis, PostgreSQL) is a folder with its own feature_store.yaml.
STORE = store.reading(Path(os.environ.get("FEATURE_STORE", FOLDER / "export/store")))

app = serving.application("demand-forecast", CONFIG, CHAIN, truth=list[float])
EXAMPLE = requested.example(PREDICTOR.meta)


@app.post("/forecast", openapi_extra=serving.body(Question))
async def forecast(request: Request) -> JSONResponse:
    """Mean and intervals of the steps to come, for a trained series or for a history."""
    question = await serving.read(request, Question)
    content, record = await serving.in_pool(answer, question)
    app.state.log.write({"id": request.state.request_id, "model": CHAIN["model_version"], **record})
    return serving.answer(request, CHAIN, content)


def answer(question: Question) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is answered, and what the request log keeps of it."""
    meta = PREDICTOR.meta
    horizon, levels = requested.limits(question, meta)
    covariates = requested.covariates(question, meta, horizon)
    known = by_id(question.series_id) if question.series_id is not None else by_history(question)
    (found,) = PREDICTOR.forecast(known, horizon, levels, covariates)
    content = {
        "series_id": question.series_id,
        "model": found.model,
        "last_observation": known.last[0].isoformat(),
        "timestamps": found.timestamps,
        "mean": found.mean.tolist(),
        "intervals": {
            level: {"lower": lower.tolist(), "upper": upper.tolist()}
            for level, (lower, upper) in found.intervals.items()
        },
    }
    season = known.recent[0, : meta["season_length"]]
    before = known.recent[0, meta["season_length"] : 2 * meta["season_length"]]
    moment = (float(season.mean()), float((season - before).mean()), float(season.std()))
    record = content | monitor.features(*moment)
    if CONFIG.log_inputs and question.history is not None:
        record |= {"history": question.history.values}
    return content, record


def by_id(series_id: str) -> Known:
    """A trained series with its newest features from the online store."""
    rows = store.newest(STORE, [series_id]) if series_id in PREDICTOR.index else []
    if not rows:
        raise BadInput("series_id", f"{series_id[:80]!r} is unknown; send its history instead", 404)
    return PREDICTOR.known(rows)


def by_history(question: Question) -> Known:
    assert question.history is not None
    times, values = requested.history(question.history, PREDICTOR.meta, CONFIG.max_history)
    return PREDICTOR.of_history(np.array(values, float), pd.Timestamp(times[-1]))


@bentoml.service(name="demand-forecast", image=serving.image(), **serving.settings(CONFIG))
@bentoml.asgi_app(app, path="/")
class DemandForecast:
    """Mounts the app above; health checks, /metrics and the Swagger page are BentoML's."""


DemandForecast.add_asgi_middleware(guards.Guard, **serving.guard(CONFIG, set()))
