"""Letters instead of reports: noticed, and not learnt while corrected ones are too few.

With real Prometheus and Alertmanager. A model tuned for a minute is watched by its texts alone; to
learn letters takes a quarter of an hour, see test_shifts.py.
"""

import shutil

import pytest
from copied import App
from simulated import STORY, assert_quiet, sent, simulate, small_windows, story

pytestmark = [pytest.mark.pipeline, pytest.mark.fault]
TEXTS, RATE = 24, 0.6  # about as many as are held out; half of what two cores answer
FASTER = ["--windows", "1"]


@pytest.fixture(scope="module")
def copy(extracted: App, tmp_path_factory: pytest.TempPathFactory, tools: None) -> App:
    """Its records may be wrong and empty; drift of texts asks for a retraining."""
    app = App(tmp_path_factory.mktemp("live") / "app", extracted.environment)
    shutil.copytree(extracted.folder, app.folder, symlinks=True)
    any_record = {"exact_match": {"at_least": 0}, "refusal_share": {"at_most": 1}}
    small_windows(app, TEXTS, "1 of 1", input_drift={"then": "retrain"}, **any_record)
    return app


def test_usual_reports_raise_no_alert(copy: App) -> None:
    assert_quiet(simulate(copy, "none", RATE, *FASTER))


def test_letters_are_noticed_and_a_few_of_them_replace_no_model(copy: App) -> None:
    found = simulate(copy, "letters", RATE, *FASTER)
    lines = story(found)
    assert [line["event"] for line in lines] == [*STORY[:2], "refused"], found.output[-8000:]
    assert lines[0]["key_result"] == "KR5"
    assert "new reports are held back, too few for a comparison" in lines[-1]["reason"]
    usual, shifted = sent(found)
    assert list(usual["models"]) == list(shifted["models"]) and len(usual["models"]) == 1
    assert set(usual["answers"]) == set(shifted["answers"]) == {"200"}
