"""The table of images that stages hand on: one row per file, empty text where nothing is given."""

from pathlib import Path

import numpy as np
import pandas as pd
from predictor import decode

RAW = Path("data/raw")
TEXT = ["image", "path", "label", "group", "subgroup", "split", "problem", "perceptual_hash"]


def read(path: Path) -> pd.DataFrame:
    """A table of images. Only an empty cell is empty: `None`, `NA` and `null` are labels too."""
    types = dict.fromkeys(TEXT, str)
    table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
    return table.fillna({name: "" for name in TEXT if name in table})


def picture(image: str) -> np.ndarray:
    """Pixels of an ingested image, uint8 [height, width, 3]; `ingest` has checked its size."""
    return decode((RAW / "images" / image).read_bytes(), max_megapixels=float("inf"))
