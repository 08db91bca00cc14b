"""Demand rises by a third: noticed, learnt and served, with real Prometheus and Alertmanager."""

import shutil
from pathlib import Path

import pytest
from copied import App
from simulated import assert_answered, simulate, small_windows

from shared.workspace import environment
from timeseries.tourism import ENVIRONMENT


@pytest.mark.pipeline
@pytest.mark.fault
def test_higher_demand_is_answered_and_usual_demand_is_not(
    tourism: Path, tmp_path: Path, tools: None
) -> None:
    app = App(tmp_path / "app", environment() | ENVIRONMENT)
    shutil.copytree(tourism, app.folder, symlinks=True)
    small_windows(app, 80)
    assert_answered(simulate(app, "higher", 20))
