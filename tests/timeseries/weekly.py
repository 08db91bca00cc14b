"""The time-series blueprint in a stranger's hands: weekly data with gaps and a covariate."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml
from copied import App, Server, copy_out, cut_off, open_gate, run, serving

HORIZON, PERIODS = 13, 8


def own_series(path: Path) -> None:
    """Carbon dioxide over Mauna Loa, weekly from 1958 on, 59 weeks missing (statsmodels, public
    domain), as eight series; the covariate is the temperature of the Pacific in that month
    (statsmodels' El Nino data, public domain)."""
    from statsmodels.datasets import co2, elnino

    weekly = co2.load_pandas().data["co2"].dropna()
    sea = elnino.load_pandas().data.set_index("YEAR")
    rows = pd.DataFrame({"timestamp": weekly.index, "value": weekly.to_numpy()})
    rows["sea"] = [float(sea.iloc[:, day.month - 1].get(day.year, 26.0)) for day in weekly.index]
    rows.insert(0, "series_id", [f"period {i * PERIODS // len(rows)}" for i in range(len(rows))])
    rows.to_csv(path, index=False)


def adapt(app: Path, source: Path) -> None:
    """Other data, a short run and thresholds of this folder's own, by configuration alone."""
    parameters = yaml.safe_load((app / "params.yaml").read_text())
    parameters["ingest"] |= {"source": str(source), "covariates": ["sea"]}
    parameters["prepare"] |= {"horizon": HORIZON, "calendar": ["month"]}
    parameters["train"] |= {"folds": 2, "trees": 20, "max_rows": 20000, "min_rows_per_leaf": 20}
    (app / "params.yaml").write_text(yaml.safe_dump(parameters))
    open_gate(app)


@pytest.fixture(scope="session")
def weekly(tmp_path_factory: pytest.TempPathFactory) -> App:
    """Installed by pip itself, as a reader of the README would."""
    base = tmp_path_factory.mktemp("weekly")
    copied = copy_out("timeseries", base, ["pip", "install"])
    own_series(base / "series.csv")
    adapt(copied.folder, base / "series.csv")
    return cut_off(copied)


@pytest.fixture(scope="session")
def forecast(weekly: App) -> App:
    run(["dvc", "repro"], *weekly)
    return weekly


@pytest.fixture(scope="session")
def forecaster(forecast: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(forecast, tmp_path_factory.mktemp("forecaster")) as started:
        yield started
