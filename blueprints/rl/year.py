"""A battery through the test part: every seed and every controller, their numbers and plots."""

from dataclasses import replace
from typing import Any, NamedTuple

import baselines
import battery as physics
import figures
import market
import numpy as np
import optimum
import pandas as pd
import playing
import scoring
from battery import Battery
from env import EnvParams
from market import PREPARED, Market

from shared import params

Array = np.ndarray
Json = dict[str, Any]
HIGH = {"profit_usd", "share_of_optimum"}


class Test(NamedTuple):
    """The prices of the test in one piece, with local times."""

    history: Market
    battery: Battery
    steps: Array
    prices: Array
    times: pd.DatetimeIndex


def read(env: EnvParams) -> Test:
    history, meta = market.read("test"), params.read_json(PREPARED / "meta.json")
    steps = np.concatenate(history.segments)
    times = history.times[steps].tz_localize("UTC").tz_convert(meta["timezone"])
    battery = physics.build(env.model_dump(), history.step_hours)
    return Test(history, battery, steps, history.prices[steps], times)


def controllers(test: Test) -> dict[str, baselines.Run]:
    """What does not learn, on the same prices."""
    table = pd.read_parquet(PREPARED / "market.parquet")
    hours = (table["hour"].to_numpy(), (table["split"] == "train").to_numpy())
    return baselines.every(test.battery, test.history, hours, test.steps)


def foresight(test: Test) -> Json:
    """The optimum, and by how much its two calculations differ: without a limited ramp, which only
    one of them knows."""
    free = replace(test.battery, ramp_mw=None)
    one, other = (
        program(free, test.prices) for program in (optimum.linear_program, optimum.dynamic_program)
    )
    best = optimum.linear_program(test.battery, test.prices) if test.battery.ramp_mw else one
    return {"optimum": best, "optimum_gap": abs(one - other) / max(abs(one), 1e-9)}


def of_seeds(test: Test, runs: dict[int, playing.Trajectory], baseline: Json) -> Json:
    """Median and worst over seeds of each number, and how far above the baselines they are."""
    best, rows = baseline["optimum"], []
    for run in runs.values():
        row = scoring.of_run(test.battery, run.charge, run.power, run.earned)
        rows.append(row | {"share_of_optimum": row["profit_usd"] / best if best > 0 else 0.0})
    found = scoring.over_seeds(rows, HIGH)
    for name in ("fixed_hours", "replanning"):
        for end in ("", "_worst"):  # a baseline that loses money counts as one that does nothing
            lead = found[f"profit_usd{end}"] - max(baseline[name], 0.0)
            found[f"over_{name}{end}"] = lead / (baseline[name] if baseline[name] > 0 else best)
    found["profit_usd_interval"] = scoring.interval([row["profit_usd"] for row in rows])
    return found


def plot(test: Test, earned: dict[str, Array], run: playing.Trajectory, days: int) -> None:
    """plots/: money over the test, and the days around the liveliest one."""
    figures.money(test.times, earned)
    day = test.history.day
    lively = int(pd.Series(test.prices).rolling(day).std().fillna(0).argmax())
    first = max(0, min(lively - days * day // 2, len(test.prices) - days * day))
    shown = slice(first, first + days * day)
    charge = run.charge[first : shown.stop + 1]
    figure = figures.trajectory(test.times[shown], test.prices[shown], charge, run.power[shown])
    figures.save(figure, "days.png")


def judge(acts: dict[int, playing.Act], env: EnvParams, chosen: int, days: int, seed: int) -> Json:
    """metrics.json of a battery; `chosen` is the seed that will be exported."""
    test = read(env)
    others, runs = controllers(test), {}
    for number, act in acts.items():
        runs[number] = playing.trade(act, test.history, env, test.steps, f"seed {number}")
    baseline = {name: float(run.earned.sum()) for name, run in others.items()} | foresight(test)
    found = of_seeds(test, runs, baseline)
    found |= {"seeds": len(runs), "profit_usd_deployed": float(runs[chosen].earned.sum())}
    mean = np.mean([run.earned for run in runs.values()], axis=0)
    for name in ("replanning", "replanning_moved"):
        lead = scoring.difference_of_weeks(test.times, mean, others[name].earned, seed)
        found[f"lead_over_{name}_interval"] = lead
    earned = {f"policy, seed {number}": run.earned for number, run in runs.items()}
    earned |= {name: run.earned for name, run in others.items() if name != "idle"}
    months = scoring.by_month(test.times, earned)
    plot(test, earned, runs[chosen], days)
    months.to_csv(figures.PLOTS / "months.csv", index=False)
    return {"test": found, "baseline": baseline, "month": months.to_dict("records")}
