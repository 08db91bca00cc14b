"""The service, the same model in FastAPI and in MLflow's server, and the limit, in one run.

python bench.py        after dvc repro; one record per request, then streams

The limit is extracting in a loop, without any server. A stream is measured text by text beside the
bare runtime: time to the first piece, and pieces per second.
"""

import json
import statistics
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from fastapi import FastAPI
from predictor import Predictor
from requested import Document

from shared import benchmark, packaging

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


def plain() -> FastAPI:
    """The same predictor in FastAPI: no guards, limits, log, metrics or provenance."""
    predictor, app = Predictor(FOLDER / "export"), FastAPI()

    @app.post("/extract")
    def extract(document: Document) -> Json:
        return {"record": predictor.answer(document.text).record}

    return app


def bare(predictor: Predictor, text: str) -> Iterator[Any]:
    tokens = predictor.prompt(text).tokens
    return predictor.generate(tokens, predictor.schema, predictor.longest_answer)


def served(url: str, text: str) -> Iterator[Any]:
    """The pieces of a stream as they come."""
    body = json.dumps({"text": text, "stream": True}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request) as response:  # noqa: S310 (our own server)
        for line in response:
            if line == b"event: piece\n":
                yield line


def streamed(pieces: Iterator[Any]) -> tuple[float, float]:
    """Seconds to the first piece, and pieces per second from then on."""
    begin = time.perf_counter()
    next(pieces)
    first = time.perf_counter()
    number = sum(1 for _ in pieces)
    return first - begin, number / (time.perf_counter() - first)


def streams(predictor: Predictor, url: str, texts: list[str]) -> str:
    """Markdown: medians over the texts, each streamed by both in turn."""
    found: dict[str, list[tuple[float, float]]] = {"bare runtime": [], "service": []}
    for text in texts:
        found["bare runtime"].append(streamed(bare(predictor, text)))
        found["service"].append(streamed(served(url, text)))
    rows = ["| stream, 1 client | first piece ms | pieces/s |", "|---|---|---|"]
    for name, pairs in found.items():
        first, rate = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append(f"| {name} | {first * 1e3:.0f} | {rate:.1f} |")
    return "\n".join(rows)


def main() -> None:
    given = benchmark.arguments(__doc__, seconds=20)
    table = pd.read_parquet(FOLDER / "data/prepared/examples.parquet")
    texts = list(table[table["split"] == "test"]["text"])
    predictor = Predictor(FOLDER / "export")
    bodies = [json.dumps({"text": text}).encode() for text in texts]
    wrapped = [json.dumps({"inputs": [text]}).encode() for text in texts]
    limits = {"limit": lambda: benchmark.calls(predictor.answer, texts, 1, given.seconds)}
    candidates = {
        "service": benchmark.Asked("service", "/extract", bodies),
        "FastAPI": benchmark.Asked("fastapi", "/extract", bodies),
        "mlflow models serve": benchmark.Asked("mlflow", "/invocations", wrapped),
    }
    with benchmark.servers(FOLDER, save_peer) as addresses:
        print(streams(predictor, addresses["service"] + "/extract", texts))
        print()
        benchmark.run(given, addresses, limits, candidates, clients=(1, 4))


if __name__ == "__main__":
    main()
