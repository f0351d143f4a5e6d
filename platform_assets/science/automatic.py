"""Automatic ETS and ARIMA, one series at a time, by statsforecast: for a sample of series, as they are slow."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIN_PERIODS = 21  # fewer observations: the mean, as neither model can be chosen


def auto_ets(units: Array, season: int, horizon: int) -> tuple[Array, Array]:
    """One-step forecasts (series, periods) and forecasts (series, horizon) of ETS whose form is chosen by AICc."""
    from statsforecast.models import AutoETS  # deferred: 1.5 CPU s

    return _each(units, season, horizon, lambda length: AutoETS(season_length=length))


def auto_arima(units: Array, season: int, horizon: int) -> tuple[Array, Array]:
    """One-step forecasts (series, periods) and forecasts (series, horizon) of ARIMA whose orders are chosen by AICc."""
    from statsforecast.models import AutoARIMA  # deferred: 1.5 CPU s

    return _each(units, season, horizon, lambda length: AutoARIMA(season_length=length, approximation=True))


def _each(units: Array, season: int, horizon: int, model: Any) -> tuple[Array, Array]:
    """Fit each series on its observed periods; only slots of the season that are open count as periods."""
    is_open = _open_slots(units, season)  # (season,)
    open_season = max(int(is_open.sum()), 1)
    periods = units.shape[1]
    steps = np.cumsum([is_open[(periods + step) % season] for step in range(horizon)]) - 1  # (horizon,)
    fitted = np.full(units.shape, np.nan)
    ahead = np.zeros((len(units), horizon))
    for place, row in enumerate(units):
        seen = np.flatnonzero(~np.isnan(row))
        values = row[seen]
        if seen.size < MIN_PERIODS or np.ptp(values) == 0:
            fitted[place, seen[1:]] = ahead[place] = values.mean() if seen.size else 0.0
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # optimisers that stop early: the best found so far is used
            found = model(open_season).forecast(y=values, h=int(max(steps.max(), 0)) + 1, fitted=True)
        fitted[place, seen] = found["fitted"]
        ahead[place] = found["mean"][np.maximum(steps, 0)]
    return fitted, ahead


def _open_slots(units: Array, season: int) -> NDArray[np.bool_]:
    """Which slots of the season had any observation in the last eight seasons."""
    recent = ~np.isnan(units[:, -8 * season :])
    offset = units.shape[1] - recent.shape[1]
    return np.array([recent[:, (slot - offset) % season :: season].any() for slot in range(season)])
