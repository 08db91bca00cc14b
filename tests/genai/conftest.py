"""Session fixtures of the extraction blueprint's tests."""

from pathlib import Path

import pytest

from genai.documents import documents, extracted, extractor  # noqa: F401
from genai.packaged import packaged  # noqa: F401
from genai.remote import url  # noqa: F401
from genai.small import masked_export, masks, predictor, small  # noqa: F401

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged base model, converted; where the blueprint has done so already, that one."""
    import base

    there = ROOT / "blueprints/genai/.base/packaged"
    if there.exists():
        return there
    place = tmp_path_factory.mktemp("base") / "packaged"
    base.convert(place, ROOT / "blueprints/genai/sample")
    return place
