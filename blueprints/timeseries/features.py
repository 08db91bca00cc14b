"""Features of a series at a moment: one code for training, feature store, batch and service.

`origins` says what is known at a moment and goes into the feature store; `rows` turns that into one
row per step to forecast. Values are compared on a logarithmic scale (`squash`), as differences to a
base: the level of the last season plus the usual pattern of the season. Needs numpy only.
"""

import numpy as np

SEASONS = 4  # seasons of the recent past that a moment remembers
Array = np.ndarray


def squash(values: Array) -> Array:
    """Logarithm of one plus the size, with the sign kept: any value has one."""
    return np.sign(values) * np.log1p(np.abs(values))


def unsquash(values: Array) -> Array:
    return np.sign(values) * np.expm1(np.abs(values))


def origins(values: Array, season_length: int, lengths: Array) -> dict[str, Array]:
    """What is known of one series after its first `lengths` [n] values.

    values: [t] without gaps. Gives `recent` [n, SEASONS * season_length], newest first, NaN where
    the series had not begun, and scalars [n] that people and monitors read.
    """
    window = SEASONS * season_length
    padded = np.concatenate([np.full(window, np.nan), np.asarray(values, float)])
    recent = np.lib.stride_tricks.sliding_window_view(padded, window)[lengths][:, ::-1]
    season, change = recent[:, :season_length], recent - np.roll(recent, -season_length, axis=1)
    return {
        "recent": recent,
        "observations": np.asarray(lengths, np.int64),
        "level": season.mean(axis=1),
        "change": change[:, :season_length].mean(axis=1),
        "spread": season.std(axis=1),
    }


def scale(recent: Array, season_length: int) -> Array:
    """[n] mean size of the change from season to season: the unit of errors and intervals."""
    change = np.abs(recent[:, :-season_length] - recent[:, season_length:])
    known = np.isfinite(change)
    mean = np.where(known, change, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    flat = np.maximum(np.abs(np.nan_to_num(recent)).max(axis=1) * 1e-3, 1e-9)
    return np.maximum(mean, flat)  # a constant series has errors of some size, too


def still(recent: Array) -> Array:
    """[n] whether nothing has moved in all that a moment remembers: its errors have no unit."""
    return np.asarray(np.nanmax(recent, axis=1) == np.nanmin(recent, axis=1))


def naive_error(values: Array, season_length: int) -> float:
    """Mean error of the seasonal naive forecast inside a history: the unit of MASE and RMSSE."""
    m = season_length if len(values) > season_length else 1
    return float(np.abs(values[m:] - values[:-m]).mean())


def calendar(times: Array, names: tuple[str, ...]) -> list[Array]:
    """The named positions of datetime64 `times` in year, week and day."""
    days = times.astype("datetime64[D]")
    found = {
        "month": times.astype("datetime64[M]").astype(int) % 12,
        "weekday": (days.astype(int) + 3) % 7,
        "hour": (times - days).astype("timedelta64[m]").astype(int) / 60,
    }
    return [found[name].astype(float) for name in names]


def column_names(
    season_length: int, dates: tuple[str, ...], covariates: tuple[str, ...]
) -> list[str]:
    """What the columns of `rows` are."""
    names = ["step", *[f"seasons_back_{i + 1}" for i in range(SEASONS)], "after", "before"]
    names += ["pattern", "level", *[f"growth_{i + 1}" for i in range(SEASONS - 1)]]
    names += [f"change_{steps}" for steps in _windows(season_length)]
    names += ["change_last_season", "change_there", "spread_of_change", "spread", "observations"]
    return [*names, *dates, *covariates]


def _windows(season_length: int) -> list[int]:
    parts = (1, season_length // 4, season_length // 2, season_length)
    return sorted({max(1, part) for part in parts})


def rows(
    recent: Array,
    observations: Array,
    season_length: int,
    steps: Array,
    more: list[Array] | None = None,
) -> tuple[Array, Array]:
    """The regression's input: (features [n, steps, columns], base [n, steps]) on the log scale.

    recent: [n, SEASONS * season_length] as from `origins`; steps: [k] 1, 2, ... ahead;
    more: calendar and covariates at the steps, each [n, steps].
    """
    z, m = squash(recent), season_length
    seasons = z.reshape(len(z), SEASONS, m)
    levels = _mean(seasons, axis=2)
    pattern = np.nan_to_num(_mean(seasons - levels[:, :, None], axis=1))
    place = (m - steps) % m  # in the newest season, newest first
    base = levels[:, :1] + pattern[:, place]
    change = z[:, : (SEASONS - 1) * m] - z[:, m:]
    each = np.ones((1, len(steps)))
    columns = [np.broadcast_to(steps.astype(float), base.shape)]
    columns += [seasons[:, i, place] - base for i in range(SEASONS)]
    columns += [z[:, np.where(place > 0, place - 1, m - 1)] - base, z[:, (place + 1)] - base]
    columns += [pattern[:, place], levels[:, :1] - base]
    columns += [(levels[:, i] - levels[:, i + 1])[:, None] * each for i in range(SEASONS - 1)]
    for width in _windows(m):
        columns.append(change[:, :width].mean(axis=1)[:, None] * each)
    columns += [change[:, m : 2 * m].mean(axis=1)[:, None] * each, change[:, place]]
    columns += [change[:, :m].std(axis=1)[:, None] * each, z[:, :m].std(axis=1)[:, None] * each]
    columns.append(np.minimum(observations, 12 * m)[:, None] * each)
    return np.stack([*columns, *(more or [])], axis=2), base


def _mean(values: Array, axis: int) -> Array:
    """Mean of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
