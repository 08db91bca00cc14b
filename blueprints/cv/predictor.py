"""Torch-free inference: bytes -> pixels -> probabilities -> decision. The one place of pre- and post-processing.

Service, batch, export checks and edge all call this file; resizing, normalisation and softmax are in the graph.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

from shared.guards import BadInput

FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def decode(content: bytes, max_megapixels: float = 50) -> np.ndarray:
    """The picture in an image file as uint8 [height, width, 3]; 16 bit is scaled to 8, gray repeated, EXIF turned.

    Raises BadInput that says why: empty, unknown format, too many pixels, truncated, several frames, CMYK.
    """
    if not content:
        raise BadInput("image", "is empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_megapixels * 1e6:
                raise BadInput(
                    "image",
                    f"has {width} x {height} pixels; the limit is {max_megapixels:g} megapixels",
                    413,
                )
            if getattr(image, "n_frames", 1) > 1:
                raise BadInput("image", "has several frames; send one picture")
            if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", *SIXTEEN_BIT):
                raise BadInput("image", f"has colour mode {image.mode}; send gray or RGB")
            return _eight_bit_rgb(ImageOps.exif_transpose(image))
    except BadInput:
        raise
    except Image.DecompressionBombError:
        raise BadInput("image", f"has too many pixels; the limit is {max_megapixels:g} megapixels", 413) from None
    except Image.UnidentifiedImageError:
        raise BadInput("image", f"is not a readable {', '.join(FORMATS)} file", 415) from None
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more on damaged files
        raise BadInput("image", f"is truncated or damaged ({type(error).__name__})") from None


def _eight_bit_rgb(image: Image.Image) -> np.ndarray:
    if image.mode in SIXTEEN_BIT:
        values = np.asarray(image).astype(np.int64)
        gray = (values >> 8 if values.max(initial=0) > 255 else values).clip(0, 255).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    return np.asarray(image.convert("RGB"))


@dataclass(frozen=True)
class Answer:
    """One image's result. `label` is the likeliest class; `decision` the class at the operating threshold."""

    label: str
    probability: float
    decision: str
    probabilities: dict[str, float]
    heatmap: np.ndarray | None = None


class Predictor:
    """An exported model: `folder` holds the ONNX files and model.json."""

    def __init__(self, folder: str | Path = "export", model: str = "model_int8.onnx", threads: int = 1) -> None:
        self.meta = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))
        self.classes, self.threshold = self.meta["classes"], self.meta["threshold"]
        self.positive = self.classes.index(self.meta["positive"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads  # one thread each and several images at a time beats the reverse
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(Path(folder) / model), options, providers=["CPUExecutionProvider"]
        )
        self.has_heatmap = len(self.session.get_outputs()) > 1

    def run(self, image: np.ndarray, heatmap: bool = False) -> list[np.ndarray]:
        """uint8 [n, height, width, 3] -> probabilities [n, classes] (and heat maps [n, h, w] of the positive class)."""
        names = ["probabilities", "heatmap"] if heatmap and self.has_heatmap else ["probabilities"]
        return list(self.session.run(names, {"images": image}))

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """[n, classes] -> [n] index of the decided class: positive from the threshold on, else the likeliest other."""
        others = probabilities.copy()
        others[:, self.positive] = -1
        return np.where(probabilities[:, self.positive] >= self.threshold, self.positive, others.argmax(axis=1))

    def answer(self, image: np.ndarray, heatmap: bool = False) -> Answer:
        """Score one uint8 [height, width, 3] image."""
        outputs = self.run(image[None], heatmap)
        row = outputs[0][0]
        return Answer(
            label=self.classes[int(row.argmax())],
            probability=float(row[self.positive]),
            decision=self.classes[int(self.decide(outputs[0])[0])],
            probabilities={name: float(value) for name, value in zip(self.classes, row, strict=True)},
            heatmap=outputs[1][0] if len(outputs) > 1 else None,
        )
