"""The inspection service: POST /classify, POST /feedback, GET /info; BentoML around predictor.py.

bentoml serve service:CellInspection        then open http://127.0.0.1:3000
curl -F image=@cell.png http://127.0.0.1:3000/classify
"""

import base64
import binascii
from pathlib import Path
from typing import Annotated, Any, Literal

import bentoml
import monitor
from fastapi import Request, Response
from predictor import BadInput, Predictor, decode
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from shared import params, serving
from shared.models import Models

FOLDER = Path(__file__).parent
IMAGE_TYPES = ("image/png", "image/jpeg", "image/tiff", "image/bmp")


class ServiceParams(serving.ServiceParams):
    model: Literal["model_int8.onnx", "model_fp32.onnx"]


CONFIG = params.read("service", ServiceParams, FOLDER / "params.yaml", prefix="SERVICE_")
EXAMPLE = base64.b64encode((FOLDER / "export/example.png").read_bytes()).decode()


def load(folder: Path) -> Predictor:
    return Predictor(folder, CONFIG.model)


def interface(predictor: Predictor) -> dict[str, Any]:
    """What clients rely on."""
    classes = {"classes": predictor.classes, "positive class": predictor.meta["positive"]}
    return classes | {"heat map": predictor.has_heatmap}


def example(predictor: Predictor) -> dict[str, Any]:
    """What a model answers to the example, before it is served."""
    picture = Picture(image=EXAMPLE, heatmap=predictor.has_heatmap)
    return score(predictor, picture)[0]


MODELS = Models(FOLDER, load, interface, example)
SCHEMA = {"type": "string", "format": "byte", "example": EXAMPLE}


def as_bytes(value: Any) -> Any:
    """Base64 text -> bytes; a file's bytes stay as they are."""
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None


class Picture(BaseModel):
    """One image: base64 in JSON, or the file itself in a form."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"image": EXAMPLE, "heatmap": False}}
    )
    image: Annotated[bytes, BeforeValidator(as_bytes), WithJsonSchema(SCHEMA)]
    heatmap: bool = Field(default=False, description="also a heat map, as rows of 0..1")


TRUTH = Literal[tuple(MODELS.now.predictor.classes)]
app = serving.application("cell-inspection", CONFIG, MODELS, TRUTH)


@app.post("/classify", openapi_extra=serving.body(Picture, "image", IMAGE_TYPES))
async def classify(request: Request) -> Response:
    """Is this part defective? Label, probability, and the decision at the operating threshold."""
    picture, loaded = await serving.read(request, Picture, "image"), MODELS.now
    if picture.heatmap and not loaded.predictor.has_heatmap:
        raise BadInput("heatmap", "this architecture has no exact heat map")
    content, record = await serving.in_pool(request, score, loaded.predictor, picture)
    serving.keep(request, loaded, record)
    return serving.answer(request, loaded, content)


def score(predictor: Predictor, picture: Picture) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is answered, and what the request log keeps of it."""
    pixels = decode(picture.image, predictor.meta["max_megapixels"])
    found = predictor.answer(pixels, picture.heatmap)
    content: dict[str, Any] = {
        "label": found.label,
        "probability": found.probability,
        "decision": found.decision,
        "threshold": predictor.threshold,
        "probabilities": found.probabilities,
    }
    record = content | monitor.features(pixels)
    if found.embedding is not None:
        record["embedding"] = found.embedding.round(3).tolist()
    if CONFIG.log_inputs:
        record |= {"image": base64.b64encode(picture.image).decode()}
    if found.heatmap is not None:
        content["heatmap"] = found.heatmap.round(4).tolist()
    return content, record


@bentoml.service(name="cell-inspection", image=serving.image(), **serving.settings(CONFIG))
@bentoml.asgi_app(app, path="/")
class CellInspection:
    """Mounts the app above; health checks and the Swagger page are BentoML's."""


serving.protect(CellInspection, app, CONFIG, "multipart/form-data", *IMAGE_TYPES)
