"""The service, the same model in FastAPI and in MLflow's server, and the limit, in one run.

python bench.py        after dvc repro; one forecast per request, by id and by history

The limit is reading the features and forecasting in a loop of `service.threads` threads, without
any server. By id, FastAPI asks the feature store as the service does, and MLflow's server has the
features in memory: its container has no store.
"""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import store
import traffic
from fastapi import FastAPI
from predictor import Answer, Known, Predictor
from requested import Question

from shared import benchmark, packaging, params

FOLDER = Path(__file__).parent


class Peer(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """The same predictor behind MLflow's scoring server."""

    def load_context(self, context: Any) -> None:
        self.predictor = Predictor(context.artifacts["export"])
        online = store.reading(Path(context.artifacts["export"]) / "store")
        names = self.predictor.meta["series"]
        self.rows = {row["series_id"]: row for row in store.newest(online, names)}

    def predict(
        self, context: Any, model_input: list[str], parameters: Any = None
    ) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        for question in map(json.loads, model_input):
            if "series_id" in question:
                known = self.predictor.known([self.rows[question["series_id"]]])
            else:
                known = self.predictor.of_history(*history(question["history"]))
            answers += map(told, forecasts(self.predictor, known, question))
        return answers


def forecasts(predictor: Predictor, known: Known, question: dict[str, Any]) -> list[Answer]:
    """As far ahead and with the intervals that the model was made for."""
    meta, planned = predictor.meta, None
    if names := meta["covariates"]:
        planned = np.stack([question["covariates"][name] for name in names], axis=-1)[None]
    return predictor.forecast(known, meta["horizon"], meta["levels"], planned)


def told(found: Answer) -> dict[str, Any]:
    return {"timestamps": found.timestamps, "mean": found.mean.tolist()}


def history(given: dict[str, Any]) -> tuple[np.ndarray, pd.Timestamp]:
    return np.array(given["values"], float), pd.Timestamp(given["timestamps"][-1])


def questions(number: int) -> dict[str, list[dict[str, Any]]]:
    """Of the first series, as requests have them, by id and by history; covariates as of late."""
    table = pd.read_parquet(FOLDER / "data/prepared/series.parquet")
    meta = params.read_json(FOLDER / "export/model.json")
    found: dict[str, list[dict[str, Any]]] = {"id": [], "history": []}
    for name, rows in list(table.groupby("series_id"))[:number]:
        times = [moment.isoformat() for moment in rows["timestamp"]]
        past = {"timestamps": times, "values": rows["value"].tolist()}
        more = traffic.planned(rows.tail(meta["horizon"]), meta["covariates"])
        found["id"].append({"series_id": name} | more)
        found["history"].append({"history": past} | more)
    return found


def limits(asked: dict[str, list[dict[str, Any]]], threads: int, seconds: float) -> dict[str, Any]:
    """Candidates without a server: by id and by history."""
    predictor, online = Predictor(FOLDER / "export"), store.reading(FOLDER / "export/store")

    def by_id(question: dict[str, Any]) -> None:
        known = predictor.known(store.newest(online, [question["series_id"]]))
        forecasts(predictor, known, question)

    def by_history(question: dict[str, Any]) -> None:
        known = predictor.of_history(*history(question["history"]))
        forecasts(predictor, known, question)

    return {
        "limit": lambda: benchmark.calls(by_id, asked["id"], threads, seconds),
        "limit, by history": lambda: benchmark.calls(
            by_history, asked["history"], threads, seconds
        ),
    }


def plain() -> FastAPI:
    """The same predictor in FastAPI: no guards, limits, log, metrics or provenance."""
    predictor, app = Predictor(FOLDER / "export"), FastAPI()
    online = store.reading(FOLDER / "export/store")

    @app.post("/forecast")
    def forecast(question: Question) -> dict[str, Any]:
        if question.series_id is not None:
            known = predictor.known(store.newest(online, [question.series_id]))
        else:
            known = predictor.of_history(*history(question.model_dump()["history"]))
        return told(*forecasts(predictor, known, question.model_dump()))

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


def main() -> None:
    given = benchmark.arguments(__doc__)
    threads, asked = params.load_yaml(FOLDER / "params.yaml")["service"]["threads"], questions(100)
    candidates = {}
    for kind, given_questions in asked.items():
        bodies = [json.dumps(question).encode() for question in given_questions]
        wrapped = [json.dumps({"inputs": [body.decode()]}).encode() for body in bodies]
        candidates |= {
            f"service, by {kind}": benchmark.Asked("service", "/forecast", bodies),
            f"FastAPI, by {kind}": benchmark.Asked("fastapi", "/forecast", bodies),
            f"mlflow models serve, by {kind}": benchmark.Asked("mlflow", "/invocations", wrapped),
        }
    with benchmark.servers(FOLDER, save_peer) as addresses:
        benchmark.run(given, addresses, limits(asked, threads, given.seconds), candidates)


if __name__ == "__main__":
    main()
