"""The dispatch service: POST /act, /simulate, /feedback, GET /info; BentoML around predictor.py.

bentoml serve service:BatteryDispatch        then open http://127.0.0.1:3000
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import backtest
import bentoml
import numpy as np
import requested
from fastapi import Request
from fastapi.responses import JSONResponse
from predictor import Predictor
from pydantic import PositiveFloat, PositiveInt
from requested import Episode

from shared import guards, params, provenance, serving
from shared.guards import BadInput

FOLDER = Path(__file__).parent


class ServiceParams(serving.ServiceParams):
    max_steps: PositiveInt
    max_age_steps: PositiveFloat | None
    unfamiliar_fallback: bool
    safe_action: int | float | list[float]


CONFIG = params.read("service", ServiceParams, FOLDER / "params.yaml")
PREDICTOR = Predictor(FOLDER / "export")
CHAIN = provenance.packaged(FOLDER)
QUESTION = requested.question(PREDICTOR.meta)

app = serving.application("battery-dispatch", CONFIG, CHAIN, truth=float)


@app.post("/act", openapi_extra=serving.body(QUESTION))
async def act(request: Request) -> JSONResponse:
    """What to do in the step that begins; feasible whatever is asked, with the guards that acted.

    The truth for /feedback is the price or reward that the step had in the end.
    """
    question: Any = await serving.read(request, QUESTION)
    content, record = trade(question) if PREDICTOR.trades else play(question)
    app.state.log.write({"id": request.state.request_id, "model": CHAIN["model_version"], **record})
    return serving.answer(request, CHAIN, content)


def trade(question: requested.Situation) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a battery is told, and what the request log keeps of it."""
    now = datetime.now(UTC)
    moment = requested.moment(question, PREDICTOR.meta, now)
    stale = is_stale(now - moment.time)
    found = PREDICTOR.decide(moment, stale, CONFIG.unfamiliar_fallback)
    content = {
        "power_mw": found.power,
        "charge_after_mwh": found.charge,
        "source": found.source,
        "guards": found.guards,
        "timestamp": moment.time.isoformat(),
    }
    price = None if np.isnan(moment.prices[-1]) else float(moment.prices[-1])
    record = content | {"share": found.share, "price": price, "charge": question.charge_mwh}
    if CONFIG.log_inputs:
        record |= {"prices": question.prices}
    return content, record


def is_stale(age: timedelta) -> bool:
    """Older than `max_age_steps`, or a step ahead of our clock."""
    if CONFIG.max_age_steps is None:
        return False
    step = timedelta(days=1) / PREDICTOR.meta["day"]
    return age > CONFIG.max_age_steps * step or age < -step


def play(question: requested.Observation) -> tuple[dict[str, Any], dict[str, Any]]:
    """An action for an environment without prices, and what the log keeps of it."""
    given, wanted = question.observation, PREDICTOR.meta["columns"]
    if len(given) != wanted:
        raise BadInput("observation", f"has {len(given)} numbers; {wanted} are needed")
    played = PREDICTOR.play(requested.array(given), CONFIG.safe_action, CONFIG.unfamiliar_fallback)
    content = {"action": played.action, "source": played.source, "guards": played.guards}
    return content, content | ({"observation": given} if CONFIG.log_inputs else {})


@app.post("/simulate", openapi_extra=serving.body(Episode))
async def simulate(request: Request) -> JSONResponse:
    """What the policy would have done with given prices: a row per step after the first week."""
    asked = await serving.read(request, Episode)
    prices, start = requested.episode(asked, PREDICTOR.meta, CONFIG.max_steps)
    rows = await serving.in_pool(simulated, prices, start, asked.charge_mwh)
    columns = dict(zip(backtest.COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    content = {"steps": len(rows), "profit": sum(columns["earned"]), **columns}
    return serving.answer(request, CHAIN, content)


def simulated(prices: np.ndarray, start: datetime, charge: float) -> list[backtest.Row]:
    return list(backtest.run(PREDICTOR, prices, start, charge))


@bentoml.service(name="battery-dispatch", image=serving.image(), **serving.settings(CONFIG))
@bentoml.asgi_app(app, path="/")
class BatteryDispatch:
    """Mounts the app above; health checks, /metrics and the Swagger page are BentoML's."""


BatteryDispatch.add_asgi_middleware(guards.Guard, **serving.guard(CONFIG, set()))
