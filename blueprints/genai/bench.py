"""The service, the same model behind `mlflow models serve`, and the physical limit, in one run.

python bench.py        after dvc repro; one record per request

The limit is extracting in a loop, without any server.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from predictor import Predictor

from shared import benchmark, packaging, params

FOLDER = Path(__file__).parent
Json = dict[str, Any]


class Peer(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """The same predictor behind MLflow's scoring server."""

    def load_context(self, context: Any) -> None:
        self.predictor = Predictor(context.artifacts["export"])

    def predict(self, context: Any, model_input: list[str], parameters: Any = None) -> list[Json]:
        return [self.predictor.answer(text).record for text in model_input]


def save_peer(folder: Path) -> None:
    """The exported model and the modules it needs, as MLflow's model."""
    mlflow.pyfunc.save_model(
        folder,
        python_model=Peer(),
        artifacts={"export": str(FOLDER / "export")},
        code_paths=[str(path) for path in packaging.local_imports(FOLDER / "bench.py")],
        pip_requirements=["mlflow"],
    )


def loads(ours: str, theirs: str, texts: list[str], clients: int, seconds: float) -> Json:
    """Candidates with a server, at so many clients at a time."""
    bodies = {
        f"service, {clients} clients": (f"{ours}/extract", [{"text": text} for text in texts]),
        f"mlflow models serve, {clients} clients": (
            f"{theirs}/invocations",
            [{"inputs": [text]} for text in texts],
        ),
    }

    def load(name: str) -> benchmark.Load:
        url, given = bodies[name]
        asked = [json.dumps(question).encode() for question in given]
        return benchmark.requests(url, asked, "application/json", clients, seconds)

    return {name: lambda name=name: load(name) for name in bodies}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    standard = "(default: %(default)s)"
    parser.add_argument("--seconds", type=float, default=20, help=f"of each load {standard}")
    parser.add_argument("--rounds", type=int, default=3, help=f"turns of all loads {standard}")
    given = parser.parse_args()
    table = pd.read_parquet(FOLDER / "data/prepared/examples.parquet")
    texts = list(table[table["split"] == "test"]["text"])
    threads = params.load_yaml(FOLDER / "params.yaml")["service"]["threads"]
    predictor = Predictor(FOLDER / "export")
    with benchmark.servers(FOLDER, save_peer, threads) as (ours, theirs):
        candidates: Json = {
            "limit": lambda: benchmark.calls(predictor.answer, texts, 1, given.seconds)
        }
        for clients in (1, 4):
            candidates |= loads(ours, theirs, texts, clients, given.seconds)
        print(benchmark.table(benchmark.in_turns(candidates, given.rounds), "limit"))


if __name__ == "__main__":
    main()
