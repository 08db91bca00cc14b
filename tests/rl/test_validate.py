"""What can be wrong with prices, and with an environment; each stop names its parameter."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import checks
import gymnasium
import numpy as np
import pandas as pd
import playable
import pytest
import validate

from rl import markets, stages
from shared import params

META = {"signals": [], "day": 24, "timezone": "Europe/Berlin"}


def config(**changes: Any) -> validate.ValidateParams:
    values = {"max_problem_share": 0.01, "max_gap_share": 0.02, "max_gap_hours": 72}
    values |= {"min_days": 10, "spike_deviations": 20, "stuck_hours": 12, "max_leakage": 0.9}
    return validate.ValidateParams(**(values | {"random_episodes": 5, "listed": 3} | changes))


def history(days: int = 30) -> pd.DataFrame:
    times = pd.date_range("2024-03-15", periods=days * 24, freq="h")
    return pd.DataFrame({"timestamp": times, "price": markets.prices(days), "problem": ""})


def examined(table: pd.DataFrame, meta: Any = META, **changes: Any) -> tuple[Any, pd.DataFrame]:
    return validate.examine(table.reset_index(drop=True), config(**changes), meta)


def test_a_good_history_has_nothing_but_its_change_of_clocks() -> None:
    report, grid = examined(history())
    assert report["stops"] == [] and len(grid) == 720
    found = {name: count for name, count in report["checks"].items() if count}
    assert set(found) <= {"spikes", "clock_changes"} and found["clock_changes"] == 1
    assert report["findings"]["clock_changes"]["timestamps"] == ["2024-03-30T23:00:00"]


def test_repeated_conflicting_and_irregular_rows_are_left_out() -> None:
    table = history()
    again, other = table.iloc[[5]], table.iloc[[9]].assign(price=1e3)
    off = table.iloc[[20]].assign(timestamp=table["timestamp"][20] + pd.Timedelta(minutes=7))
    report, grid = examined(
        pd.concat([table, again, other, off]).sort_values("timestamp"), max_problem_share=1
    )
    counts = report["checks"]
    assert (counts["repeated"], counts["conflicting"], counts["irregular"]) == (1, 2, 1)
    assert counts["gaps"] == 1 and np.isnan(grid["price"][9]) and len(grid) == 720


def test_gaps_spikes_negatives_and_a_stuck_feed_are_listed_and_kept() -> None:
    table = history()
    table.loc[100, "price"], table.loc[200, "price"] = 9e3, -5.0
    table.loc[300:320, "price"] = 33.0
    report, grid = examined(table.drop(index=[50, 51, 52, 400]))
    counts = report["checks"]
    assert counts["gaps"] == 4 and report["longest_gap_hours"] == 3
    assert counts["negative"] == 1 and counts["stuck"] == 21
    assert grid["price"].max() == 9e3 and grid["price"].min() == -5
    assert "2024-03-19T04:00:00" in report["findings"]["spikes"]["timestamps"]


def test_rows_that_ingest_could_not_read_count() -> None:
    table = history()
    table.loc[:30, "problem"], table.loc[:30, "price"] = "price: is no number", np.nan
    report, _ = examined(table)
    assert report["checks"]["unreadable"] == 31
    assert report["findings"]["unreadable"]["detail"] == "price: is no number"
    assert any("problem_share 0.043 above validate.max_problem_share" in x for x in report["stops"])


@pytest.mark.parametrize(
    ("dropped", "changes", "stop"),
    [
        (range(100, 200), {}, "gap_share 0.139 above validate.max_gap_share"),
        (range(100, 110), {"max_gap_hours": 9}, "longest_gap_hours 10.000 above validate.max_gap"),
        ([], {"min_days": 31}, "30.0 days are below validate.min_days"),
    ],
)
def test_each_stop_names_its_parameter(dropped: Any, changes: Any, stop: str) -> None:
    report, _ = examined(history().drop(index=list(dropped)), **changes)
    assert any(stop in line for line in report["stops"]), report["stops"]


def test_a_signal_that_knows_the_next_price_stops_and_an_honest_one_does_not() -> None:
    table = history()
    generator = np.random.default_rng(0)
    table["next"] = table["price"].shift(-1).ffill()
    table["load"] = table["price"] * 2 + generator.normal(0, 5, len(table))
    report, _ = examined(table, META | {"signals": ["next", "load"]})
    assert len(report["stops"]) == 1 and "signal next" in report["stops"][0]
    assert report["leakage"]["next"] > 0.95 > 0.7 > report["leakage"]["load"]


def test_rows_that_all_contradict_each_other_are_told() -> None:
    table = history(2)
    twice = pd.concat([table, table.assign(price=0.5)]).sort_values("timestamp")
    with pytest.raises(SystemExit, match=r"fewer than two of 96 rows are usable: .*96 conflicting"):
        examined(twice)


def test_the_longest_run_of_nothing() -> None:
    assert checks.longest_run(np.zeros(5, bool)) == 0
    assert checks.longest_run(np.array([1, 0, 1, 1, 0, 1, 1, 1], bool)) == 3


class Game(gymnasium.Env[Any, Any]):
    observation_space: Any = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space: Any = gymnasium.spaces.Discrete(2)
    noise = False

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        generator = np.random.default_rng() if self.noise else self.np_random
        self.state = generator.uniform(-1, 1, 2).astype(np.float32)
        return self.state, {}

    def step(self, action: Any) -> Any:
        return self.state.copy(), float(self.state[0]), True, False, {}


@contextmanager
def registered(game: type[Game]) -> Iterator[str]:
    """The id under which gymnasium knows the game meanwhile."""
    name = f"{game.__name__}-v0"
    gymnasium.register(name, entry_point=lambda **_: game())
    try:
        yield name
    finally:
        del gymnasium.registry[name]


class Noisy(Game):
    noise = True


class Picture(Game):
    observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)


class Beyond(Game):
    observation_space = gymnasium.spaces.Box(5, 6, (2,), np.float32)


@pytest.mark.parametrize("game", [Game, Noisy, Picture, Beyond])
def test_an_environment_is_played_or_told_what_is_wrong(game: type[Game]) -> None:
    with registered(game) as name:
        report, table = playable.examine(name, 5)
    wrong = " ".join(report["stops"])
    expected = {Game: "", Noisy: "check_env", Picture: "no list of numbers", Beyond: "check_env"}
    assert expected[game] in wrong and bool(wrong) == bool(expected[game])
    assert len(table) == (5 if game is Game else 0)


class Fails(Game):
    def step(self, action: Any) -> Any:
        raise RuntimeError("no step today")


class Nothing(Game):
    def step(self, action: Any) -> Any:
        return self.state.copy(), float("nan"), True, False, {}


@pytest.mark.parametrize(
    ("game", "why"), [(Fails, "no step today"), (Nothing, "not finite|not equivalent")]
)
def test_an_environment_that_fails_or_pays_nothing_finite_stops(game: type[Game], why: str) -> None:
    with registered(game) as name:
        report, table = playable.examine(name, 5)
    assert re.search(why, " ".join(report["stops"])) and table.empty


@pytest.mark.parametrize("name", ["x:y:z", ":CartPole-v1", "CartPole-v1:"])
def test_an_id_that_is_none_names_the_parameter(name: str) -> None:
    with pytest.raises(SystemExit, match=r"params.yaml: env.id"):
        playable.make(name)


def test_a_signal_that_never_moves_tells_nothing() -> None:
    table = history().assign(still=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checks.leakage(table, ["still"])["still"] < 0.9


def test_a_known_game_is_good_and_an_unknown_one_names_the_parameter() -> None:
    report, table = playable.examine("CartPole-v1", 20)
    assert report["stops"] == [] and len(table) == 20 and 10 < report["random_return"] < 60
    with pytest.raises(SystemExit, match=r"params.yaml: env.id: NoSuch-v0"):
        playable.make("NoSuch-v0")
    with pytest.raises(SystemExit, match=r"env.id: no_such_module:Game-v0"):
        playable.make("no_such_module:Game-v0")


class Stray(Game):
    """Episodes whose length nothing repeats, after more steps than gymnasium tries."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.left = int(np.random.default_rng().integers(10, 10_000))
        return super().reset(seed=seed)

    def step(self, action: Any) -> Any:
        self.left -= 1
        return self.state.copy(), 1.0, self.left == 0, False, {}


class Named(Game):
    observation_space = gymnasium.spaces.Dict({"x": gymnasium.spaces.Box(-1, 1, (2,), np.float32)})


class Pair(Game):
    action_space = gymnasium.spaces.MultiDiscrete([2, 3])


class Moving(Game):
    action_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)


@pytest.mark.parametrize(
    ("game", "reason"),
    [
        (Stray, "two episodes of the same seed differ"),
        (Named, "observations Dict.* are no list of numbers"),
        (Pair, r"actions MultiDiscrete.* are neither Discrete nor a flat Box"),
        (Moving, "^$"),
    ],
)
def test_what_policies_cannot_play_is_told(game: type[Game], reason: str) -> None:
    with registered(game) as name:
        report, _ = playable.examine(name, 2)
    assert len(report["stops"]) <= 1
    assert re.search(reason, "".join(report["stops"])), report["stops"]


def test_random_play_is_the_same_each_time() -> None:
    one, other = (playable.examine("CartPole-v1", 10) for _ in range(2))
    assert one[0] == other[0] and one[1].equals(other[1]) and one[1]["length"].nunique() > 3


def test_the_grid_has_every_step_and_no_price_that_is_not_given() -> None:
    times = pd.to_datetime(["2024-01-01 00:15", "2024-01-01 00:45", "2024-01-01 02:15"])
    grid = checks.on_grid(pd.DataFrame({"timestamp": times, "price": [1.0, 2.0, 3.0]}), 48)
    wanted = pd.date_range("2024-01-01 00:15", periods=5, freq="30min").tolist()
    assert grid["timestamp"].tolist() == wanted
    assert grid["price"].fillna(-1).tolist() == [1, 2, -1, -1, 3]


def test_rows_of_the_same_moment_are_repeated_if_equal_and_conflicting_if_not() -> None:
    table = history()
    again = pd.concat([table.iloc[[5, 5]], table.iloc[[9, 9]].assign(price=[1.0, 2.0])])
    usable, left = checks.usable_rows(pd.concat([table, again]), 24)
    assert left["repeated"]["timestamp"].tolist() == [table["timestamp"][5]] * 2
    assert left["conflicting"]["timestamp"].tolist() == [table["timestamp"][9]] * 3
    assert len(usable) == 719 and table["timestamp"][5] in set(usable["timestamp"])


def test_signals_that_differ_conflict_too() -> None:
    table = history().assign(load=1.0)
    other = table.iloc[[7]].assign(load=2.0)
    report, grid = examined(
        pd.concat([table, other]).sort_values("timestamp"), META | {"signals": ["load"]}
    )
    assert report["checks"]["conflicting"] == 2 and np.isnan(grid["price"][7])


def test_the_first_row_may_be_the_one_off_the_grid() -> None:
    table = history()
    table.loc[0, "timestamp"] -= pd.Timedelta(minutes=11)
    usable, left = checks.usable_rows(table, 24)
    assert left["irregular"]["price"].tolist() == [table["price"][0]] and len(usable) == 719


@pytest.mark.parametrize(("day", "freq"), [(288, "5min"), (96, "15min"), (48, "30min"), (24, "h")])
def test_a_day_of_25_hours_is_found_in_its_zone_only(day: int, freq: str) -> None:
    times = pd.Series(pd.date_range("2024-10-20", "2024-11-01", freq=freq))
    found = checks.clock_changes(times, "Europe/Berlin", day)
    assert found.tolist() == [pd.Timestamp("2024-10-26 22:00")]
    assert len(checks.clock_changes(times, "UTC", day)) == 0
    assert len(checks.clock_changes(times, "America/Chicago", day)) == 0


HALF = "Australia/Lord_Howe"  # changes its clocks by half an hour
STOPPED = [(2, "Europe/Berlin"), (6, "America/Chicago"), (1, HALF)]
GOOD = [(1, "Europe/Berlin"), (0.5, HALF), (1 / 3, "America/Chicago"), (4, "Etc/GMT+6"), (6, "UTC")]


@pytest.mark.parametrize(("hours", "zone"), STOPPED + GOOD)
def test_clocks_that_change_by_less_than_a_step_stop(hours: float, zone: str) -> None:
    day = round(24 / hours)  # the data end before the change
    times = pd.date_range("2024-01-01", periods=20 * day, freq=pd.Timedelta(days=1) / day)
    table = pd.DataFrame({"timestamp": times, "price": markets.prices(20, day), "problem": ""})
    found = examined(table, META | {"day": day, "timezone": zone})[0]["stops"]
    assert len(found) == ((hours, zone) in STOPPED)
    assert all(f"in {zone} change" in stop and "ingest.timezone to UTC" in stop for stop in found)


def test_a_feed_is_stuck_from_the_length_that_is_given_on_and_gaps_are_not() -> None:
    prices = np.array([1.0, 2, 2, 2, 3, 3, *[np.nan] * 5, 2, 2, 2, 2])
    assert np.flatnonzero(checks.stuck(prices, 3)).tolist() == [1, 2, 3, 11, 12, 13, 14]
    assert np.flatnonzero(checks.stuck(prices, 4)).tolist() == [11, 12, 13, 14]
    assert not checks.stuck(prices, 5).any()
    report, _ = examined(history().assign(price=5.0), stuck_hours=12)
    assert report["checks"]["stuck"] == 720 and report["stops"] == []


def test_spikes_are_measured_in_robust_deviations() -> None:
    prices = np.concatenate([np.arange(101.0), [50 + 25 * 1.4826 * 20, 1e4, -1e4, np.nan]])
    assert checks.spikes(prices, 20)[101:].tolist() == [False, True, True, False]
    assert not checks.spikes(np.full(50, 3.0), 20).any()


def test_no_more_moments_are_listed_than_asked_for() -> None:
    table = history()
    table.loc[10:19, "price"] = -1.0 - np.arange(10)
    for listed, shown in ((0, 0), (4, 4), (50, 10)):
        found = examined(table, listed=listed)[0]["findings"]["negative"]
        assert found["count"] == 10 and len(found["timestamps"]) == shown


@pytest.mark.parametrize("kind", ["next", "change", "scaled"])
def test_a_leak_is_found_in_whatever_form_it_has(kind: str) -> None:
    table = history()
    following = table["price"].shift(-1).ffill()
    forms = {"next": following, "change": following - table["price"], "scaled": 2 * following + 9}
    table["hint"] = forms[kind]
    report, _ = examined(table, META | {"signals": ["hint"]})
    assert "signal hint tells" in "".join(report["stops"]), report["leakage"]


def test_yesterday_and_what_never_changes_are_honest() -> None:
    table = history()
    table["old"], table["fixed"] = table["price"].shift(24).bfill(), 1.0
    report, _ = examined(table, META | {"signals": ["old", "fixed"]})
    assert report["stops"] == [] and max(report["leakage"].values()) < 0.7


def test_a_row_that_claims_to_be_good_and_is_not_stops() -> None:
    table = history()
    table.loc[3, "price"] = np.inf
    with pytest.raises(SystemExit, match=r"validate: column price: .*finite"):
        examined(table)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_stage_writes_its_files_also_when_it_stops(folder: Path) -> None:
    stages.history(folder)
    stages.parameters(folder, ingest={"signals": ["load"]}, validate={"max_gap_hours": 2})
    with pytest.raises(SystemExit, match=r"validate: longest_gap_hours 3\.000 above validate.max_"):
        stages.run("ingest", "validate")
    checked = pd.read_parquet("data/checked.parquet")
    assert list(checked) == ["timestamp", "price", "load"] and checked["price"].isna().sum() == 3
    first = params.read_json("reports/validation.json")
    assert first["stops"] and first["checks"]["gaps"] == 3
    stages.parameters(folder, ingest={"signals": ["load"]})
    stages.run("validate")
    assert params.read_json("reports/validation.json") == first | {"stops": []}


def test_the_stage_plays_an_environment_without_prices(folder: Path) -> None:
    stages.parameters(folder, env={"id": "CartPole-v1"}, validate={"random_episodes": 7})
    stages.run("ingest", "validate")
    checked = pd.read_parquet("data/checked.parquet")
    assert list(checked) == ["episode", "return", "length"] and len(checked) == 7
    report = params.read_json("reports/validation.json")
    assert report["env"] == "CartPole-v1" and report["stops"] == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"max_gap_share": 1.1}, "validate.max_gap_share: Input should be less than or equal to 1"),
        ({"min_days": -1}, "validate.min_days: Input should be greater than 0"),
        ({"spikes": 3}, "validate.spikes: unknown key"),
    ],
)
def test_a_mistake_in_the_parameters_is_named(
    folder: Path, change: dict[str, Any], line: str
) -> None:
    stages.parameters(folder, validate=change)
    with pytest.raises(SystemExit, match=line):
        params.read("validate", validate.ValidateParams)
