"""The service, the same model in FastAPI and in MLflow's server, and the limit, in one run.

python bench.py        after dvc repro; one image per request, real files of the test split

The limit is decoding, resizing and the model in a loop of `service.threads` threads, without any
server. The batched limit is the same with images collected first: what adaptive batching could
gain at most.
"""

import base64
import functools
import json
from pathlib import Path
from typing import Annotated, Any

import manifest
import mlflow
import numpy as np
from fastapi import Body, FastAPI
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


def plain() -> FastAPI:
    """The same predictor in FastAPI: no guards, limits, log, metrics or provenance."""
    predictor = Predictor(FOLDER / "export", settings()["model"])
    app = FastAPI()

    @app.post("/classify")
    def classify(content: Annotated[bytes, Body(media_type="image/png")]) -> dict[str, Any]:
        found = predictor.answer(decode(content))
        return {"label": found.label, "probability": found.probability}

    return app


def settings() -> dict[str, Any]:
    return dict(params.load_yaml(FOLDER / "params.yaml")["service"])


def main() -> None:
    given, service = benchmark.arguments(__doc__), settings()
    model, threads = service["model"], service["threads"]
    table = manifest.read(FOLDER / "data/prepared/samples.csv")
    names = table.loc[table["split"] == "test", "image"].head(100)
    files = [(FOLDER / "data/raw/images" / name).read_bytes() for name in names]
    asked = [{"inputs": [base64.b64encode(content).decode()]} for content in files]
    wrapped = [json.dumps(question).encode() for question in asked]
    candidates = {
        "service": benchmark.Asked("service", "/classify", files, "image/png"),
        "FastAPI": benchmark.Asked("fastapi", "/classify", files, "image/png"),
        "mlflow models serve": benchmark.Asked("mlflow", "/invocations", wrapped),
    }
    saved = functools.partial(save_peer, model=model)
    with benchmark.servers(FOLDER, saved) as addresses:
        benchmark.run(given, addresses, limits(files, model, threads, given.seconds), candidates)


if __name__ == "__main__":
    main()
