"""The forecast service: POST /forecast, POST /feedback, GET /info; BentoML around predictor.py.

bentoml serve service:DemandForecast        then open http://127.0.0.1:3000
curl -H 'content-type: application/json' -d '{"series_id": "M1"}' http://127.0.0.1:3000/forecast
"""

from pathlib import Path
from typing import Any

import bentoml
import features
import monitor
import numpy as np
import requested
from fastapi import Request, Response
from forecaster import Forecaster, Made
from predictor import Known
from pydantic import Field
from requested import Question

from shared import params, serving
from shared.guards import BadInput
from shared.models import Models

FOLDER = Path(__file__).parent


class ServiceParams(serving.ServiceParams):
    max_history: int = Field(ge=1)


def interface(predictor: Forecaster) -> dict[str, Any]:
    """What clients rely on."""
    names = ["frequency", "season_length", "timezone", "horizon", "levels", "covariates"]
    return {name: predictor.meta[name] for name in names}


def example(predictor: Forecaster) -> dict[str, Any]:
    """What a model answers to its own example, before it is served."""
    return answer(predictor, Question(**requested.example(predictor.meta)))[0]


CONFIG = params.read("service", ServiceParams, FOLDER / "params.yaml", prefix="SERVICE_")
MODELS = Models(FOLDER, Forecaster, interface, example)
# By timestamp of the forecast, or in their order; what has not come yet is left out.
TRUTH = dict[str, float] | list[float]
app = serving.application("demand-forecast", CONFIG, MODELS, TRUTH)


@app.post("/forecast", openapi_extra=serving.body(requested.described(MODELS.now.predictor.meta)))
async def forecast(request: Request) -> Response:
    """Mean and intervals of the steps to come, for a trained series or for a history."""
    loaded, body = MODELS.now, await request.body()
    predictor = loaded.predictor
    version = predictor.store.version()
    if (made := predictor.made(body, version)) is None:
        question = await serving.read(request, Question)
        made = await serving.in_pool(request, answer, predictor, question)
        if question.series_id is not None:
            predictor.keep(body, version, made)
    content, record = made
    serving.keep(request, loaded, record)
    return serving.answer(request, loaded, content)


def answer(predictor: Forecaster, question: Question) -> Made:
    """What is answered, and what the request log keeps of it."""
    meta = predictor.meta
    horizon, levels = requested.limits(question, meta)
    covariates = requested.covariates(question, meta, horizon)
    if question.series_id is not None:
        known = by_id(predictor, question.series_id)
    else:
        known = by_history(predictor, question)
    (found,) = predictor.forecast(known, horizon, levels, covariates)
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
    record = content | {"method": found.model} | monitor.features(*moment)
    del record["model"]  # is the version in the log
    record |= {"scale": scale(predictor, question)}
    record |= {"covariates": question.covariates} if question.covariates else {}
    if CONFIG.log_inputs and question.history is not None:
        record |= {"history": question.history.values}
    return content, record


def scale(predictor: Forecaster, question: Question) -> float:
    """The unit of scaled errors: of a trained series as the test has it."""
    if question.history is not None:
        values = np.array(question.history.values, float)
        return features.naive_error(values, predictor.meta["season_length"])
    return float(predictor.meta["scales"][predictor.index[question.series_id]])


def by_id(predictor: Forecaster, series_id: str) -> Known:
    """A trained series with its newest features from the online store."""
    rows = predictor.store.newest([series_id]) if series_id in predictor.index else []
    if not rows:
        raise BadInput("series_id", f"{series_id[:80]!r} is unknown; send its history instead", 404)
    return predictor.known(rows)


def by_history(predictor: Forecaster, question: Question) -> Known:
    assert question.history is not None
    times, values = requested.history(question.history, predictor.meta, CONFIG.max_history)
    return predictor.of_history(np.array(values, float), times[-1])


@bentoml.service(name="demand-forecast", image=serving.image(), **serving.settings(CONFIG))
@bentoml.asgi_app(app, path="/")
class DemandForecast:
    """Mounts the app above; health checks and the Swagger page are BentoML's."""


serving.protect(DemandForecast, app, CONFIG)
