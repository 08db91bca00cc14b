"""Demand rises by a third: noticed, learnt and served, with real Prometheus and Alertmanager."""

import shutil
from pathlib import Path

import pytest
from copied import App
from simulated import assert_answered, assert_quiet, simulate, small_windows

from shared.workspace import environment
from timeseries.tourism import ENVIRONMENT

pytestmark = [pytest.mark.pipeline, pytest.mark.fault]


@pytest.fixture(scope="module")
def copy(tourism: Path, tmp_path_factory: pytest.TempPathFactory, tools: None) -> App:
    app = App(tmp_path_factory.mktemp("live") / "app", environment() | ENVIRONMENT)
    shutil.copytree(tourism, app.folder, symlinks=True)
    small_windows(app, 80)
    return app


def test_usual_demand_raises_no_alert(copy: App) -> None:
    assert_quiet(simulate(copy, "none", 20))


def test_higher_demand_is_answered_without_a_lost_request(copy: App) -> None:
    assert_answered(simulate(copy, "higher", 20))
