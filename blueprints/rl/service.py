"""The dispatch service: POST /act, /simulate, /feedback, GET /info; BentoML around predictor.py.

bentoml serve service:BatteryDispatch        then open http://127.0.0.1:3000
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import backtest
import bentoml
import monitor
import numpy as np
import requested
from fastapi import Request, Response
from predictor import Predictor
from pydantic import PositiveFloat, PositiveInt
from requested import Episode

from shared import params, serving
from shared.guards import BadInput
from shared.models import Models

FOLDER = Path(__file__).parent


class ServiceParams(serving.ServiceParams):
    max_steps: PositiveInt
    max_age_steps: PositiveFloat | None
    unfamiliar_fallback: bool
    safe_action: int | float | list[float]


def interface(predictor: Predictor) -> dict[str, Any]:
    """What clients rely on."""
    env, names = predictor.meta["env"], ["day", "timezone", "signals", "columns"]
    env = {name: env.get(name) for name in ("id", "power_mw", "energy_mwh")}
    return {"environment": env} | {name: predictor.meta.get(name) for name in names}


def example(predictor: Predictor) -> dict[str, Any]:
    """What a policy answers to the example, before it is served."""
    given = QUESTION.model_config["json_schema_extra"]["example"]
    content, _ = answer(predictor, QUESTION.model_validate(given))
    if "policy" in content["guards"]:
        raise ValueError("the network's action is none")
    return content


CONFIG = params.read("service", ServiceParams, FOLDER / "params.yaml", prefix="SERVICE_")
MODELS = Models(FOLDER, Predictor, interface, example)
QUESTION: Any = requested.question(MODELS.now.predictor.meta)
app = serving.application("battery-dispatch", CONFIG, MODELS, truth=float)


@app.post("/act", openapi_extra=serving.body(QUESTION))
async def act(request: Request) -> Response:
    """What to do in the step that begins; feasible whatever is asked, with the guards that acted.

    The truth for /feedback is the price or reward that the step had in the end.
    """
    question, loaded = await serving.read(request, QUESTION), MODELS.now
    content, record = answer(loaded.predictor, question)
    serving.keep(request, loaded, record)
    return serving.answer(request, loaded, content)


def answer(predictor: Predictor, question: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return trade(predictor, question) if predictor.trades else play(predictor, question)


def trade(
    predictor: Predictor, question: requested.Situation
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a battery is told, and what the request log keeps of it."""
    now = datetime.now(UTC)
    moment = requested.moment(question, predictor.meta, now)
    stale = is_stale(predictor, now - moment.time)
    found = predictor.decide(moment, stale, CONFIG.unfamiliar_fallback)
    content = {
        "power_mw": found.power,
        "charge_after_mwh": found.charge,
        "source": found.source,
        "guards": found.guards,
        "timestamp": moment.time.isoformat(),
    }
    price = None if np.isnan(moment.prices[-1]) else float(moment.prices[-1])
    record = content | {"share": found.share, "price": price, "charge": question.charge_mwh}
    record |= {"seen": monitor.seen(moment.prices, predictor.meta["usual_price"])}
    record |= {"signals": question.signals} if question.signals else {}
    if CONFIG.log_inputs:
        record |= {"prices": question.prices}
    return content, record


def is_stale(predictor: Predictor, age: timedelta) -> bool:
    """Older than `max_age_steps`, or a step ahead of our clock."""
    if CONFIG.max_age_steps is None:
        return False
    step = timedelta(days=1) / predictor.meta["day"]
    return age > CONFIG.max_age_steps * step or age < -step


def play(
    predictor: Predictor, question: requested.Observation
) -> tuple[dict[str, Any], dict[str, Any]]:
    """An action for an environment without prices, and what the log keeps of it."""
    given, wanted = question.observation, predictor.meta["columns"]
    if len(given) != wanted:
        raise BadInput("observation", f"has {len(given)} numbers; {wanted} are needed")
    played = predictor.play(requested.array(given), CONFIG.safe_action, CONFIG.unfamiliar_fallback)
    content = {"action": played.action, "source": played.source, "guards": played.guards}
    watched = {str(i): number for i, number in enumerate(given[: monitor.MOST])}
    record = content | {"seen": watched} | ({"observation": given} if CONFIG.log_inputs else {})
    return content, record


@app.post("/simulate", openapi_extra=serving.body(Episode))
async def simulate(request: Request) -> Response:
    """What the policy would have done with given prices: a row per step after the first week."""
    asked, loaded = await serving.read(request, Episode), MODELS.now
    prices, start = requested.episode(asked, loaded.predictor.meta, CONFIG.max_steps)
    arguments = (loaded.predictor, prices, start, asked.charge_mwh)
    rows = await serving.in_pool(request, simulated, *arguments)
    columns = dict(zip(backtest.COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    content = {"steps": len(rows), "profit": sum(columns["earned"]), **columns}
    return serving.answer(request, loaded, content)


def simulated(
    predictor: Predictor, prices: np.ndarray, start: datetime, charge: float
) -> list[backtest.Row]:
    return list(backtest.run(predictor, prices, start, charge))


@bentoml.service(name="battery-dispatch", image=serving.image(), **serving.settings(CONFIG))
@bentoml.asgi_app(app, path="/")
class BatteryDispatch:
    """Mounts the app above; health checks and the Swagger page are BentoML's."""


serving.protect(BatteryDispatch, app, CONFIG)
