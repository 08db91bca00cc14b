"""The service, the same model behind `mlflow models serve`, and the physical limit, in one run.

python bench.py        after dvc repro; one forecast per request, by id and by history

The limit is reading the features and forecasting in a loop of `service.threads` threads, without
any server. MLflow's server gets the same histories; it has no feature store to ask.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import store
from predictor import Predictor

from shared import benchmark, packaging, params

FOLDER = Path(__file__).parent


class Peer(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """The same predictor behind MLflow's scoring server."""

    def load_context(self, context: Any) -> None:
        self.predictor = Predictor(context.artifacts["export"])

    def predict(
        self, context: Any, model_input: list[str], parameters: Any = None
    ) -> list[dict[str, Any]]:
        meta, answers = self.predictor.meta, []
        for text in model_input:
            values, last = history(json.loads(text)["history"])
            known = self.predictor.of_history(values, last)
            (found,) = self.predictor.forecast(known, meta["horizon"], meta["levels"])
            answers.append({"timestamps": found.timestamps, "mean": found.mean.tolist()})
        return answers


def history(given: dict[str, Any]) -> tuple[np.ndarray, pd.Timestamp]:
    return np.array(given["values"], float), pd.Timestamp(given["timestamps"][-1])


def questions(number: int) -> list[dict[str, Any]]:
    """The histories of the first series, as a request has them."""
    table = pd.read_parquet(FOLDER / "data/prepared/series.parquet")
    found = []
    for _, rows in list(table.groupby("series_id"))[:number]:
        times = [moment.isoformat() for moment in rows["timestamp"]]
        found.append({"history": {"timestamps": times, "values": rows["value"].tolist()}})
    return found


def limits(asked: list[dict[str, Any]], threads: int, seconds: float) -> dict[str, Any]:
    """Candidates without a server: by id and by history."""
    predictor, online = Predictor(FOLDER / "export"), store.reading(FOLDER / "export/store")
    meta = predictor.meta

    def by_id(name: str) -> None:
        known = predictor.known(store.newest(online, [name]))
        predictor.forecast(known, meta["horizon"], meta["levels"])

    def by_history(question: dict[str, Any]) -> None:
        known = predictor.of_history(*history(question["history"]))
        predictor.forecast(known, meta["horizon"], meta["levels"])

    names = meta["series"][: len(asked)]
    return {
        "limit": lambda: benchmark.calls(by_id, names, threads, seconds),
        "limit, by history": lambda: benchmark.calls(by_history, asked, threads, seconds),
    }


def loads(
    ours: str, theirs: str, asked: list[dict[str, Any]], clients: int, seconds: float
) -> dict[str, Any]:
    """Candidates with a server, at so many clients at a time."""
    names = params.read_json(FOLDER / "export/model.json")["series"][: len(asked)]
    bodies = {
        f"service by id, {clients} clients": [{"series_id": name} for name in names],
        f"service by history, {clients} clients": asked,
        f"mlflow models serve, {clients} clients": [{"inputs": [json.dumps(q)]} for q in asked],
    }

    def load(name: str) -> benchmark.Load:
        url = f"{theirs}/invocations" if name.startswith("mlflow") else f"{ours}/forecast"
        texts = [json.dumps(question).encode() for question in bodies[name]]
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    standard = "(default: %(default)s)"
    parser.add_argument("--seconds", type=float, default=5, help=f"of each load {standard}")
    parser.add_argument("--rounds", type=int, default=3, help=f"turns of all loads {standard}")
    given = parser.parse_args()
    threads, asked = params.load_yaml(FOLDER / "params.yaml")["service"]["threads"], questions(100)
    with benchmark.servers(FOLDER, save_peer, threads) as (ours, theirs):
        candidates = limits(asked, threads, given.seconds)
        for clients in (1, 2 * threads, 16 * threads):
            candidates |= loads(ours, theirs, asked, clients, given.seconds)
        print(benchmark.table(benchmark.in_turns(candidates, given.rounds), "limit"))


if __name__ == "__main__":
    main()
