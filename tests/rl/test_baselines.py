"""Controllers that do not learn: they find what is easy and break no limit."""

from typing import Any

import baselines
import battery as physics
import numpy as np
import optimum
import pandas as pd
import pytest

from rl import markets, policies


def every(env: Any, market: Any) -> tuple[physics.Battery, dict[str, baselines.Run], np.ndarray]:
    battery = physics.build(env.model_dump(), market.step_hours)
    segment, step = market.segments[0], market.step_hours
    hour = (np.arange(len(market.prices)) * step) % 24
    train = np.arange(len(hour)) < len(hour) // 2
    runs = baselines.every(battery, market, (hour, train), segment)
    return battery, runs, market.prices[segment]


@pytest.mark.parametrize(
    "changes",
    [{}, {"ramp_mw": 0.3}, {"grid_export_mw": 0.4, "grid_import_mw": 0.7}, {"energy_mwh": 2.5}],
)
@pytest.mark.parametrize("day", [24, 48])
def test_no_controller_breaks_a_limit_or_beats_the_optimum(changes: Any, day: int) -> None:
    from env import EnvParams

    env = EnvParams(**(markets.ENV | changes))
    battery, runs, prices = every(env, markets.market(env, 14, day))
    best = optimum.linear_program(battery, prices)
    for name, run in runs.items():
        assert physics.violations(battery, run.charge, run.power) == 0, name
        assert run.earned.sum() <= best + 1e-6, name
    assert runs["idle"].earned.sum() == 0


def test_the_rule_of_fixed_hours_finds_the_cheap_and_the_dear_ones() -> None:
    hours = np.tile(np.arange(24.0), 10)
    price = np.where(hours < 4, 10.0, np.where(hours >= 20, 90.0, 40.0))
    table = pd.DataFrame({"hour": hours, "price": price})
    rule = baselines.fixed_hours(table, physics.Battery(1.0))
    assert [hour for hour, share in rule.items() if share > 0] == [0, 1, 2, 3]
    assert [hour for hour, share in rule.items() if share < 0] == [20, 21, 22, 23]


def test_plans_are_nearly_as_good_as_foresight_where_every_day_is_as_the_last() -> None:
    env, market = policies.environment()
    market.prices[:] = np.tile(market.prices[:24], len(market.prices) // 24)
    import views

    battery = physics.build(env.model_dump(), 1.0)
    table = pd.DataFrame({"price": market.prices, "hour": 0.0, "weekend": 0.0})
    meta = {"day": 24, "signals": [], "scales": [], "usual_price": 40.0}
    again = market._replace(seen=views.seen(table, battery, meta))
    segment = again.segments[0]
    best = optimum.linear_program(battery, again.prices[segment])
    for plan in ("yesterday", "moved", "week"):
        run = baselines.replan(battery, again, segment, plan)
        assert run.earned.sum() > 0.9 * best, "a plan counts nothing beyond its day"


def test_plans_lose_nothing_once_the_days_repeat() -> None:
    """Two months of the same day: from the second day on each earns what foresight does."""
    import views
    from env import EnvParams

    env = EnvParams(**markets.ENV)
    battery, prices = physics.build(env.model_dump(), 1.0), np.tile(markets.prices(1), 60)
    table = pd.DataFrame({"price": prices, "hour": 0.0, "weekend": 0.0})
    meta = {"day": 24, "signals": [], "scales": [], "usual_price": 40.0}
    market = markets.market(env)._replace(prices=prices, seen=views.seen(table, battery, meta))
    steps = np.arange(167, len(prices))
    day = optimum.linear_program(battery, prices[: 20 * 24])
    day = (day - optimum.linear_program(battery, prices[: 10 * 24])) / 10
    for plan in ("yesterday", "moved", "week"):
        run = baselines.replan(battery, market, steps, plan)
        whole_days = run.earned[1:].reshape(-1, 24).sum(axis=1)
        assert whole_days[1:-1] == pytest.approx(day)
        assert run.earned.sum() > 0.97 * optimum.linear_program(battery, prices[steps])


def test_the_rule_earns_the_same_money_every_day() -> None:
    hour = np.tile(np.arange(24.0), 14)
    prices = np.where(hour < 4, 10.0, np.where(hour >= 20, 90.0, 40.0))
    market = policies.environment()[1]._replace(prices=prices)
    steps = np.arange(168, 336)
    run = baselines.every(physics.Battery(1.0), market, (hour, hour >= 0), steps)["fixed_hours"]
    days = run.earned.reshape(7, 24).sum(axis=1)
    assert days == pytest.approx(4 * 90 * 0.9 - 4 * 10)
    assert run.charge[-1] == 0 and run.charge.max() == 4


def test_the_rule_has_a_share_for_every_hour_and_fills_the_battery_once() -> None:
    half = np.tile(np.arange(48) / 2, 10)
    table = pd.DataFrame({"hour": half, "price": np.sin(half * np.pi / 12)})
    rule = baselines.fixed_hours(table, physics.Battery(0.5, 1.0, 3.0))
    shares = np.array(list(rule.values()))
    assert len(rule) == 48 and (shares == 1).sum() == 6 == (shares == -1).sum()
    assert all(15 <= hour <= 21 for hour, share in rule.items() if share == 1)
    huge = baselines.fixed_hours(table, physics.Battery(0.5, 1.0, 500.0))
    assert sorted(huge.values()) == [-1.0] * 24 + [1.0] * 24


@pytest.mark.parametrize(
    ("limits", "hours"),
    [
        ({"grid_import_mw": 0.5}, (8, 4)),
        ({"grid_export_mw": 0.45}, (4, 8)),
        ({"grid_import_mw": 0.25, "grid_export_mw": 0.45}, (12, 6)),  # half a day's hours at most
        ({"grid_import_mw": 2.0, "grid_export_mw": 0.9}, (4, 4)),  # what the cells allow anyway
    ],
    ids=str,
)
def test_behind_a_small_connection_the_rule_takes_more_hours(limits: Any, hours: Any) -> None:
    hour = np.tile(np.arange(24.0), 10)
    prices = 50 + 40 * np.sin(hour * np.pi / 12)
    battery = physics.Battery(1.0, **limits)
    rule = baselines.fixed_hours(pd.DataFrame({"hour": hour, "price": prices}), battery)
    shares = np.array(list(rule.values()))
    assert ((shares == 1).sum(), (shares == -1).sum()) == hours
    run = baselines.follow(battery, prices, np.array([rule[now] for now in hour]))
    assert physics.violations(battery, run.charge, run.power) == 0
    assert run.charge.max() == pytest.approx(min(4.0, 12 * battery.most_in))
    sold = np.maximum(-run.power[24:], 0).sum() / 9
    assert sold == pytest.approx(run.charge.max()), "all of it, every day"


@pytest.mark.parametrize("seed", range(6))
def test_random_play_never_beats_the_optimum(seed: int) -> None:
    generator = np.random.default_rng(seed)
    battery = physics.Battery(
        generator.choice([0.25, 0.5, 1.0]),
        generator.uniform(0.5, 3),
        generator.uniform(0.5, 8),
        generator.uniform(0.7, 1),
        generator.uniform(0.7, 1),
        generator.uniform(0, 5),
        generator.choice([None, 0.4]),
        generator.choice([None, 0.4]),
        generator.choice([None, 0.3]),
    )
    prices = generator.normal(10, 40, 200)
    best = optimum.linear_program(battery, prices)
    for _ in range(5):
        run = baselines.follow(battery, prices, generator.uniform(-1.5, 1.5, len(prices)))
        assert physics.violations(battery, run.charge, run.power) == 0
        assert run.earned.sum() <= best + 1e-6


@pytest.mark.parametrize("plan", ["yesterday", "moved", "week"])
def test_a_plan_keeps_ramp_and_grid_together_by_the_half_hour(plan: str) -> None:
    from env import EnvParams

    changes = {"ramp_mw": 0.25, "grid_export_mw": 0.5, "grid_import_mw": 0.6, "energy_mwh": 2.2}
    env = EnvParams(**(markets.ENV | changes | {"charge_efficiency": 0.9}))
    market = markets.market(env, 14, 48)
    battery = physics.build(env.model_dump(), 0.5)
    run = baselines.replan(battery, market, market.segments[0], plan)
    assert physics.violations(battery, run.charge, run.power) == 0
    assert np.abs(np.diff(run.power, prepend=0.0)).max() <= 0.25 + 1e-6
    assert run.power.max() <= 0.6 * 0.9 + 1e-9 and run.power.min() >= -0.5 / 0.9 - 1e-9
    assert run.power.min() < 0 < run.power.max()
