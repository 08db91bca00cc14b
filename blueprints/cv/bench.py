"""The service, the same model behind `mlflow models serve`, and the physical limit, in one run.

python bench.py        after dvc repro; one image per request, real files of the test split

The limit is decoding, resizing and the model in a loop of `service.threads` threads, without any
server. The batched limit is the same with images collected first: what adaptive batching could
gain at most.
"""

import argparse
import base64
import functools
import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from predictor import Predictor, decode

from shared import benchmark, params

FOLDER = Path(__file__).parent


class Peer(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """The same predictor behind MLflow's scoring server."""

    def load_context(self, context: Any) -> None:
        self.predictor = Predictor(context.artifacts["export"], context.model_config["model"])

    def predict(
        self, context: Any, model_input: list[str], parameters: Any = None
    ) -> list[dict[str, Any]]:
        found = [self.predictor.answer(decode(base64.b64decode(text))) for text in model_input]
        return [{"label": answer.label, "probability": answer.probability} for answer in found]


def save_peer(folder: Path, model: str) -> None:
    """Write the model in MLflow's own format."""
    mlflow.pyfunc.save_model(
        folder,
        python_model=Peer(),
        artifacts={"export": str(FOLDER / "export")},
        model_config={"model": model},
        code_paths=[str(FOLDER / "predictor.py"), str(FOLDER / "bench.py")],
        pip_requirements=["mlflow"],
    )


def limits(files: list[bytes], model: str, threads: int, seconds: float) -> dict[str, Any]:
    """Candidates without a server: one image at a time, and eight of one size at a time."""
    predictor = Predictor(FOLDER / "export", model)
    sizes = [decode(content).shape for content in files]
    same = [content for content, size in zip(files, sizes, strict=True) if size == sizes[0]]
    batches = [same[i : i + 8] for i in range(0, max(len(same) - 7, 1), 8)]

    def batch(contents: list[bytes]) -> None:
        predictor.run(np.stack([decode(content) for content in contents]))

    def batched() -> benchmark.Load:
        load = benchmark.calls(batch, batches, threads, seconds)
        return benchmark.Load(load.requests_per_second * len(batches[0]), load.p50_ms, load.p99_ms)

    def single() -> benchmark.Load:
        return benchmark.calls(lambda it: predictor.answer(decode(it)), files, threads, seconds)

    return {"limit": single, "limit, batches of 8": batched}


def loads(
    ours: str, theirs: str, files: list[bytes], clients: int, seconds: float
) -> dict[str, Any]:
    """Candidates with a server, at so many clients at a time."""
    asked = [{"inputs": [base64.b64encode(content).decode()]} for content in files]
    bodies = [json.dumps(question).encode() for question in asked]

    def service() -> benchmark.Load:
        return benchmark.requests(ours + "/classify", files, "image/png", clients, seconds)

    def peer() -> benchmark.Load:
        address, kind = theirs + "/invocations", "application/json"
        return benchmark.requests(address, bodies, kind, clients, seconds)

    return {
        f"service, {clients} clients": service,
        f"mlflow models serve, {clients} clients": peer,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    standard = "(default: %(default)s)"
    parser.add_argument("--seconds", type=float, default=5, help=f"of each load {standard}")
    parser.add_argument("--rounds", type=int, default=3, help=f"turns of all loads {standard}")
    given = parser.parse_args()
    service = params.load_yaml(FOLDER / "params.yaml")["service"]
    model, threads = service["model"], service["threads"]
    table = pd.read_csv(FOLDER / "data/prepared/samples.csv")
    names = table.loc[table["split"] == "test", "image"].head(100)
    files = [(FOLDER / "data/raw/images" / name).read_bytes() for name in names]
    saved = functools.partial(save_peer, model=model)
    with benchmark.servers(FOLDER, saved, threads) as (ours, theirs):
        candidates = limits(files, model, threads, given.seconds)
        for clients in (1, 2 * threads, 16 * threads):
            candidates |= loads(ours, theirs, files, clients, given.seconds)
        print(benchmark.table(benchmark.in_turns(candidates, given.rounds), "limit"))


if __name__ == "__main__":
    main()
