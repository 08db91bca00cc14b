"""A stranger copies two folders out, brings weekly data with gaps and a covariate, deploys."""

import json
import re
import subprocess
import sys
from typing import Any

import pandas as pd
import pytest
from copied import App, Server, edit, post, run

from timeseries.weekly import HORIZON, PERIODS

pytestmark = pytest.mark.pipeline
# batch.py in parts of two series; it kills itself before the part after the first `left`.
CUT = """
import os, sys, batch
left, made, forecasts = int(sys.argv.pop(1)), [], batch.forecasts
def counted(*arguments):
    if len(made) == left:
        os.kill(os.getpid(), 9)
    made.append(1)
    return forecasts(*arguments)
batch.CHUNK, batch.forecasts = 2, counted
batch.main()
print("parts:", len(made))
"""


def ask(server: Server, **question: Any) -> tuple[int, dict[str, Any]]:
    return post(server.url + "/forecast", json.dumps(question).encode(), "application/json")


def sea(steps: int) -> dict[str, list[float]]:
    return {"sea": [25.0] * steps}


def test_weekly_series_with_gaps_go_through_by_configuration_alone(forecast: App) -> None:
    folder, _ = forecast
    report = json.loads((folder / "reports/validation.json").read_text())
    assert report["usable_series"] == PERIODS and report["checks"]["gaps"] > 0
    meta = json.loads((folder / "data/prepared/meta.json").read_text())
    assert (meta["frequency"], meta["season_length"]) == ("W-SAT", 52)
    metrics = json.loads((folder / "metrics.json").read_text())
    wanted = {"mase", "rmsse", "smape", "pinball", "coverage_80", "coverage_95"}
    assert wanted <= set(metrics["test"])
    assert metrics["test"]["mase"] < metrics["baseline"]["seasonal_naive"]["mase"]
    export = json.loads((folder / "export.json").read_text())
    for name in ("seasonal_naive", "holt_winters", "theta", "croston", "global", "combination"):
        assert export[name]["decision_agreement"] == 1 and export[name]["max_abs_diff"] < 1e-4


def test_a_second_repro_changes_nothing(forecast: App) -> None:
    before = (forecast.folder / "dvc.lock").read_bytes()
    assert "up to date" in run(["dvc", "repro"], *forecast)
    assert (forecast.folder / "dvc.lock").read_bytes() == before


def test_the_bento_forecasts_and_its_answer_leads_back_to_the_commit(
    forecaster: Server, forecast: App
) -> None:
    status, found = ask(forecaster, series_id="period 7", covariates=sea(HORIZON))
    assert status == 200 and len(found["mean"]) == HORIZON
    assert found["timestamps"][0] == "2002-01-05T00:00:00", "the week after the last observation"
    low, high = (found["intervals"]["95"][side] for side in ("lower", "upper"))
    assert all(a <= b <= c for a, b, c in zip(low, found["mean"], high, strict=True))
    assert min(found["mean"]) > 340 and max(found["mean"]) < 400, "parts per million"
    chain = found["provenance"]
    assert chain["git_commit"] == run(["git", "rev-parse", "HEAD"], *forecast).strip()
    code = "from shared import provenance; print(provenance.collect()['pipeline'])"
    assert chain["pipeline"] == run(["python", "-c", code], *forecast).strip()
    versions = run(["python", "-m", "shared.tracking", "versions"], *forecast)
    assert found["model_version"] in versions and "challenger" in versions


def test_a_history_is_forecast_near_the_series_it_was_taken_from(
    forecaster: Server, forecast: App
) -> None:
    table = pd.read_parquet(forecast.folder / "data/prepared/series.parquet")
    rows = table[table["series_id"] == "period 7"]
    history = {
        "timestamps": [time.isoformat() for time in rows["timestamp"]],
        "values": rows["value"].tolist(),
    }
    status, found = ask(forecaster, history=history, covariates=sea(4), horizon=4, levels=[80])
    assert status == 200 and len(found["mean"]) == 4 and set(found["intervals"]) == {"80"}
    _, known = ask(forecaster, series_id="period 7", covariates=sea(4), horizon=4)
    assert found["timestamps"] == known["timestamps"]
    assert found["mean"] == pytest.approx(known["mean"], abs=1.5), "parts per million"


@pytest.mark.fault
def test_every_wrong_question_is_told_what_is_wrong(forecaster: Server) -> None:
    weeks = [day.isoformat() for day in pd.date_range("2000-01-01", periods=120, freq="W-SAT")]
    good: dict[str, Any] = {"timestamps": weeks, "values": [float(i) for i in range(120)]}
    future = sea(HORIZON)

    def changed(**parts: Any) -> dict[str, Any]:
        return {"history": good | parts, "covariates": future}

    cases: list[tuple[dict[str, Any], int, str]] = [
        ({}, 400, "body"),
        ({"series_id": "period 7", "history": good}, 400, "body"),
        ({"series_id": "no such", "covariates": future}, 404, "series_id"),
        ({"series_id": 7}, 400, "series_id"),
        ({"series_id": "period 7"}, 400, "covariates.sea"),
        ({"series_id": "period 7", "covariates": sea(3)}, 400, "covariates.sea"),
        ({"series_id": "period 7", "covariates": future | {"x": [1]}}, 400, "covariates.x"),
        ({"series_id": "period 7", "covariates": future, "horizon": 0}, 400, "horizon"),
        ({"series_id": "period 7", "covariates": future, "horizon": 10**9}, 400, "horizon"),
        ({"series_id": "period 7", "covariates": future, "levels": [50]}, 400, "levels"),
        ({"series_id": "period 7", "covariates": future, "more": 1}, 400, "more"),
        (changed(values=good["values"][:50]), 400, "history"),
        (changed(timestamps=weeks[:50], values=good["values"][:50]), 400, "history"),
        (changed(values=[float("nan")] * 120), 400, "history.values.0"),
        (changed(values=[-1.0] * 120), 400, "history.values"),
        (changed(values=[1e300] * 120), 400, "history.values"),
        (changed(timestamps=[*weeks[:-1], "2100-01-01"]), 400, "history.timestamps"),
        (changed(timestamps=[*weeks[:-1], "yesterday"]), 400, "history.timestamps"),
        (changed(timestamps=weeks[::-1]), 400, "history.timestamps"),
        (changed(timestamps=weeks[:60] + weeks[61:] + ["2002-04-20"]), 400, "history.timestamps"),
        (changed(timestamps=weeks * 900, values=good["values"] * 900), 413, "body"),
    ]
    for question, code, field in cases:
        status, found = ask(forecaster, **question)
        assert (status, found["field"]) == (code, field), (field, found)
        assert found["error"] and found["request_id"]
    assert ask(forecaster, series_id="period 7", covariates=future)[0] == 200, "still alive"


@pytest.mark.fault
def test_a_killed_batch_goes_on_and_needs_the_planned_covariates(forecast: App) -> None:
    folder, environment = forecast
    command = ["python", "batch.py", "forecasts.parquet"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and "the model needs ['sea']" in done.stderr
    meta = json.loads((folder / "data/prepared/meta.json").read_text())
    table = pd.read_parquet(folder / "data/prepared/series.parquet")
    parts = []
    for name, rows in table.groupby("series_id"):
        times = pd.date_range(rows["timestamp"].max(), periods=HORIZON + 1, freq=meta["frequency"])
        parts.append(pd.DataFrame({"series_id": name, "timestamp": times[1:], "sea": 25.0}))
    pd.concat(parts).to_csv(folder.parent / "planned.csv", index=False)
    command += ["--covariates", str(folder.parent / "planned.csv")]
    run(command, *forecast)
    found = pd.read_parquet(folder / "forecasts.parquet")
    assert len(found) == PERIODS * HORIZON and found.notna().all().all()
    cut = ["python", "-c", CUT, "2", *command[2:]]
    killed = subprocess.run(cut, cwd=folder, env=environment, capture_output=True)
    assert killed.returncode == -9
    assert len(list(folder.glob("forecasts.parquet.parts/*/*.parquet"))) == 2
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "forecasts.parquet"), found)
    cut[3] = str(PERIODS)
    assert f"parts: {(PERIODS + 1) // 2 - 2}" in run(cut, *forecast), "the others are there"
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "forecasts.parquet"), found)
    assert not list(folder.glob("forecasts.parquet.parts"))


def test_nothing_shipped_is_a_pickle(forecast: App) -> None:
    folder = forecast.folder
    for place in ("dist", "build", "export", "models", "mlruns"):
        found = run([sys.executable, "-m", "picklescan", "--path", str(folder / place)], *forecast)
        assert "Scanned files: 0" in found and "Infected files: 0" in found, found
        shipped = {path.suffix for path in (folder / place).rglob("*")}
        assert not shipped & {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".npy", ".npz"}, place


def test_an_objective_out_of_reach_stops_the_pipeline_in_one_line(forecast: App) -> None:
    folder, environment = forecast
    before = run(["python", "-m", "shared.tracking", "versions"], *forecast)
    kept = (folder / "objectives.yaml").read_text()

    def ask_more(document: dict[str, Any]) -> None:
        document["objectives"][0]["key_results"][0].update(at_most=0.001)

    edit(folder / "objectives.yaml", ask_more)
    (folder / "build/provenance.json").unlink()  # without it `package` would run
    done = subprocess.run(
        ["dvc", "repro"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode != 0
    told = r"gate: KR1 missed: test\.mase target <= 0\.001, measured [\d.]+"
    assert re.search(told, done.stdout + done.stderr)
    assert not (folder / "build/provenance.json").exists()
    assert run(["python", "-m", "shared.tracking", "versions"], *forecast) == before
    (folder / "objectives.yaml").write_text(kept)
    run(["dvc", "repro"], *forecast)


def test_nothing_reached_for_the_network(forecaster: Server, forecast: App) -> None:
    """Pipeline, feature store, tracking and service: every process noted its connections."""
    log = forecast.folder.parent / "offline.log"
    assert not log.exists() or log.read_text() == ""
