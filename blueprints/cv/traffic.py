"""Held-out images as the camera's traffic, with the label that a person gives later.

python traffic.py --count 2000                  as they are
python traffic.py --count 2000 --shift darker   the lamp of the camera has lost light
                               --shift blurred  it is out of focus
                               --shift negative its software stores negatives
                               --shift misplaced it shows parts of two cells
"""

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import manifest
import numpy as np
from PIL import Image

from shared import replay
from shared.replay import Item

Change = Callable[[np.ndarray], np.ndarray]
# name -> what happens to uint8 [h, w, 3]
SHIFTS: dict[str, Change] = {
    "none": lambda pixels: pixels,
    "darker": lambda pixels: (pixels * 0.7).astype(np.uint8),
    "negative": lambda pixels: 255 - pixels,
    "misplaced": lambda pixels: np.roll(pixels, len(pixels) // 2, axis=0),
    "blurred": lambda pixels: np.asarray(
        Image.fromarray(pixels).reduce(4).resize(pixels.shape[1::-1])
    ),
}


def encoded(pixels: np.ndarray) -> str:
    """A PNG in base64, as the service takes it; gray where all channels are equal."""
    gray = (pixels == pixels[:, :, :1]).all()
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if gray else pixels).save(buffer, "PNG", compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode()


def items(shift: str, seed: int, once: bool = False) -> Iterator[Item]:
    """Test images, without end unless `once`: in a new order each time round."""
    table = manifest.read(Path("data/prepared/samples.csv"))
    test, draw = table[table["split"] == "test"], np.random.default_rng(seed)
    for _ in replay.rounds(once):
        for row in test.iloc[draw.permutation(len(test))].itertuples():
            pixels = SHIFTS[shift](manifest.picture(row.image))
            yield Item({"image": encoded(pixels)}, row.label)


def main() -> None:
    asked = replay.arguments(__doc__, SHIFTS, rate=10)
    replay.send(asked, "/classify", items(asked.shift, asked.seed, asked.once))


if __name__ == "__main__":
    main()
