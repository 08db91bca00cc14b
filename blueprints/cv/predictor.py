"""Torch-free inference: bytes -> pixels -> probabilities -> decision.

The one place of pre- and post-processing: service, batch, export checks and edge all call this
file. Resizing, normalisation and softmax are in the graph.
"""

import io
import json
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

from shared.guards import BadInput

FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
Image.MAX_IMAGE_PIXELS = None  # decode() has its own limit, checked before pixels are decoded


def read(path: str | Path, max_megapixels: float) -> bytes:
    """The content of an image file.

    Raises BadInput for what is no regular file, or has more bytes than that many pixels could need.
    """
    limit = 8e6 * max_megapixels + 1e7  # four channels of 16 bit, and 10 MB of header
    try:
        status = Path(path).stat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= limit:
            return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise BadInput("file", getattr(error, "strerror", None) or str(error)) from None
    if not stat.S_ISREG(status.st_mode):
        raise BadInput("file", "is a folder or a device")
    raise BadInput("file", f"is too large for {max_megapixels:g} megapixels", 413)


def decode(content: bytes, max_megapixels: float = 25) -> np.ndarray:
    """The picture in an image file as uint8 [height, width, 3].

    Of 16 bits the upper 8 are taken, gray is repeated, transparency dropped, EXIF rotation applied.
    Raises BadInput with the reason: empty, unknown format, too many pixels, truncated, several
    frames, a colour mode like CMYK.
    """
    if not content:
        raise BadInput("image", "is empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check(image, max_megapixels)
            ImageOps.exif_transpose(image, in_place=True)  # else a second picture stays in memory
            return _eight_bit_rgb(image)
    except BadInput:
        raise
    except Image.UnidentifiedImageError:
        raise BadInput("image", f"is not a readable {', '.join(FORMATS)} file", 415) from None
    except Exception as error:  # damaged files raise OSError, SyntaxError, struct.error and more
        raise BadInput("image", f"is truncated or damaged ({type(error).__name__})") from None


def _check(image: Image.Image, max_megapixels: float) -> None:
    """Refuse by the header alone what cannot be used."""
    width, height = image.size
    if width * height > max_megapixels * 1e6:
        limit = f"the limit is {max_megapixels:g} megapixels"
        raise BadInput("image", f"has {width} x {height} pixels; {limit}", 413)
    if image.mode not in EIGHT_BIT + SIXTEEN_BIT:
        raise BadInput("image", f"has colour mode {image.mode}; send gray or RGB")
    if image.format == "MPO":  # a phone's JPEG: the first frame is the picture, others are extras
        return
    try:
        image.seek(1)  # not n_frames: counting the frames of a hostile TIFF takes minutes
    except EOFError:
        return
    raise BadInput("image", "has several frames; send one picture")


def _eight_bit_rgb(image: Image.Image) -> np.ndarray:
    if image.mode in SIXTEEN_BIT:
        upper = np.asarray(image).clip(0, 65535) >> 8
        return np.repeat(upper.astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode == "P":
        image = image.convert("RGBA")  # straight to RGB, Pillow warns about transparency
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


@dataclass(frozen=True)
class Answer:
    """One image's result: `label` is the likeliest class, `decision` that at the threshold."""

    label: str
    probability: float
    decision: str
    probabilities: dict[str, float]
    embedding: np.ndarray | None = None
    heatmap: np.ndarray | None = None


class Predictor:
    """An exported model: `folder` holds the ONNX files and model.json.

    One thread per image and several images at a time beat several threads per image.
    """

    def __init__(
        self, folder: str | Path = "export", model: str = "model_int8.onnx", threads: int = 1
    ) -> None:
        self.meta = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))
        self.classes, self.threshold = self.meta["classes"], self.meta["threshold"]
        self.positive = self.classes.index(self.meta["positive"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.session = onnxruntime.InferenceSession(
            str(Path(folder) / model), options, providers=["CPUExecutionProvider"]
        )
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.has_heatmap = "heatmap" in self.outputs

    def run(self, images: np.ndarray, *more: str) -> list[np.ndarray]:
        """uint8 [n, height, width, 3] -> probabilities [n, classes], and `more` of the graph's
        outputs: `embedding` [n, k], `heatmap` [n, h, w] of the positive class."""
        return list(self.session.run(["probabilities", *more], {"images": images}))

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """[n, classes] -> [n] index of the decided class.

        Positive from the threshold on, else the likeliest of the others.
        """
        others = probabilities.copy()
        others[:, self.positive] = -1
        certain = probabilities[:, self.positive] >= self.threshold
        return np.where(certain, self.positive, others.argmax(axis=1))

    def answer(self, image: np.ndarray, heatmap: bool = False) -> Answer:
        """Score one uint8 [height, width, 3] image."""
        wanted = ["embedding", "heatmap"] if heatmap else ["embedding"]
        more = [name for name in wanted if name in self.outputs]
        probabilities, *others = self.run(image[None], *more)
        row = probabilities[0]
        return Answer(
            label=self.classes[int(row.argmax())],
            probability=float(row[self.positive]),
            decision=self.classes[int(self.decide(probabilities)[0])],
            probabilities=dict(zip(self.classes, row.tolist(), strict=True)),
            **{name: one[0] for name, one in zip(more, others, strict=True)},
        )
