"""What decisions were worth: against perfect foresight and re-planning, on any log."""

import itertools
from typing import Any

import baselines
import battery as physics
import hindsight
import numpy as np
import optimum
import pandas as pd
import planning
import pytest
from battery import Battery
from hindsight import Days

from rl import decided, markets, policies

DAY = 24
HOURLY, SLOW = Battery(1.0), Battery(1.0, power_mw=1.0, energy_mwh=3.0, charge_efficiency=0.9)
TIGHT = Battery(1.0, grid_import_mw=0.5, grid_export_mw=0.45)  # half of the power, in and out


def perfect(battery: Battery, prices: Any, charge: float) -> tuple[Any, Any]:
    """Charge before and power of each step by one who knows all prices."""
    worth = planning.path(battery, prices)
    before, power = np.zeros(len(prices)), np.zeros(len(prices))
    for i, price in enumerate(prices):
        here = np.repeat(charge, 3)
        asked = physics.power(battery, hindsight.SHARES, here, np.zeros(3))
        moved = physics.move(battery, here, asked)
        gain = physics.money(battery, price, moved)
        gain = gain + planning.worth(battery, np.repeat(worth[i + 1][None], 3, 0), moved.charge)
        best = int(gain.argmax())
        before[i], power[i], charge = charge, asked[best], moved.charge[best]
    return before, power


BATTERIES = {"even": HOURLY, "losses both ways": SLOW, "limits of the grid": TIGHT}


@pytest.mark.parametrize("battery", BATTERIES.values(), ids=BATTERIES)
def test_the_optimum_is_that_of_the_solver_and_who_reaches_it_has_a_share_of_one(
    battery: Battery,
) -> None:
    prices = np.maximum(markets.prices(15), 1)
    idle = np.zeros(DAY)
    before, power = perfect(battery, prices[DAY:], 0.0)
    assert physics.violations(battery, np.append(before, before[-1] + power[-1]), power) == 0
    rows = decided.logged(battery, prices, [*idle, *before], [*idle, *power])
    found = hindsight.days(battery, DAY, rows)
    best = optimum.dynamic_program(battery, prices[DAY:])
    assert found.optimum.sum() == pytest.approx(best)
    assert best == pytest.approx(optimum.linear_program(battery, prices[DAY:]))
    assert found.earned == pytest.approx(found.optimum), "not on a single day anything is lost"
    share = hindsight.jackknife(hindsight.share_of_optimum, found)
    assert share.value == pytest.approx(1) and share.error < 1e-9


def fixed(battery: Battery, prices: np.ndarray) -> baselines.Run:
    """The rule of fixed hours, learnt from the prices that it then trades at."""
    hours = np.arange(len(prices)) % DAY
    rule = baselines.fixed_hours(pd.DataFrame({"hour": hours, "price": prices}), battery)
    return baselines.follow(battery, prices, np.array([rule[hour] for hour in hours]))


@pytest.mark.parametrize("limits", [(0.5, 0.225), (0.7, 0.5), (0.15, None), (None, 0.4)], ids=str)
def test_limits_of_the_grid_cost_money_and_hindsight_stays_the_best(limits: Any) -> None:
    tight = Battery(1.0, grid_import_mw=limits[0], grid_export_mw=limits[1])
    prices = np.maximum(markets.prices(28), 1)
    run = fixed(tight, prices)
    rows = decided.logged(tight, prices, run.charge[:-1], run.power)
    found, free = hindsight.days(tight, DAY, rows), hindsight.days(HOURLY, DAY, rows)
    best, by_rule, by_plan = (part.sum() for part in (found.optimum, found.earned, found.replanned))
    assert 0 < by_rule < best and 0 < by_plan < best < free.optimum.sum()
    solved = optimum.linear_program(tight, prices[DAY:], run.charge[DAY])
    assert 0.97 * solved < best <= solved + 1e-6


def test_no_decision_gains_on_perfect_foresight_and_rest_earns_nothing() -> None:
    generator, prices = np.random.default_rng(0), markets.prices(10)
    charge, power = np.zeros(240), np.zeros(240)
    for i, share in enumerate(generator.uniform(-1, 1, 240)):
        here = charge[i : i + 1]
        power[i] = physics.power(HOURLY, np.array([share]), here, np.zeros(1))[0]
        if i < 239:
            charge[i + 1] = physics.move(HOURLY, here, power[i : i + 1]).charge[0]
    found = hindsight.days(HOURLY, DAY, decided.logged(HOURLY, prices, charge, power))
    assert (found.optimum - found.earned >= -1e-9).all()
    nothing = hindsight.days(HOURLY, DAY, decided.logged(HOURLY, prices, power * 0, power * 0))
    assert hindsight.share_of_optimum(Days(*(part.sum() for part in nothing))) == 0


@pytest.mark.parametrize(("day", "limit"), [(24, None), (48, 0.4), (4, None)])
def test_re_planning_is_the_controller_that_releases_are_measured_with(
    day: int, limit: float | None
) -> None:
    env, _ = policies.environment(ramp_mw=limit)
    market = markets.market(env, days=20, day=day)
    battery, segment = physics.build(env.model_dump(), 24 / day), market.segments[0]
    theirs = baselines.replan(battery, market, segment, "yesterday")
    prices = market.prices[segment[0] - day :]
    before, power = hindsight.replanned(battery, day, prices, 0.0)
    assert power == pytest.approx(theirs.power) and before == pytest.approx(theirs.charge[:-1])
    rest = np.zeros(day)
    rows = decided.logged(battery, prices, [*rest, *before], [*rest, *power])
    whole = hindsight.days(battery, day, rows)
    assert whole.replanned == pytest.approx(whole.earned)
    assert hindsight.jackknife(hindsight.over_baseline, whole) == pytest.approx((1, 0))


def test_order_of_arrival_does_not_matter_and_the_newest_row_of_a_step_counts() -> None:
    prices = markets.prices(10)
    before, power = perfect(HOURLY, prices, 0.0)
    rows = decided.logged(HOURLY, prices, before, power)
    whole = hindsight.of_window(HOURLY, DAY, rows)
    assert len(whole.earned) == 9
    mixed = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    old = [row | {"truth": 1e6} for row in rows[:100]]
    again = hindsight.of_window(HOURLY, DAY, old + mixed)
    for one, other in itertools.pairwise((whole, again)):
        assert np.concatenate(one) == pytest.approx(np.concatenate(other))


def test_a_gap_begins_anew_and_short_runs_tell_nothing() -> None:
    prices = markets.prices(10)
    before, power = perfect(HOURLY, prices, 0.0)
    rows = decided.logged(HOURLY, prices, before, power)
    runs = list(hindsight.in_order(rows[:100] + rows[101:], DAY))
    assert [len(run) for run in runs] == [100, 139]
    assert len(hindsight.of_window(HOURLY, DAY, rows[:100] + rows[101:]).earned) == 3 + 4
    few = hindsight.of_window(HOURLY, DAY, rows[:47])
    assert len(few.earned) == 0
    assert np.isnan(hindsight.jackknife(hindsight.share_of_optimum, few).value)
    assert np.isnan(hindsight.jackknife(hindsight.over_baseline, Days(*[np.ones(1)] * 3)).value)


def test_a_battery_that_did_something_else_does_not_blame_the_decisions() -> None:
    """Each is judged from the charge that it knew."""
    prices = np.tile([10.0] * 12 + [50.0] * 12, 6)
    before, power = perfect(HOURLY, prices, 0.0)
    rows = decided.logged(HOURLY, prices, before, power)
    for row in rows[72:73]:  # emptied by hand: this hour begins with another charge
        row |= {"charge_after_mwh": 1.0, "power_mw": 1.0}
    found = hindsight.days(HOURLY, DAY, rows)
    assert found.optimum - found.earned == pytest.approx(np.zeros(5))


def test_the_error_is_what_other_days_would_have_changed() -> None:
    """Of 400 draws of 27 days the estimates spread as much as their errors say."""
    generator = np.random.default_rng(0)
    estimates = []
    for _ in range(400):
        best = generator.gamma(2.0, 100.0, 27)
        days = Days(best * generator.beta(8, 2, 27), best, best * 0.6)
        estimates.append(hindsight.jackknife(hindsight.share_of_optimum, days))
    values, errors = np.array(estimates).T
    assert np.mean(errors) == pytest.approx(values.std(), rel=0.15)
    assert (np.abs(values - 0.8) < 2 * errors).mean() > 0.9


@pytest.mark.parametrize(
    ("sums", "value"),
    [
        ((110.0, 200.0, 100.0), 1.1),
        ((90.0, 200.0, 100.0), 0.9),
        ((50.0, 200.0, -30.0), 1.25),  # a plan that loses money counts as none
        ((-50.0, 200.0, -30.0), 0.75),
        ((0.0, 0.0, 0.0), np.nan),
    ],
)
def test_over_the_baseline_by_hand(sums: tuple[float, float, float], value: float) -> None:
    found = hindsight.over_baseline(Days(*map(np.float64, sums)))
    assert found == pytest.approx(value, nan_ok=True)
