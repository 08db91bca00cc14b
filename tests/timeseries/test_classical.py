"""Plain arrays forecast what sktime forecasts, and go on as its formulas would."""

import classical
import model
import numpy as np
import pytest

RANDOM = np.random.default_rng(0)
MONTHS = np.arange(72)
SEASON = 20 * np.sin(MONTHS * np.pi / 6)
SERIES = {
    "season": 100 + SEASON + RANDOM.normal(0, 3, 72),
    "trend and season": 100 + 2 * MONTHS + SEASON + RANDOM.normal(0, 3, 72),
    "zeros": RANDOM.poisson(0.4, 72).astype(float),
    "negative": SEASON + RANDOM.normal(0, 3, 72),
    "short": 100 + RANDOM.normal(0, 3, 20),
    "constant": np.full(48, 7.0),
    "nothing sold": np.zeros(48),
}


@pytest.mark.parametrize("name", model.CLASSICAL)
@pytest.mark.parametrize("kind", SERIES)
def test_the_state_forecasts_what_sktime_forecasts(name: str, kind: str) -> None:
    values = SERIES[kind]
    theirs, state = model.fit(name, values, 12, 30)
    ours = classical.forecast(name, state, 30)[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    assert np.isfinite(theirs).all()


@pytest.mark.parametrize("season_length", [1, 52])
def test_other_season_lengths_agree_too(season_length: int) -> None:
    values = 100 + np.random.default_rng(1).normal(0, 3, 170).cumsum()
    for name in model.CLASSICAL:
        theirs, state = model.fit(name, values, season_length, 60)
        ours = classical.forecast(name, state, 60)[0]
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, err_msg=name)


def test_what_cannot_be_fitted_forecasts_nothing_instead_of_stopping() -> None:
    values = np.array([1.0, 2, np.nan, 3] * 10)
    for name in ("holt_winters", "theta"):
        theirs, state = model.fit(name, values, 4, 5)
        assert np.isnan(theirs).all(), name
        assert np.isnan(classical.forecast(name, state, 5)).all(), name
        later = classical.advance(name, state, np.array([1.0]))
        assert np.isnan(classical.forecast(name, later, 5)).all(), name


def through(name: str, state: classical.State, values: np.ndarray) -> classical.State:
    for value in values:
        state = classical.advance(name, state, np.array([value]))
    return state


def test_holt_winters_goes_on_as_its_own_recursion_from_the_beginning() -> None:
    """From statsmodels' initial state over all values: its final state; then over three more."""
    values = SERIES["trend and season"]
    fitted = model.forecaster("holt_winters", values, 12).fit(model.pd.Series(values), fh=[1])
    inner = fitted._fitted_forecaster
    keys = {"alpha": "smoothing_level", "beta": "smoothing_trend", "gamma": "smoothing_seasonal"}
    keys |= {"phi": "damping_trend", "level": "initial_level", "trend": "initial_trend"}
    state = {key: np.array([inner.params[name]]) for key, name in keys.items()}
    state["season"] = np.asarray(inner.params["initial_seasons"])[None]
    state = through("holt_winters", state, values)
    assert state["level"][0] == pytest.approx(np.asarray(inner.level)[-1])
    assert state["trend"][0] == pytest.approx(np.asarray(inner.trend)[-1])
    np.testing.assert_allclose(state["season"][0], np.asarray(inner.season)[-12:])


def test_croston_goes_on_as_if_it_had_seen_all() -> None:
    values = SERIES["zeros"]
    _, early = model.fit("croston", values[:40], 12, 1)
    whole, _ = model.fit("croston", values, 12, 1)
    later = through("croston", early, values[40:])
    assert classical.forecast("croston", later, 1)[0, 0] == pytest.approx(whole[0])


def test_theta_goes_on_with_its_season_in_the_right_place() -> None:
    values = np.tile(SERIES["season"][:12], 6)
    _, state = model.fit("theta", values[:50], 12, 1)
    later = through("theta", state, values[50:])
    found = classical.forecast("theta", later, 12)[0]
    np.testing.assert_allclose(found, values[:12], rtol=0.02)


@pytest.mark.parametrize("name", ["theta", "croston", "seasonal_naive"])
def test_a_history_alone_gives_the_fitted_model_when_its_parameters_are_known(name: str) -> None:
    values = SERIES["zeros" if name == "croston" else "trend and season"]
    theirs, state = model.fit(name, values, 12, 24)
    given = {key: float(state[key][0]) for key in classical.PARAMETERS.get(name, ())}
    begun = classical.begin(name, values, 12, given)
    np.testing.assert_allclose(classical.forecast(name, begun, 24)[0], theirs, rtol=1e-6)


def test_holt_winters_of_a_history_alone_is_near_the_fitted_model() -> None:
    values = SERIES["trend and season"]
    theirs, state = model.fit("holt_winters", values, 12, 12)
    given = {key: float(state[key][0]) for key in classical.PARAMETERS["holt_winters"]}
    begun = classical.begin("holt_winters", values, 12, given)
    ours = classical.forecast("holt_winters", begun, 12)[0]
    np.testing.assert_allclose(ours, theirs, rtol=0.1)


def test_series_take_in_as_many_new_values_as_each_of_them_has() -> None:
    values = SERIES["season"]
    _, one = model.fit("holt_winters", values[:60], 12, 1)
    both = {key: np.concatenate([part, part]) for key, part in one.items()}
    recent = np.stack([values[::-1][:48], values[:60][::-1][:48]])
    found = classical.updated("holt_winters", both, recent, np.array([12, 0]))
    wanted = through("holt_winters", one, values[60:])
    for key in wanted:
        np.testing.assert_allclose(found[key][0], wanted[key][0])
        np.testing.assert_array_equal(found[key][1], one[key][0])
