"""Splits by time, holes filled from the past, nothing seen of what is to come."""

from pathlib import Path
from typing import Any

import battery as physics
import market
import numpy as np
import pandas as pd
import planning
import prepare
import pytest
import views
from env import EnvParams
from safetensors.numpy import load_file

from rl import markets, stages
from shared import params


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(**changes: Any) -> prepare.PrepareParams:
    values = {"gaps": "day_before", "test_from": None, "test_share": 0.25, "validation_every": 4}
    more = {"block_days": 7, "random_steps": 1000, "seed": 0}
    return prepare.PrepareParams(**(values | more | changes))


def prepared(folder: Path, change: Any = None, **changes: Any) -> tuple[pd.DataFrame, Any]:
    table = stages.history(folder)
    if change:
        change(table)
        table.to_csv(folder / "prices.csv", index=False)
    stages.parameters(folder, ingest={"signals": ["load"]}, **changes)
    stages.run("ingest", "validate", "prepare")
    return pd.read_parquet("data/prepared/market.parquet"), load_file(
        "data/prepared/moments.safetensors"
    )


def test_the_split_is_by_time_with_blocks_for_validation() -> None:
    times = pd.date_range("2024-01-01", periods=100 * 24, freq="h", tz="UTC")
    found = prepare.splits(times, 24, config())
    assert (found[:167] == "start").all() and (found[-600:] == "test").all()
    assert (found[167 : 168 + 21 * 24] == "train").all()
    assert (found[168 + 21 * 24 : 168 + 28 * 24] == "validation").all()
    dated = prepare.splits(times, 24, config(test_from="2024-03-01"))
    assert (dated == "test").sum() == 24 * (100 - 60) and dated[24 * 60] == "test"


@pytest.mark.parametrize(
    ("days", "changes", "name"),
    [
        (20, {}, "validation"),
        (100, {"test_from": "2030-01-01"}, "test"),
        (60, {"block_days": 30}, "validation"),
    ],
)
def test_too_little_of_a_split_is_told(days: int, changes: Any, name: str) -> None:
    times = pd.date_range("2024-01-01", periods=days * 24, freq="h", tz="UTC")
    with pytest.raises(SystemExit, match=f"less than a week is left for {name}"):
        prepare.splits(times, 24, config(**changes))


def test_holes_are_filled_from_what_came_before() -> None:
    values = pd.DataFrame({"price": np.arange(24.0)})
    values.loc[8:19] = np.nan
    day = prepare.fill(values, "day_before", 4)["price"].tolist()
    assert day[8:20] == [4, 5, 6, 7] * 3
    assert prepare.fill(values, "previous", 4)["price"].tolist()[8:20] == [7] * 12
    values.loc[0] = np.nan
    assert prepare.fill(values, "day_before", 4)["price"][0] == 1, "nothing was before"


def test_training_sees_nothing_of_what_comes_after_it(folder: Path) -> None:
    table, arrays = prepared(folder)
    test = (table["split"] == "test").to_numpy()
    first = table["timestamp"][test].iloc[0]

    def other_future(given: pd.DataFrame) -> None:
        late = given["timestamp"].dt.tz_localize(None) >= first
        given.loc[late, ["price", "load"]] = given.loc[late, ["price", "load"]] * 7 + 3

    _, others = prepared(folder, other_future)
    for name in ("fixed", "value", "price", "unit", "hindsight"):
        assert np.array_equal(arrays[name][~test], others[name][~test]), name
    assert not np.array_equal(arrays["price"][test], others["price"][test])
    assert not np.array_equal(arrays["fixed"][test], others["fixed"][test])


def test_what_is_seen_at_a_step_does_not_know_the_next(folder: Path) -> None:
    table, arrays = prepared(folder)
    at = 800
    moment = table["timestamp"][at]

    def from_then_on(given: pd.DataFrame) -> None:
        late = given["timestamp"].dt.tz_localize(None) > moment
        given.loc[late, "price"] *= 0.5

    _, others = prepared(folder, from_then_on)
    both = [(one["fixed"][: at + 1, :-6], one["value"][: at + 1]) for one in (arrays, others)]
    scale = params.read_json("data/prepared/meta.json")["usual_price"]
    assert scale > 0 and both[0][0].shape == both[1][0].shape
    lags = slice(0, 24)
    for one, other in zip(*both, strict=True):
        same = one[167:, lags] if one.ndim == 2 else one[167:]
        assert same == pytest.approx(other[167:, lags] if other.ndim == 2 else other[167:])


def test_hindsight_knows_its_own_segment_and_no_more(folder: Path) -> None:
    table, arrays = prepared(folder)
    env = EnvParams(**markets.ENV)
    battery = physics.build(env.model_dump(), 1.0)
    for name in ("train", "validation"):
        for segment in market.segments(table["split"].to_numpy(), name):
            path = planning.path(battery, table["price"].to_numpy()[segment])
            assert arrays["hindsight"][segment] == pytest.approx(path[:-1])
    assert not arrays["hindsight"][(table["split"] == "test").to_numpy()].any()


def test_two_runs_write_the_same_bytes(folder: Path) -> None:
    prepared(folder)
    files = [*Path("data/prepared").iterdir(), Path("reports/reference.json")]
    before = {path: path.read_bytes() for path in files}
    stages.run("prepare")
    assert {path: path.read_bytes() for path in files} == before
    names = {path.name for path in files}
    assert {"market.parquet", "moments.safetensors", "scales.json", "meta.json"} <= names


def test_an_environment_without_prices_is_scaled_by_random_play(folder: Path) -> None:
    stages.parameters(folder, env={"id": "CartPole-v1"})
    stages.run("ingest", "validate", "prepare")
    scales = params.read_json("data/prepared/scales.json")
    assert len(scales["mean"]) == 4 and all(value > 0 for value in scales["deviation"])
    assert params.read_json("data/prepared/meta.json") == {"env": "CartPole-v1"}


def test_shares_and_dates_are_of_local_time() -> None:
    times = pd.date_range("2024-01-01", periods=100 * 48, freq="30min", tz="Europe/Berlin")
    shared = prepare.splits(times, 48, config(test_share=0.3))
    assert (shared == "test").sum() == 30 * 48 and (shared == "start").sum() == 7 * 48 - 1
    dated = prepare.splits(times, 48, config(test_from="2024-03-20"))
    assert times[dated == "test"][0] == pd.Timestamp("2024-03-20", tz="Europe/Berlin")
    evening = prepare.splits(times, 48, config(test_from="2024-03-20 18:30"))
    assert times[evening == "test"][0].hour == 18


@pytest.mark.parametrize(("every", "days"), [(2, 7), (3, 14), (4, 7)])
def test_every_so_manyth_block_before_the_test_is_for_validation(every: int, days: int) -> None:
    times = pd.date_range("2024-01-01", periods=200 * 24, freq="h", tz="UTC")
    given = {"validation_every": every, "block_days": days, "test_share": 0.4}
    found = prepare.splits(times, 24, config(**given))
    for number, segment in enumerate(market.segments(found, "validation")):
        first = 7 * 24 + ((number + 1) * every - 1) * days * 24
        assert segment[0] == first and len(segment) in (days * 24, 120 * 24 - first)
    parts = {name: np.flatnonzero(found == name) for name in np.unique(found)}
    assert sum(map(len, parts.values())) == len(times)
    assert max(parts["train"].max(), parts["validation"].max()) < parts["test"].min()


def test_the_holes_of_a_fill_are_all_that_changes() -> None:
    generator = np.random.default_rng(0)
    values = pd.DataFrame(generator.normal(size=(240, 2)), columns=["price", "load"])
    holes = generator.random((240, 2)) < 0.3
    given = values.mask(holes)
    for policy in ("day_before", "previous"):
        filled = prepare.fill(given, policy, 24)
        assert np.array_equal(filled.to_numpy()[~holes], values.to_numpy()[~holes])
        assert filled.notna().all(axis=None) and given.isna().to_numpy().sum() == holes.sum()


@pytest.mark.parametrize("policy", ["day_before", "previous"])
def test_a_hole_is_not_filled_from_what_comes_after_it(policy: str) -> None:
    values = pd.DataFrame({"price": np.arange(96.0)})
    values.loc[30:75] = np.nan
    other = values.copy()
    other.loc[76:] = -1e6
    one, two = (prepare.fill(table, policy, 24)["price"][:76] for table in (values, other))
    assert one.equals(two) and one.notna().all()


def changed(given: pd.DataFrame, moments: pd.Series) -> None:
    here = given["timestamp"].dt.tz_localize(None).isin(moments)
    given.loc[here, ["price", "load"]] = given.loc[here, ["price", "load"]] * 5 + 11


@pytest.mark.parametrize("split", ["validation", "test"])
def test_other_parts_change_nothing_that_training_earns_or_scales_with(
    folder: Path, split: str
) -> None:
    table, arrays = prepared(folder)
    meta = params.read_json("data/prepared/meta.json")
    train, moments = (table["split"] == "train").to_numpy(), table["timestamp"]
    of_split = moments[table["split"] == split]
    other, others = prepared(folder, lambda given: changed(given, of_split))
    assert params.read_json("data/prepared/meta.json") == meta
    assert other["price"][train].equals(table["price"][train])
    for name in ("hindsight", "price"):
        assert np.array_equal(arrays[name][train], others[name][train]), name
    assert not other["price"][~train].equals(table["price"][~train])


def test_signals_are_scaled_by_training_alone(folder: Path) -> None:
    table, _ = prepared(folder)
    train = table[table["split"] == "train"]
    meta = params.read_json("data/prepared/meta.json")
    (scale,) = meta["scales"]
    assert scale["name"] == "load"
    assert scale["mean"] == pytest.approx(train["load"].mean(), rel=1e-5)
    assert scale["deviation"] == pytest.approx(train["load"].std(), rel=1e-5)
    assert meta["usual_price"] == pytest.approx(train["price"].abs().median(), rel=1e-5)
    assert scale["mean"] != pytest.approx(table["load"].mean(), rel=1e-5)


def test_a_signal_that_never_changes_has_a_scale() -> None:
    table = pd.DataFrame({"load": np.full(10, 3.0)})
    (scale,) = prepare.scale_signals(table, ["load"], np.ones(10, bool))
    assert scale == {"name": "load", "mean": 3.0, "deviation": 1e-9}


@pytest.mark.parametrize("day", [24, 48])
def test_nothing_seen_at_a_step_depends_on_a_later_one(day: int) -> None:
    generator, number = np.random.default_rng(0), 12 * day
    table = pd.DataFrame({"price": markets.prices(12, day), "load": generator.normal(size=number)})
    table["hour"], table["weekend"] = np.arange(number) % day * 24 / day, 0.0
    scales = [{"name": "load", "mean": 0.0, "deviation": 1.0}]
    meta = {"day": day, "signals": ["load"], "scales": scales, "usual_price": 40.0}
    battery = physics.build(markets.ENV, 24 / day)
    found = views.seen(table, battery, meta)
    for at in (7 * day - 1, 8 * day, number - 2):
        later = table.copy()
        later.loc[at + 1 :, ["price", "load"]] = 1e4 * generator.normal(size=(number - at - 1, 2))
        others = views.seen(later, battery, meta)
        for name, one, other in zip(found._fields, found, others, strict=True):
            assert np.array_equal(one[: at + 1], other[: at + 1]), name
        assert not np.array_equal(found.fixed[at + 1 :], others.fixed[at + 1 :])


def test_long_histories_are_seen_as_short_ones() -> None:
    table = pd.DataFrame({"price": markets.prices(20), "hour": 5.0, "weekend": 0.0})
    meta = {"day": 24, "signals": [], "scales": [], "usual_price": 40.0}
    battery = physics.build(markets.ENV, 1.0)
    whole, chunk = views.seen(table, battery, meta), views.CHUNK
    try:
        views.CHUNK = 50
        parts = views.seen(table, battery, meta)
    finally:
        views.CHUNK = chunk
    for one, other in zip(whole, parts, strict=True):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-6) and len(one) == 480
        assert not one[: 7 * 24 - 1].any()


def test_hindsight_ends_with_its_segment_however_good_the_next_price_is() -> None:
    battery, prices = physics.build(markets.ENV, 1.0), np.full(40, 10.0)
    prices[20:] = 1e6
    split = np.array(["train"] * 20 + ["validation"] * 10 + ["test"] * 10, object)
    found = views.hindsight(prices, split, battery)
    assert found[19].tolist() == pytest.approx([0, 9, 9, 9, 9]), "one step, one MWh less losses"
    assert found[16].tolist() == pytest.approx([0, 9, 18, 27, 36])
    assert found[0].max() == pytest.approx(36) and not found[30:].any()


def test_hours_and_weekends_are_local(folder: Path) -> None:
    table, arrays = prepared(folder)
    local = table["timestamp"].dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")
    assert table["hour"].tolist() == local.dt.hour.tolist()
    assert table["weekend"].tolist() == (local.dt.dayofweek >= 5).astype(float).tolist()
    assert not table[["price", "load"]].isna().any(axis=None)
    assert {len(values) for values in arrays.values()} == {len(table)} == {70 * 24}
    assert arrays["price"][167:].tolist() == table["price"][167:].tolist()


def test_the_market_is_read_as_it_was_written(folder: Path) -> None:
    table, arrays = prepared(folder)
    for name in ("train", "validation", "test"):
        found = market.read(name)
        steps = np.concatenate(found.segments)
        assert np.array_equal(steps, np.flatnonzero(table["split"] == name))
        assert (found.day, found.step_hours, found.signals) == (24, 1.0, 1)
    assert np.array_equal(found.hindsight, arrays["hindsight"])


def test_another_environment_leaves_nothing_of_the_battery_and_repeats_itself(folder: Path) -> None:
    prepared(folder)
    stages.parameters(folder, env={"id": "CartPole-v1"})
    stages.run("ingest", "validate", "prepare")
    files = [*sorted(Path("data/prepared").iterdir()), Path("reports/reference.json")]
    assert [path.name for path in files] == ["meta.json", "scales.json", "reference.json"]
    before = [path.read_bytes() for path in files]
    stages.run("prepare")
    assert [path.read_bytes() for path in files] == before


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"gaps": "linear"}, "prepare.gaps: Input should be 'day_before' or 'previous'"),
        ({"test_share": 1.0}, "prepare.test_share: Input should be less than 1"),
        ({"validation_every": 1}, "prepare.validation_every: Input should be greater than"),
        ({"random_steps": 10}, "prepare.random_steps: Input should be greater than"),
    ],
)
def test_a_mistake_in_the_parameters_is_named(
    folder: Path, change: dict[str, Any], line: str
) -> None:
    stages.parameters(folder, prepare=change)
    with pytest.raises(SystemExit, match=f"params.yaml: {line}"):
        stages.run("prepare")


@pytest.mark.parametrize("text", ["soon", "2024-13-01", "2024-03-01T00:00Z"])
def test_a_test_that_begins_at_no_local_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="test_from"):
        config(test_from=text)


def test_a_test_may_begin_where_clocks_change() -> None:
    times = pd.date_range("2024-01-01", periods=140 * 24, freq="h", tz="Europe/Berlin")
    found = prepare.splits(times, 24, config(test_from="2024-03-31 02:30"))
    assert times[found == "test"][0] == pd.Timestamp("2024-03-31 03:00", tz="Europe/Berlin")


@pytest.mark.parametrize(("freq", "day"), [("5min", 288), ("20min", 72)])
def test_short_steps_go_through(folder: Path, freq: str, day: int) -> None:
    times = pd.date_range("2024-03-01", periods=50 * day, freq=freq, tz="UTC")
    table = pd.DataFrame({"timestamp": times, "price": markets.prices(50, day)})
    table.to_csv(folder / "prices.csv", index=False)
    stages.parameters(folder, prepare={"test_share": 0.2, "block_days": 7})
    stages.run("ingest", "validate", "prepare")
    assert params.read_json("reports/validation.json")["checks"]["irregular"] == 0
    assert market.read("train").step_hours == 24 / day
    battery = physics.build(markets.PHYSICAL, market.read("train").step_hours)
    assert planning.levels(battery) == 4 * day // 24
