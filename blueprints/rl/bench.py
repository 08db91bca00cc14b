"""The service, the same model in FastAPI and in MLflow's server, and the limit, in one run.

python bench.py        after dvc repro; one decision per request, and the environment's steps

The limit is deciding in a loop, without any server. The environment's steps per second stand beside
those of Stable-Baselines3's own vector of CartPole, with as many environments.
"""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from fastapi import FastAPI
from predictor import Moment, Predictor
from requested import Situation

from shared import benchmark, packaging, params

FOLDER = Path(__file__).parent
Json = dict[str, Any]


class Peer(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """The same predictor behind MLflow's scoring server."""

    def load_context(self, context: Any) -> None:
        self.predictor = Predictor(context.artifacts["export"])

    def predict(self, context: Any, model_input: list[str], parameters: Any = None) -> list[Json]:
        found = [self.predictor.decide(moment(json.loads(text))) for text in model_input]
        return [{"power_mw": one.power, "guards": one.guards} for one in found]


def moment(question: Json) -> Moment:
    return Moment(np.array(question["prices"], float), datetime.now(UTC), question["charge_mwh"])


def questions(number: int) -> list[Json]:
    """Weeks of the history, as a request has them."""
    table = pd.read_parquet(FOLDER / "data/prepared/market.parquet")
    week = 7 * params.read_json(FOLDER / "export/model.json")["day"]
    ends = np.linspace(week, len(table), number).astype(int)
    prices = table["price"].to_numpy()
    return [{"prices": prices[end - week : end].tolist(), "charge_mwh": 2.0} for end in ends]


def plain() -> FastAPI:
    """The same predictor in FastAPI: no guards, limits, log, metrics or provenance."""
    predictor, app = Predictor(FOLDER / "export"), FastAPI()

    @app.post("/act")
    def act(question: Situation) -> Json:
        found = predictor.decide(moment(question.model_dump()))
        return {"power_mw": found.power, "guards": found.guards}

    return app


def save_peer(folder: Path) -> None:
    """The exported model and the modules it needs, as MLflow's model."""
    mlflow.pyfunc.save_model(
        folder,
        python_model=Peer(),
        artifacts={"export": str(FOLDER / "export")},
        code_paths=[str(path) for path in packaging.local_imports(FOLDER / "bench.py")],
        pip_requirements=["mlflow"],
    )


def steps_per_second(seconds: float) -> Json:
    """Steps of 32 batteries, and of 32 CartPoles in SB3's DummyVecEnv, in turns."""
    from env import EnvParams
    from vectors import many

    config = params.read("env", EnvParams, FOLDER / "params.yaml")
    games = (config, config.model_copy(update={"id": "CartPole-v1"}))
    envs = {game.id: many(game, "train", 32, 0) for game in games}
    rates: dict[str, list[float]] = {name: [] for name in envs}
    for _ in range(3):
        for name, env in envs.items():
            env.reset()
            actions, done = np.array([env.action_space.sample() for _ in range(32)]), 0
            begin = time.perf_counter()
            while time.perf_counter() - begin < seconds:
                env.step(actions)
                done += 32
            rates[name].append(done / (time.perf_counter() - begin))
    return {name: float(np.median(values)) for name, values in rates.items()}


def main() -> None:
    given = benchmark.arguments(__doc__)
    for name, rate in steps_per_second(given.seconds).items():
        print(f"{name}: {rate:,.0f} environment steps/s")
    asked = questions(100)
    bodies = [json.dumps(question).encode() for question in asked]
    wrapped = [json.dumps({"inputs": [body.decode()]}).encode() for body in bodies]
    predictor = Predictor(FOLDER / "export")

    def decide(question: Json) -> None:
        predictor.decide(moment(question))

    limits = {"limit, one core": lambda: benchmark.calls(decide, asked, 1, given.seconds)}
    candidates = {
        "service": benchmark.Asked("service", "/act", bodies),
        "FastAPI": benchmark.Asked("fastapi", "/act", bodies),
        "mlflow models serve": benchmark.Asked("mlflow", "/invocations", wrapped),
    }
    with benchmark.servers(FOLDER, save_peer) as addresses:
        benchmark.run(given, addresses, limits, candidates)


if __name__ == "__main__":
    main()
