"""The held-out hours as a closed loop: what is asked follows from what was answered."""

import argparse
import http.server
import itertools
import json
import os
import shutil
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import monitor
import numpy as np
import pandas as pd
import pytest
import requested
import sources
import traffic
from predictor import Predictor

from rl import decided, markets, policies
from shared import benchmark, params, replay, requestlog
from shared.replay import Item, Replay

ROOT = Path(__file__).parents[2]
WEEKS = 3
META = {"env": {"id": "battery", "energy_mwh": 4.0}, "day": 24, "signals": [], "point": None}


def prepared(folder: Path, **changes: Any) -> pd.DataFrame:
    """data/prepared with three weeks and a day of test; gives the test."""
    meta = META | changes
    times = pd.date_range("2022-02-01T06:00", periods=(WEEKS * 7 + 11) * 24, freq="h")
    table = pd.DataFrame({"timestamp": times, "price": markets.prices(WEEKS * 7 + 11).round(2)})
    for name in meta["signals"]:
        table[name] = np.arange(len(table)) * 0.5
    table["split"] = np.where(np.arange(len(table)) < 240, "train", "test")
    (folder / "data/prepared").mkdir(parents=True)
    table.to_parquet(folder / "data/prepared/market.parquet")
    params.write_json(folder / "data/prepared/meta.json", meta)
    return table[240:].reset_index(drop=True)


@pytest.fixture
def test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.chdir(tmp_path)
    return prepared(tmp_path)


def unanswered(shift: str, seed: int, number: int) -> list[Item]:
    return list(itertools.islice(traffic.items(shift, seed), number))


def test_every_held_out_hour_comes_once_where_it_is_asked_for(test: pd.DataFrame) -> None:
    whole = len(test) // 168 * 168
    for seed in (0, 3):
        times = [item.body["timestamp"] for item in traffic.items("none", seed, once=True)]
        assert len(times) == len(set(times)) == whole > 168


def test_hours_come_in_order_and_each_shows_the_week_that_ends_with_its_price(
    test: pd.DataFrame,
) -> None:
    found = unanswered("none", 0, 300)
    prices = test["price"].tolist()
    assert [item.truth for item in found] == prices[:300]
    assert found[200].body["prices"] == prices[33:201]
    assert all(item.body["prices"][-1] == item.truth for item in found)
    assert found[0].body["timestamp"] == "2022-02-11T06:00:00+00:00"
    for item in found[:3]:
        requested.moment(requested.Situation(**item.body), META, datetime.now().astimezone())


def test_whole_weeks_follow_each_other_and_no_moment_comes_twice(test: pd.DataFrame) -> None:
    number = WEEKS * 7 * 24
    found = unanswered("none", 0, 2 * number + 5)
    times = [datetime.fromisoformat(item.body["timestamp"]) for item in found]
    assert set(np.diff(times)) == {timedelta(hours=1)}
    again = [item.truth for item in found[number : 2 * number]]
    assert again == [item.truth for item in found[:number]] == test["price"].tolist()[:number]
    assert times[number].weekday() == times[0].weekday()
    first = found[number].body["prices"]
    assert first == [item.truth for item in found[number - 167 : number + 1]]
    later = unanswered("none", 90, 1)[0]
    assert later.body["timestamp"] == "2022-05-12T06:00:00+00:00"


def test_the_battery_holds_what_the_answer_said_and_rests_without_one(test: pd.DataFrame) -> None:
    items = traffic.items("none", 0)
    assert next(items).body["charge_mwh"] == 0
    answer = {"charge_after_mwh": 1.0, "power_mw": 1.0, "guards": []}
    body = items.send(answer).body
    assert (body["charge_mwh"], body["power_mw"]) == (1.0, 1.0)
    body = items.send(None).body
    assert (body["charge_mwh"], body["power_mw"]) == (1.0, 0.0)


def test_who_takes_the_past_for_stale_is_told_how_to_replay(test: pd.DataFrame) -> None:
    items = traffic.items("none", 0)
    next(items)
    with pytest.raises(SystemExit, match="SERVICE_MAX_AGE_STEPS=null"):
        items.send({"charge_after_mwh": 0.0, "power_mw": 0.0, "guards": ["stale"]})


def test_a_crisis_is_ten_times_as_dear(test: pd.DataFrame) -> None:
    usual, dear = (unanswered(shift, 3, 50) for shift in ("none", "crisis"))
    assert [item.truth for item in dear] == pytest.approx([10 * item.truth for item in usual])
    assert [item.body["timestamp"] for item in dear] == [item.body["timestamp"] for item in usual]


def test_own_prices_have_no_other_zone_and_other_environments_no_prices(
    tmp_path: Path, test: pd.DataFrame
) -> None:
    with pytest.raises(SystemExit, match="of the sample only"):
        unanswered("zone", 0, 1)
    params.write_json(tmp_path / "data/prepared/meta.json", {"env": "CartPole-v1"})
    with pytest.raises(SystemExit, match="without prices"):
        unanswered("none", 0, 1)


def test_signals_come_with_their_values_of_the_day_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    test = prepared(tmp_path, signals=["load"])
    body = unanswered("none", 2, 31)[30].body
    assert body["signals"] == {"load": test["load"][78]}
    assert body["signals_day_ago"] == {"load": test["load"][54]}


def test_another_zone_is_the_sample_s_at_the_same_hours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "blueprints/rl/sample", tmp_path)
    test = prepared(tmp_path, point="HB_NORTH")
    found = [item.truth for item in unanswered("zone", 0, 400)]
    theirs = sources.read_sample(Path("sample"), "HB_PAN").set_index("timestamp")["price"]
    assert found == [theirs[hour] for hour in test["timestamp"][:400]]
    assert min(found) < 0


class Echo(http.server.BaseHTTPRequestHandler):
    """Counts up: an answer is one more than what was asked."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = json.dumps({"number": body.get("number", 0) + 1, "model_version": "m"}).encode()
        self.send_response(503 if body.get("number") == 5 else 200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture
def echo() -> Iterator[argparse.Namespace]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield argparse.Namespace(
        url=f"http://127.0.0.1:{server.server_port}", count=12, seconds=None, rate=1e6, clients=1,
        truth_share=1.0, truth_after=0.0, seed=0, timeout=60.0,
    )  # fmt: skip
    server.shutdown()
    server.server_close()


def test_with_one_client_each_question_follows_from_the_answer_before(
    echo: argparse.Namespace,
) -> None:
    told: list[Any] = []

    def items() -> Iterator[Item]:
        number = 0
        while True:
            answer = yield Item({"number": number}, None)
            told.append(answer and answer["number"])
            number = answer["number"] if answer else 0

    sent = replay.send(echo, "/act", items())
    assert told == [1, 2, 3, 4, 5, None, 1, 2, 3, 4, 5], "what failed is told, too"
    assert sent.statuses == {200: 10, 503: 2}


def test_items_that_are_no_generator_are_sent_to_their_end(echo: argparse.Namespace) -> None:
    echo.clients = 4
    sent = Replay(echo, "/act")
    replay.asyncio.run(sent.run(iter([Item({"number": i}, None) for i in (1, 2, 3)])))
    assert sent.sent.statuses == {200: 3}


@pytest.fixture(params=["null", None], ids=["replay", "production"])
def service(
    request: pytest.FixtureRequest, tmp_path: Path, test: pd.DataFrame
) -> Iterator[tuple[str, bool]]:
    """The blueprint's service with a small policy in the present folder; is it for replays?"""
    env, market = policies.environment()
    (tmp_path / "export").mkdir()
    policies.exported(tmp_path / "export", env, market, policies.config())
    for pattern in ("*.py", "*.yaml", "requirements-serve.txt"):
        for path in (ROOT / "blueprints/rl").glob(pattern):
            shutil.copy(path, tmp_path)
    chain = {"name": "battery-dispatch", "model_version": "packaged", "bento": "none"}
    params.write_json(tmp_path / "provenance.json", chain)
    profile = {"numbers": monitor.shares(monitor.features(np.ones((9, 168)) * 40, 40.0))}
    params.write_json(tmp_path / "reports/reference.json", {"profile": profile})
    own = {"PYTHONPATH": str(ROOT), "BENTOML_HOME": str(tmp_path / "bentoml")}
    own |= {"SERVICE_MAX_AGE_STEPS": request.param} if request.param else {}
    environment = {key: value for key, value in os.environ.items() if "SERVICE_" not in key} | own
    url = f"http://127.0.0.1:{benchmark.free_port()}"
    command = ["bentoml", "serve", "service", "--port", url.rpartition(":")[2]]
    with benchmark.running(
        command, url + "/readyz", tmp_path / "log", cwd=tmp_path, env=environment
    ):
        yield url, request.param is not None


@pytest.mark.pipeline
def test_the_service_lives_a_year_that_is_past_only_where_it_was_started_so(
    service: tuple[str, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, replays = service
    asked = ["traffic.py", "--url", url, "--count", "700", "--rate", "10000", "--truth-after", "0"]
    monkeypatch.setattr("sys.argv", asked)
    if not replays:
        with pytest.raises(SystemExit, match="SERVICE_MAX_AGE_STEPS=null"):
            traffic.main()
        (record,) = requestlog.read(tmp_path / "logs", "requests")
        assert record["source"] == "safe" and record["guards"][0] == "stale"
        return
    traffic.main()
    records = list(requestlog.read(tmp_path / "logs", "requests"))
    assert [row["charge"] for row in records[1:]] == [
        row["charge_after_mwh"] for row in records[:-1]
    ]
    assert all({"timestamp", "power_mw", "share", "seen"} <= row.keys() for row in records)
    assert max(len(json.dumps(row)) for row in records) < 700, "without the prices of the week"
    predictor = Predictor(tmp_path / "export")
    twin = itertools.islice(decided.by_policy(predictor, traffic.items("none", 0)), 700)
    assert [row["power_mw"] for row in twin] == [row["power_mw"] for row in records]
    monkeypatch.setattr("sys.argv", ["monitor.py"])
    monitor.main()
    values = params.read_json("live/values.json")
    assert values["KR5"] == {"breached": False, "windows": 1}
    assert values["live.guarded_share"] == 0 and values["KR9"]["windows"] == 1
