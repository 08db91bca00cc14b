"""Does a covariate contain what is to be forecast? Changes compared at shifts in time."""

import numpy as np
import pandas as pd

SERIES, STEPS = 500, 1000  # evenly drawn series and their latest steps show a leak as well as all
LEAST_PAIRS = 10  # of changes, below which a correlation means nothing


def matrix(rows: pd.DataFrame, column: str, season_length: int) -> np.ndarray:
    """[series, step] changes of a column from step to step and, of these, from season to season.

    Without trend and season, a covariate that still follows the value contains it.
    """
    series, names = pd.factorize(rows["series_id"])
    back = rows.groupby("series_id", sort=False)["step"].transform("last") - rows["step"]
    recent = (back < STEPS).to_numpy()
    dense = np.full((len(names), STEPS), np.nan)
    dense[series[recent], STEPS - 1 - back[recent]] = rows[column][recent]
    change = np.diff(dense, axis=1)
    if season_length > 1:
        change = change[:, season_length:] - change[:, :-season_length]
    size = np.nanmax(np.abs(dense), axis=1, keepdims=True, initial=0, where=~np.isnan(dense))
    return np.where(np.abs(change) > 1e-9 * size, change, change * 0)  # rounding is no change


def correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson's, of each row over what both have; NaN for few points or no variance."""
    both = np.isfinite(x) & np.isfinite(y)
    count = both.sum(axis=1)
    x, y = np.where(both, x, 0), np.where(both, y, 0)
    enough = np.where(count >= LEAST_PAIRS, count, np.nan)
    x = np.where(both, x - (x.sum(axis=1) / enough)[:, None], 0)
    y = np.where(both, y - (y.sum(axis=1) / enough)[:, None], 0)
    power = (x**2).sum(axis=1) * (y**2).sum(axis=1)
    return (x * y).sum(axis=1) / np.sqrt(np.where(power > 0, power, np.nan))


def leaks(rows: pd.DataFrame, covariate: str, season_length: int, horizon: int) -> pd.DataFrame:
    """[series, shift] how closely a covariate follows the value: |correlation| of the changes.

    Shift 3 compares a covariate with the value three steps later, -3 three steps earlier; what
    is `horizon` or more steps old is known when forecasting, and not compared.
    """
    names = rows["series_id"].unique()
    drawn = names[np.linspace(0, len(names) - 1, min(len(names), SERIES)).astype(int)]
    rows = rows[rows["series_id"].isin(drawn)]
    given, value = (matrix(rows, name, season_length) for name in (covariate, "value"))
    found = pd.DataFrame(index=drawn)
    if rows[covariate].nunique() > 2:  # yes or no cannot contain a value
        for shift in sorted(range(1 - horizon, horizon + 1), key=abs):
            early, late = max(-shift, 0), max(shift, 0)
            width = max(given.shape[1] - early - late, 0)
            x, y = given[:, early : early + width], value[:, late : late + width]
            found = found.assign(**{str(shift): np.abs(correlation(x, y))})
    return found.rename(columns=int).dropna(axis=0, how="all").dropna(axis=1, how="all")


def evidence(
    rows: pd.DataFrame, covariates: list[str], season_length: int, horizon: int, limit: float
) -> tuple[pd.DataFrame, list[str]]:
    """Series whose covariate follows the value closer than `limit`, and the covariates to refuse.

    One series may do so by chance or for a promotion; a covariate is refused when most do.
    """
    parts, refused = [pd.DataFrame(columns=["series_id", "timestamp", "count", "detail"])], []
    series = rows.groupby("series_id")["timestamp"].agg(timestamp="first", count="size")
    for name in covariates if len(rows) else []:
        found = leaks(rows, name, season_length, horizon)
        if found.empty:
            continue
        close = found[found.max(axis=1) > limit]
        text = [
            f"{name}: correlation {value:.3f} with the value {when(shift)}"
            for value, shift in zip(close.max(axis=1), close.idxmax(axis=1), strict=True)
        ]
        parts.append(series.loc[close.index].assign(detail=text).reset_index(names="series_id"))
        middle = found.median()
        if middle.max() > limit:
            refused.append(f"{name} ({middle.max():.3f} with the value {when(middle.idxmax())})")
    return pd.concat([part for part in parts if len(part)] or parts), refused


def when(shift: int) -> str:
    """A shift in words."""
    return f"{abs(shift)} steps {'later' if shift > 0 else 'earlier'}" if shift else "of its step"
