"""The service, the same policy behind `mlflow models serve`, and the physical limit, in one run.

python bench.py        after dvc repro; one decision per request, and the environment's steps

The limit is deciding in a loop, without any server. The environment's steps per second stand beside
those of Stable-Baselines3's own vector of CartPole, with as many environments.
"""

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from predictor import Moment, Predictor

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


def loads(ours: str, theirs: str, asked: list[Json], clients: int, seconds: float) -> Json:
    """Candidates with a server, at so many clients at a time."""
    bodies = {
        f"service, {clients} clients": (f"{ours}/act", asked),
        f"mlflow models serve, {clients} clients": (
            f"{theirs}/invocations",
            [{"inputs": [json.dumps(question)]} for question in asked],
        ),
    }

    def load(name: str) -> benchmark.Load:
        url, given = bodies[name]
        texts = [json.dumps(question).encode() for question in given]
        return benchmark.requests(url, texts, "application/json", clients, seconds)

    return {name: lambda name=name: load(name) for name in bodies}


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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    standard = "(default: %(default)s)"
    parser.add_argument("--seconds", type=float, default=5, help=f"of each load {standard}")
    parser.add_argument("--rounds", type=int, default=3, help=f"turns of all loads {standard}")
    given = parser.parse_args()
    for name, rate in steps_per_second(given.seconds).items():
        print(f"{name}: {rate:,.0f} environment steps/s")
    threads, asked = params.load_yaml(FOLDER / "params.yaml")["service"]["threads"], questions(100)
    predictor = Predictor(FOLDER / "export")
    with benchmark.servers(FOLDER, save_peer, threads) as (ours, theirs):
        candidates: Json = {
            "limit": lambda: benchmark.calls(
                lambda question: predictor.decide(moment(question)), asked, 1, given.seconds
            )
        }
        for clients in (1, 8, 32):
            candidates |= loads(ours, theirs, asked, clients, given.seconds)
        print(benchmark.table(benchmark.in_turns(candidates, given.rounds), "limit"))


if __name__ == "__main__":
    main()
