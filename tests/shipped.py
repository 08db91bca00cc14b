"""A small blueprint, packaged: its model is one number, and its service multiplies by it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from shared import packaging, params

SERVICE = '''
from pathlib import Path

import bentoml
import predictor
from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict

from shared import params, serving
from shared.models import Models

FOLDER = Path(__file__).parent


class Question(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"number": 2.5}})
    number: float


CONFIG = params.read("service", serving.ServiceParams, FOLDER / "params.yaml", prefix="SERVICE_")
MODELS = Models(FOLDER, predictor.load, lambda model: {}, lambda model: model)
app = serving.application("demo", CONFIG, MODELS, truth=float)


@app.post("/multiply", openapi_extra=serving.body(Question))
async def multiply(request: Request) -> Response:
    """The number times the model."""
    question, loaded = await serving.read(request, Question), MODELS.now
    product = await serving.in_pool(request, predictor.answer, loaded.predictor, question.number)
    serving.keep(request, loaded, {"number": question.number})
    return serving.answer(request, loaded, {"product": product})


@bentoml.service(name="demo", image=serving.image(), **serving.settings(CONFIG))
@bentoml.asgi_app(app, path="/")
class Demo:
    """Mounts the app above."""


serving.protect(Demo, app, CONFIG)
'''
PREDICTOR = """
import json
from pathlib import Path


def load(folder: Path) -> float:
    return json.loads((folder / "model.json").read_text())


def answer(model: float, number: float) -> float:
    return model * number
"""
TRAFFIC = """
from shared import replay
from shared.replay import Item

asked = replay.arguments(None, ["none"], rate=10)
numbers = range(60 if asked.once else 10**9)
replay.send(asked, "/multiply", (Item({"number": number / 7}, None) for number in numbers))
"""
EDGE = """cryptography fastapi httptools numpy orjson prometheus-client psutil pydantic
python-multipart pyyaml uvicorn"""
SERVICE_PARAMS = {
    "max_body_mb": 0.1,
    "max_concurrency": 8,
    "timeout_s": 5,
    "threads": 1,
    "log_folder": "logs",
    "log_max_mb": 1,
    "log_keep_days": 1,
    "log_inputs": False,
}


def write(folder: Path, document: dict[str, object]) -> None:
    """The blueprint after its stage `export`; document: its objectives."""
    texts = {"service.py": SERVICE, "predictor.py": PREDICTOR, "traffic.py": TRAFFIC}
    texts["objectives.yaml"] = yaml.safe_dump(document)
    texts["params.yaml"] = yaml.safe_dump({"service": SERVICE_PARAMS})
    texts["dvc.lock"] = yaml.safe_dump({"stages": {"prepare": {"outs": ["x"]}}})
    texts["requirements-edge.txt"] = "\n".join(EDGE.split())
    texts["requirements-serve.txt"] = texts["requirements-edge.txt"] + "\nbentoml\n"
    for name, text in texts.items():
        (folder / name).write_text(text)
    params.write_json(folder / "export/model.json", 3.25)


def pretend(folder: Path, version: str = "1234567") -> dict[str, object]:
    """What templates and names need of stage `package`, in no time: nothing that can be served."""
    chain = {"name": "demo", "git_commit": "c0ffee", "git_dirty": False, "pipeline": "p1"}
    chain |= {"data": "d1", "model_version": version, "bento": f"demo:{version}-p1"}
    params.write_json(folder / "build/provenance.json", chain)
    shutil.copy2(folder / "params.yaml", folder / "build/params.yaml")
    (folder / "dist").mkdir(exist_ok=True)
    (folder / "dist/demo.bento").write_bytes(b"")
    return chain


def package(folder: Path, store: Path) -> dict[str, object]:
    """Stage `package` without the registry; gives the chain of provenance."""
    script = "from shared import packaging; packaging.build(packaging.assemble())"
    environment = os.environ | {"BENTOML_HOME": str(store)}
    subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, check=True)
    return dict(params.read_json(folder / packaging.BUILD / "provenance.json"))
