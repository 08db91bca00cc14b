"""The images of this blueprint, with other data than its own."""

import pytest
from copied import App
from targets import EVERY_CELL, prove

pytestmark = [pytest.mark.pipeline, pytest.mark.container, pytest.mark.timeout(1800)]


@EVERY_CELL
def test_a_target_answers_as_the_packaged_folder_does(
    reproduced: App, target: str, platform: str
) -> None:
    prove(reproduced, target, platform)
