"""Prices ten times as high: noticed, learnt from, compared, with real Prometheus and Alertmanager.

A policy sees prices relative to their week, so the small one here earns the same share of them as
before, and its successor is served only if the days that neither has learnt from prove it better.
"""

import shutil

import pytest
from copied import App, edit
from simulated import STORY, assert_quiet, line_of, sent, simulate, small_windows, story

pytestmark = [pytest.mark.pipeline, pytest.mark.fault]
STEPS = 960  # twenty days by the half hour; a retraining needs thirty-eight
FASTER = ["--windows", "1"]


@pytest.fixture(scope="module")
def copy(dispatched: App, tmp_path_factory: pytest.TempPathFactory, tools: None) -> App:
    """What is asked of a policy of seconds is that it trades; drift of prices is learnt from."""
    app = App(tmp_path_factory.mktemp("live") / "app", dispatched.environment)
    shutil.copytree(dispatched.folder, app.folder, symlinks=True)
    drift = {"at_most": 1, "then": "retrain"}
    little = {"share_of_optimum": {"at_least": 0.2}, "reward_over_baseline": {"at_least": 0.5}}
    small_windows(app, STEPS, "3 of 3", input_drift=drift, **little)
    own = {"test_days": 31, "steps": 24576}
    edit(app.folder / "params.yaml", lambda values: values["retrain"].update(own))
    return app


def test_usual_prices_raise_no_alert(copy: App) -> None:
    assert_quiet(simulate(copy, "none", 100, *FASTER))


@pytest.mark.long
def test_a_crisis_is_noticed_learnt_from_and_served_by_the_better_policy(copy: App) -> None:
    found = simulate(copy, "crisis", 100, *FASTER)
    lines = story(found)
    assert [line["event"] for line in lines[:6]] == STORY[:6], found.output[-8000:]
    assert lines[0]["key_result"] == "KR9"
    challenger, better = line_of(found, "challenger"), line_of(found, "compared")["better"]
    ends = STORY[6:] if better else ["refused"]
    assert [line["event"] for line in lines[6:]] == ends, found.output[-8000:]
    assert found.returncode == (0 if better else 1)
    usual, shifted = sent(found)
    served = [challenger["champion"], *([challenger["version"]] if better else [])]
    assert list(usual["models"]) == served[:1] and list(shifted["models"]) == served
    assert set(usual["answers"]) == set(shifted["answers"]) == {"200"}
