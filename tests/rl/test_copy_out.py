"""A stranger copies two folders out: half-hourly data, another point, another environment."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from copied import App, Server, edit, post, run

from rl.halfhourly import fresh, shorten

pytestmark = pytest.mark.pipeline


def ask(server: Server, route: str = "/act", **question: Any) -> tuple[int, dict[str, Any]]:
    return post(server.url + route, json.dumps(question).encode(), "application/json")


def week(app: App) -> dict[str, Any]:
    """The last week of the file as a request has it, as if it were now."""
    table = pd.read_parquet(app.folder / "data/prepared/market.parquet")[-336:]
    now, ago = table.iloc[-1]["expected"], table.iloc[-49]["expected"]
    return {
        "prices": table["price"].tolist(),
        "charge_mwh": 1.0,
        "power_mw": 0.0,
        "signals": {"expected": now},
        "signals_day_ago": {"expected": ago},
    }


def test_half_hourly_prices_go_through_by_configuration_alone(dispatched: App) -> None:
    folder, _ = dispatched
    report = json.loads((folder / "reports/validation.json").read_text())
    assert report["checks"]["gaps"] == 13 and report["checks"]["unreadable"] == 1
    assert report["leakage"]["expected"] < 0.9
    meta = json.loads((folder / "data/prepared/meta.json").read_text())
    assert meta["day"] == 48 and meta["signals"] == ["expected"]
    metrics = json.loads((folder / "metrics.json").read_text())
    names = ("profit_usd", "share_of_optimum", "cycles", "violations")
    assert {end for name in names for end in (name, f"{name}_worst")} <= set(metrics["test"])
    baseline = metrics["baseline"]
    assert {"idle", "fixed_hours", "replanning", "optimum"} <= set(baseline)
    assert baseline["idle"] == 0 < metrics["test"]["profit_usd"] < baseline["optimum"]
    export = json.loads((folder / "export.json").read_text())["onnx"]
    assert export["decision_agreement"] == 1 and export["score_difference"] < 1e-9


def test_a_second_repro_changes_nothing(dispatched: App) -> None:
    before = (dispatched.folder / "dvc.lock").read_bytes()
    assert "up to date" in run(["dvc", "repro"], *dispatched)
    assert (dispatched.folder / "dvc.lock").read_bytes() == before


def test_the_bento_acts_and_its_answer_leads_back_to_the_commit(
    dispatcher: Server, dispatched: App
) -> None:
    status, found = ask(dispatcher, **week(dispatched))
    assert status == 200 and found["source"] == "policy", found
    assert -1 <= found["power_mw"] <= 1 and 0 <= found["charge_after_mwh"] <= 2.5
    assert found["charge_after_mwh"] == pytest.approx(1 + found["power_mw"] / 2)
    chain = found["provenance"]
    assert chain["git_commit"] == run(["git", "rev-parse", "HEAD"], *dispatched).strip()
    code = "from shared import provenance; print(provenance.collect()['pipeline'])"
    assert chain["pipeline"] == run(["python", "-c", code], *dispatched).strip()
    versions = run(["python", "-m", "shared.tracking", "versions"], *dispatched)
    assert found["model_version"] in versions and "challenger" in versions
    feedback = {"request_id": found["request_id"], "truth": 31.5}
    assert ask(dispatcher, "/feedback", **feedback)[0] == 200


@pytest.mark.fault
def test_bad_observations_get_the_safe_action_and_say_why(
    dispatcher: Server, dispatched: App
) -> None:
    good, hour = week(dispatched), timedelta(hours=1)
    now = datetime.now(UTC)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"prices": [None, *good["prices"][1:]]}, "filled"),
        ({"prices": [*good["prices"][:-1], None]}, "missing"),
        ({"prices": [None] * 60 + good["prices"][60:]}, "missing"),
        ({"signals": {"expected": None}}, "missing"),
        ({"timestamp": (now - 30 * hour).isoformat()}, "stale"),
        ({"timestamp": (now + 30 * hour).isoformat()}, "stale"),
        ({"charge_mwh": None}, "charge"),
        ({"charge_mwh": 99.0}, "charge"),
        ({"charge_mwh": -3.0}, "charge"),
        ({"prices": [1e8] * 336}, "unfamiliar"),
    ]
    for change, guard in cases:
        status, found = ask(dispatcher, **(good | change))
        assert status == 200 and guard in found["guards"], (change, found)
        assert -1 <= found["power_mw"] <= 1 and 0 <= found["charge_after_mwh"] <= 2.5
        if guard in ("missing", "stale"):
            assert found["source"] == "safe"


@pytest.mark.fault
def test_every_wrong_question_is_told_what_is_wrong(dispatcher: Server, dispatched: App) -> None:
    good = week(dispatched)
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({}, 400, "prices"),
        (good | {"prices": good["prices"][1:]}, 400, "prices"),
        (good | {"prices": "many"}, 400, "prices"),
        (good | {"prices": [1e10, *good["prices"][1:]]}, 400, "prices.0"),
        (good | {"prices": [float("nan"), *good["prices"][1:]]}, 400, "prices.0"),
        (good | {"charge_mwh": "full"}, 400, "charge_mwh"),
        (good | {"timestamp": "noon"}, 400, "timestamp"),
        (good | {"timestamp": "2022-01-01T00:00:00"}, 400, "timestamp"),
        (good | {"signals": {}}, 400, "signals.expected"),
        (good | {"signals": {"expected": 1.0, "wind": 2.0}}, 400, "signals.wind"),
        (good | {"more": 1}, 400, "more"),
        (good | {"prices": good["prices"] * 600}, 413, "body"),
    ]
    for question, code, field in cases:
        status, found = ask(dispatcher, **question)
        assert (status, found["field"]) == (code, field), (field, found)
        assert found["error"] and found["request_id"]
    assert ask(dispatcher, **good)[0] == 200, "still alive"


@pytest.mark.fault
def test_a_stopped_back_test_goes_on(dispatched: App) -> None:
    folder, environment = dispatched
    whole = run(["python", "batch.py", "one.parquet"], *dispatched)
    process = subprocess.Popen(["python", "batch.py", "two.parquet"], cwd=folder, env=environment)
    parts = folder / "two.parquet.parts"
    while process.poll() is None and not list(parts.glob("*/[0-9]*.parquet")):
        pass
    process.kill()
    process.wait()
    assert not (folder / "two.parquet").exists() and list(parts.glob("*/[0-9]*.parquet"))
    assert run(["python", "batch.py", "two.parquet"], *dispatched).split("->")[0] in whole
    one, two = (pd.read_parquet(folder / f"{name}.parquet") for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two)
    gaps = one["price"].isna()
    assert gaps.sum() == 13 and (one["source"] == "safe").equals(gaps)
    assert one["guards"].str.contains("filled").sum() > 300, "for the week after"
    assert one["charge_mwh"].between(0, 2.5).all()


def test_nothing_shipped_is_a_pickle(dispatched: App) -> None:
    folder = dispatched.folder
    for place in ("dist", "build", "export", "models", "mlruns"):
        scan = [sys.executable, "-m", "picklescan", "--path", str(folder / place)]
        found = run(scan, *dispatched)
        assert "Scanned files: 0" in found and "Infected files: 0" in found, found
        shipped = {path.suffix for path in (folder / place).rglob("*")}
        assert not shipped & {".pkl", ".pickle", ".zip", ".pt", ".pth", ".npy", ".npz"}, place


def test_another_point_of_the_sample(halfhourly: App, tmp_path: Path) -> None:
    """As committed but for the point and a short run; the gate is opened, the numbers are real."""
    app = fresh(halfhourly, tmp_path / "app", original)
    run(["dvc", "repro", "gate"], *app)
    metrics = json.loads((app.folder / "metrics.json").read_text())
    assert metrics["baseline"]["optimum_gap"] < 1e-6
    assert metrics["test"]["profit_usd_worst"] > metrics["baseline"]["fixed_hours"]
    assert metrics["test"]["violations_worst"] == 0


def original(values: dict[str, Any]) -> None:
    """The sample again, at another point."""
    shorten(values)
    values["ingest"] |= {"source": "sample", "point": "LZ_SOUTH", "signals": []}
    values["ingest"] |= {"timezone": "America/Chicago"}
    values["prepare"] |= {"test_from": "2022-01-01", "block_days": 28}
    values["env"] |= {"energy_mwh": 4.0, "ramp_mw": None, "grid_export_mw": None}


def test_another_environment_reaches_its_gate(halfhourly: App, tmp_path: Path) -> None:
    """CartPole-v1: the gate is a mean return of 475 over 100 episodes, for the worst seed too."""

    def play(values: dict[str, Any]) -> None:
        values["ingest"] |= {"source": "sample", "signals": []}
        values["env"]["id"] = "CartPole-v1"
        values["train"] |= {"steps": 160_000, "environments": 8, "seeds": [0], "validations": 8}
        values["train"]["hyperparameters"] |= {"batch_size": 256, "gamma": 0.98}

    def ask_for(document: dict[str, Any]) -> None:
        document["objectives"] = [
            {
                "objective": "The pole stays up",
                "key_results": [
                    {"id": "KR1", "requirement": "R1", "metric": "test.mean_return_worst"}
                    | {"at_least": 475, "when": "release"},
                    {"id": "KR2", "requirement": "R1", "metric": "export.onnx.decision_agreement"}
                    | {"at_least": 1, "when": "release"},
                ],
            }
        ]
        document["requirements"] = document["requirements"][:1]

    app = fresh(halfhourly, tmp_path / "app", play)
    edit(app.folder / "objectives.yaml", ask_for)
    assert "gate: 2 release key results hold" in run(["dvc", "repro"], *app)
    metrics = json.loads((app.folder / "metrics.json").read_text())
    assert metrics["test"]["episodes"] == 100 and metrics["test"]["mean_return_worst"] >= 475
    code = (
        "from predictor import Predictor; import numpy as np; p = Predictor('export'); "
        "print(p.play(np.zeros(4), 0, False), p.play(np.array([np.nan] * 4), 0, False))"
    )
    found = run(["python", "-c", code], *app)
    assert "source='policy'" in found and "source='safe'" in found


def test_nothing_reached_for_the_network(dispatcher: Server, dispatched: App) -> None:
    """Pipeline, tracking and service: every process noted its connections."""
    log = dispatched.folder.parent / "offline.log"
    assert not log.exists() or log.read_text() == ""
