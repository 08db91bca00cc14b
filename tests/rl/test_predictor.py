"""What is served is what was trained, and whatever it is told, the battery can do it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import baselines
import battery as physics
import export
import features
import market
import numpy as np
import pandas as pd
import predictor
import pytest
from env import EnvParams
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rl import markets, policies, stages

NOON = datetime(2021, 1, 10, 12, tzinfo=UTC)


@pytest.fixture(scope="module", params=[{}, {"actions": None}, {"ramp_mw": 0.4}], ids=str)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    env, market = policies.environment(**request.param)
    folder = tmp_path_factory.mktemp("export")
    predictor, model = policies.exported(folder, env, market, policies.config())
    return predictor, model, env, market


def moment(market: Any, at: int, charge: float | None = 2.0, **more: Any) -> Any:
    from predictor import Moment

    window = market.prices[at - 7 * market.day + 1 : at + 1]
    return Moment(window, market.times[at].tz_localize("UTC").to_pydatetime(), charge, **more)


def test_what_is_seen_in_service_is_what_was_seen_in_training(served: Any) -> None:
    import features

    predictor, _, _, market = served
    for at in (167, 200, 333, 500):
        state = np.array([1.5]), np.array([0.2])
        trained = features.observe(predictor.battery, market.at(np.array([at])), *state)
        now = predictor.observe(moment(market, at), 1.5, 0.2)
        assert now == pytest.approx(trained, abs=2e-4)


def test_the_graph_does_what_stable_baselines_does(served: Any) -> None:
    import playing

    predictor, model, env, market = served
    run = playing.trade(playing.deterministic(model), market, env, market.segments[0][:200])
    ours = predictor.act(run.observations).reshape(run.actions.shape)
    assert ours == pytest.approx(run.actions, abs=1e-5)


def test_the_back_test_earns_what_the_simulator_earns(served: Any) -> None:
    import backtest
    import playing

    predictor, _, env, market = served
    run = playing.trade(predictor.act, market, env, market.segments[0])
    start = market.times[0].tz_localize("UTC").to_pydatetime()
    rows = list(backtest.run(predictor, market.prices, start))
    assert len(rows) == len(run.power)
    assert [row[0] for row in rows] == pytest.approx(run.power.tolist(), abs=1e-6)
    assert sum(row[2] for row in rows) == pytest.approx(run.earned.sum())


number = st.none() | st.floats(-1e12, 1e12) | st.sampled_from([np.nan, np.inf, -np.inf])


@given(charge=number, before=number, seed=st.integers(0, 99), kind=st.integers(0, 5))
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_nothing_that_is_told_leads_to_an_infeasible_action(
    served: Any, charge: float | None, before: float | None, seed: int, kind: int
) -> None:
    """NaN, holes, extremes, constants, adversarial windows; any charge; any power before."""
    from predictor import Moment

    predictor, _, _, market = served
    generator = np.random.default_rng(seed)
    window = market.prices[:168].copy()
    if kind == 1:
        window[generator.integers(0, 168, 5)] = np.nan
    elif kind == 2:
        window = generator.choice([-1e9, 0, 1e9], 168)
    elif kind == 3:
        window[:] = generator.normal()
    elif kind == 4:
        window[-1] = generator.choice([np.inf, -np.inf])
    elif kind == 5:
        window = generator.normal(0, 1, 168) * 10 ** generator.uniform(-9, 9)
    found = predictor.decide(Moment(window, NOON, charge, before), stale=seed % 7 == 0)
    battery = predictor.battery
    told = charge if charge is not None and np.isfinite(charge) else 0.0
    held = np.clip(told, 0, battery.energy_mwh)
    assert np.isfinite(found.power) and np.isfinite(found.charge)
    assert -battery.most_out - 1e-9 <= found.power <= battery.most_in + 1e-9
    assert -1e-9 <= held + found.power * battery.step_hours <= battery.energy_mwh + 1e-9
    if charge is None or not np.isfinite(charge):
        assert "charge" in found.guards
    if kind == 4:
        assert "missing" in found.guards and found.source == "safe"


def test_each_guard_is_named(served: Any) -> None:
    predictor, _, _, market = served
    usual = predictor.decide(moment(market, 300))
    assert usual.source == "policy" and set(usual.guards) <= {"limits"}
    stale = predictor.decide(moment(market, 300), stale=True)
    assert stale.source == "safe" and "stale" in stale.guards
    wild = moment(market, 300)
    wild.prices[-1] = 1e8
    assert "unfamiliar" in predictor.decide(wild).guards
    assert predictor.decide(wild, unfamiliar_is_safe=True).source == "safe"
    assert predictor.decide(moment(market, 300, None)).power == pytest.approx(0, abs=1e-9)


def test_the_safe_action_is_the_rule_of_fixed_hours(served: Any) -> None:
    predictor, _, _, market = served
    for hour, share in ((3, 1.0), (18, -1.0), (12, 0.0)):
        told = moment(market, 300)._replace(time=NOON.replace(hour=hour))
        found = predictor.decide(told, stale=True)
        assert found.share == share and np.sign(found.power) == np.sign(share)


def test_who_asks_within_a_step_asks_in_the_step(served: Any) -> None:
    """A request without a timestamp is of now, which is hardly ever the beginning of a step."""
    predictor, _, _, market = served
    begin, within = (NOON.replace(hour=3, minute=minute) for minute in (0, 23))
    assert predictor.hour(within) == predictor.hour(begin) == 3
    assert predictor.safe_share(within) == predictor.safe_share(begin) == 1
    one, other = (moment(market, 300)._replace(time=time) for time in (begin, within))
    assert (predictor.observe(one, 2.0, 0.0) == predictor.observe(other, 2.0, 0.0)).all()
    halves = predictor.meta | {"day": 24, "fixed_hours": {"3.5": 1.0, "18.5": -1.0}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor, "meta", halves)  # steps that begin at half past
        assert predictor.hour(within) == 2.5 and predictor.hour(begin.replace(minute=30)) == 3.5
        assert predictor.hour(NOON.replace(hour=0, minute=10)) == 23.5


SHORT = [("5min", 288, 3), ("10min", 144, 0), ("20min", 72, 10)]


@pytest.mark.parametrize(("freq", "day", "late"), SHORT)
def test_the_hour_served_is_the_hour_trained_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, freq: str, day: int, late: int
) -> None:
    """From the stage's table, by the exported rule; 2:40 is written 2.66667 there."""
    monkeypatch.chdir(tmp_path)
    first = pd.Timestamp("2024-03-10", tz="UTC") + pd.Timedelta(minutes=late)
    times = pd.date_range(first, periods=45 * day, freq=freq)
    table = pd.DataFrame({"timestamp": times, "price": markets.prices(45, day)})
    table.to_csv(tmp_path / "prices.csv", index=False)
    stages.parameters(tmp_path, prepare={"test_share": 0.2, "block_days": 7})
    stages.run("ingest", "validate", "prepare")
    env = EnvParams(**markets.ENV)
    meta = export.describe(env, np.zeros(1, int), np.zeros((1, 1)))
    served = predictor.Predictor.__new__(predictor.Predictor)  # without its network
    served.meta, served.zone = meta, ZoneInfo(meta["timezone"])
    served.battery = physics.build(meta["env"], 24 / day)
    trained = pd.read_parquet("data/prepared/market.parquet")
    asked = [time.to_pydatetime() for time in times]
    assert [served.hour(time) for time in asked] == trained["hour"].tolist()
    within = pd.Timedelta(freq).to_pytimedelta() - timedelta(seconds=1)
    assert [served.hour(time + within) for time in asked] == trained["hour"].tolist()
    rule = baselines.fixed_hours(trained[trained["split"] == "train"], served.battery)
    wished = [rule.get(hour, 0.0) for hour in trained["hour"]]
    assert [served.safe_share(time) for time in asked] == wished and {-1.0, 1.0} <= set(wished)
    history = market.read("test")
    state = np.array([1.5]), np.array([0.0])
    for at in history.segments[0][:: 1 + day // 7]:
        window = trained["price"].to_numpy()[at - 7 * day + 1 : at + 1]
        now = served.observe(predictor.Moment(window, asked[at], 1.5), 1.5, 0.0)
        seen = features.observe(served.battery, history.at(np.array([at])), *state)
        assert now == pytest.approx(seen, abs=2e-4)  # 5 minutes of the clock are .02


def test_a_step_over_midnight_is_of_the_day_it_begins_in(served: Any) -> None:
    predictor, _, _, market = served
    halves = predictor.meta | {"fixed_hours": {"3.5": 1.0, "18.5": -1.0}}
    friday = datetime(2021, 1, 8, 23, 30, tzinfo=UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor, "meta", halves)
        times = (friday, friday + timedelta(minutes=40))
        one, other = (moment(market, 300)._replace(time=time) for time in times)
        assert (predictor.observe(one, 2.0, 0.0) == predictor.observe(other, 2.0, 0.0)).all()


def test_a_policy_that_says_nonsense_is_not_followed(served: Any) -> None:
    predictor, _, _, market = served

    class Broken:
        said = 0.0

        def run(self, *_: Any) -> list[np.ndarray]:
            return [np.array([self.said])]

    good, predictor.session = predictor.session, Broken()
    beyond = [] if predictor.meta["env"]["actions"] is None else [3, -1]
    try:
        for Broken.said in (np.nan, np.inf, *beyond):
            found = predictor.decide(moment(market, 300))
            assert "policy" in found.guards and found.source == "safe"
    finally:
        predictor.session = good


def test_the_state_is_followed_over_time(served: Any) -> None:
    """Charges as they were answered never lead out of the battery, a week long."""
    predictor, _, _, market = served
    charge, before = 0.0, 0.0
    powers = []
    for at in range(167, 335):
        found = predictor.decide(moment(market, at, charge, before=before))
        charge, before = found.charge, found.power
        powers.append(before)
    charges = np.cumsum([0.0, *powers]) * predictor.battery.step_hours
    assert physics.violations(predictor.battery, charges, np.array(powers)) == 0
