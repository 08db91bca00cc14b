"""Plain arrays forecast what sktime forecasts, and go on as its formulas would."""

import classical
import model
import numpy as np
import pytest
import single

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


@pytest.mark.parametrize("new", [1, 5, 11, 12, 13, 30])
def test_holt_winters_takes_in_new_values_as_a_model_of_all_of_them(new: int) -> None:
    """As statsmodels with the same parameters, also at the place whose season it last updated."""
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    season = 20 * np.random.default_rng(3).normal(0, 1, (8, 12)).cumsum(axis=0)
    values = 500 + season.ravel() + np.random.default_rng(4).normal(0, 2, 96)
    fitted = model.forecaster("holt_winters", values[:60], 12).set_config(remember_data=False)
    inner = fitted.fit(model.pd.Series(values[:60]), fh=[1])._fitted_forecaster.params
    _, state = model.fit("holt_winters", values[:60], 12, 1)
    assert state["gamma"][0] > 0.05, "a season that moves"
    names = {"level": "initial_level", "trend": "initial_trend", "seasonal": "initial_seasons"}
    begun = {f"initial_{name}": inner[key] for name, key in names.items()}
    whole = ExponentialSmoothing(
        values[: 60 + new],
        trend="add",
        damped_trend=True,
        seasonal="add",
        seasonal_periods=12,
        initialization_method="known",
        **begun,
    )
    fixed = ["smoothing_level", "smoothing_trend", "smoothing_seasonal", "damping_trend"]
    theirs = whole.fit(optimized=False, **{key: inner[key] for key in fixed}).forecast(30)
    later = through("holt_winters", state, values[60 : 60 + new])
    np.testing.assert_allclose(classical.forecast("holt_winters", later, 30)[0], theirs, rtol=1e-6)


@pytest.mark.parametrize("kind", ["season", "negative"])
def test_theta_takes_in_new_values_as_smoothing_of_all_of_them(kind: str) -> None:
    """As statsmodels' simple smoothing of the values without the season that was found first."""
    from statsmodels.tsa.holtwinters import SimpleExpSmoothing

    values = SERIES[kind]
    fitted = model.forecaster("theta", values[:50], 12).set_config(remember_data=True)
    inner = fitted.fit(model.pd.Series(values[:50]), fh=[1])._fitted_forecaster.params
    _, state = model.fit("theta", values[:50], 12, 1)
    product = state["multiplied"][0] > 0
    assert product == (kind == "season")
    whole = np.resize(np.roll(state["season"][0], 50 % 12), 72 + 20)
    plain = values / whole[:72] if product else values - whole[:72]
    smooth = SimpleExpSmoothing(
        plain, initialization_method="known", initial_level=inner["initial_level"]
    )
    alpha = inner["smoothing_level"]
    level = smooth.fit(smoothing_level=alpha, optimized=False).forecast(20)
    line = level + state["trend"] * (np.arange(1, 21) + (1 - (1 - alpha) ** 72) / alpha)
    wanted = line * whole[72:] if product else line + whole[72:]
    found = classical.forecast("theta", through("theta", state, values[50:]), 20)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("zeros", [1, 40])
def test_the_first_demand_of_all_begins_croston_anew(zeros: int) -> None:
    values = np.r_[np.zeros(zeros), 5, 0, 0, 3.0]
    _, early = model.fit("croston", values[:zeros], 12, 1)
    for until in range(zeros + 1, len(values) + 1):
        whole, _ = model.fit("croston", values[:until], 12, 1)
        later = through("croston", early, values[zeros:until])
        assert classical.forecast("croston", later, 1)[0, 0] == pytest.approx(whole[0])


@pytest.mark.parametrize("season_length", [1, 3, 4, 12])
@pytest.mark.parametrize("product", [True, False])
def test_the_pattern_of_a_season_is_that_of_sktime(season_length: int, product: bool) -> None:
    from sktime.transformations.detrend import Deseasonalizer

    values = np.random.default_rng(5).gamma(5, 10, 41)
    kind = "multiplicative" if product else "additive"
    if season_length == 1:
        assert single.seasonal_means(values, 1, product) == [float(product)]
        return
    theirs = Deseasonalizer(sp=season_length, model=kind).fit(model.pd.Series(values)).seasonal_
    found = single.seasonal_means(values, season_length, product)
    np.testing.assert_allclose(found, theirs, rtol=1e-12)


def test_more_new_values_than_are_remembered_leave_the_season_in_its_place() -> None:
    values = np.tile(SERIES["season"][:12], 12)
    for name in ("seasonal_naive", "holt_winters", "theta"):
        _, state = model.fit(name, values[:72], 12, 1)
        for new in (47, 48, 49, 55, 60):
            recent = values[: 72 + new][::-1][None, :48]
            later = classical.updated(name, state, recent, np.array([new]))
            found = classical.forecast(name, later, 12)[0]
            wanted = values[72 + new : 84 + new]
            np.testing.assert_allclose(found, wanted, rtol=0.03, err_msg=f"{name} {new}")


@pytest.mark.parametrize("name", ["holt_winters", "theta", "croston"])
@pytest.mark.parametrize("steps", [0, 1, 3, 4, 30])
def test_plain_floats_go_through_a_history_as_arrays_do(name: str, steps: int) -> None:
    generator = np.random.default_rng(steps)
    history = generator.poisson(1.2, 24) + generator.uniform(0.5, 1, 24) * (name != "croston")
    given = {"alpha": 0.3, "beta": 0.2, "gamma": 0.1, "phi": 0.9}
    known = {key: given[key] for key in classical.PARAMETERS.get(name, ())}
    state = classical.begin(name, history.astype(float), 4, known)
    values = generator.poisson(1.2, steps) + generator.uniform(0, 1, steps) * (name != "croston")
    expected = state
    for value in values:
        expected = classical.advance(name, expected, np.array([value]))
    found = single.through(name, state, values)
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-12), key


def test_a_forecast_moves_only_where_the_series_does_and_above_zero_where_it_is() -> None:
    nan = float("nan")
    recent = np.array([[4.0, 4, 4, nan], [0, 0, 0, 0], [3, 5, 3, 5]])
    given = {"a": np.array([[9.0, nan], [1, -1], [-2, 6]]), "b": np.ones((3, 2))}
    found = classical.finished(given, recent, False, ["a", "b"])
    assert found["a"].tolist() == [[4, 4], [0, 0], [0, 6]]
    assert found["combination"].tolist() == [[4, 4], [0, 0], [0.5, 3.5]]
    found = classical.finished(given, recent, True, [])
    assert found["a"][2].tolist() == [-2, 6] and set(found) == {"a", "b"}
