"""Automatic ETS and ARIMA, one series at a time, by statsforecast: for a sample of series, as they are slow.

Form or orders are chosen, and the parameters fitted, once for each series: on what the first origin knew, as the model
that they are compared with. At later origins the same model is carried forward over what had become known by then.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# Histories (series, periods) at each origin, season, horizon -> for each origin one-step forecasts (series, periods)
# and forecasts (series, horizon).
Automatic = Callable[[Sequence[Array], int, int], list[tuple[Array, Array]]]

MIN_PERIODS: Final = 21  # fewer observations: the mean, as neither model can be chosen
MODELS: Final = (
    20  # orders that the stepwise search tries at most; 94 (the default) took a third longer and were no better
)


def auto_ets(histories: Sequence[Array], season: int, horizon: int) -> list[tuple[Array, Array]]:
    """Forecasts of ETS whose form is chosen by AICc."""
    from statsforecast.models import AutoETS  # deferred: 1.5 CPU s

    return _each(histories, season, horizon, lambda length: AutoETS(season_length=length))


def auto_arima(histories: Sequence[Array], season: int, horizon: int) -> list[tuple[Array, Array]]:
    """Forecasts of seasonal ARIMA whose orders (p, q <= 2; P, Q <= 1; differences by tests) are chosen by AICc."""
    from statsforecast.models import AutoARIMA  # deferred: 1.5 CPU s

    return _each(
        histories,
        season,
        horizon,
        lambda length: AutoARIMA(
            season_length=length, approximation=True, max_p=2, max_q=2, max_P=1, max_Q=1, nmodels=MODELS
        ),
    )


def _each(
    histories: Sequence[Array], season: int, horizon: int, model: Callable[[int], Any]
) -> list[tuple[Array, Array]]:
    """Fit each series on its observed periods; only slots of the season that are open count as periods."""
    chosen: dict[int, Any] = {}
    found = []
    for units in histories:
        is_open = _open_slots(units, season)  # (season,)
        open_season = max(int(is_open.sum()), 1)
        steps = np.cumsum([is_open[(units.shape[1] + step) % season] for step in range(horizon)]) - 1  # (horizon,)
        fitted = np.full(units.shape, np.nan)
        ahead = np.zeros((len(units), horizon))
        for place, row in enumerate(units):
            seen = np.flatnonzero(~np.isnan(row))
            values = row[seen]
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # optimisers that stop early: the best found so far is used
                if place not in chosen and seen.size >= MIN_PERIODS and np.ptp(values) > 0:
                    chosen[place] = model(open_season).fit(y=values)
                told = _forward(chosen.get(place), values, int(max(steps.max(), 0)) + 1)
            fitted[place, seen] = told[0]
            ahead[place] = told[1][np.maximum(steps, 0)]
        found.append((fitted, ahead))
    return found


def _forward(model: Any, values: Array, horizon: int) -> tuple[Array, Array]:
    """One-step forecasts of the values and forecasts beyond them; their mean without a model, or where it diverges."""
    if model is not None and values.size:
        told = model.forward(y=values, h=horizon, fitted=True)
        if np.isfinite(told["mean"]).all():
            return np.asarray(told["fitted"], dtype=float), np.asarray(told["mean"], dtype=float)
    mean = float(values.mean()) if values.size else 0.0
    return np.where(np.arange(values.size) == 0, np.nan, mean), np.full(horizon, mean)


def _open_slots(units: Array, season: int) -> NDArray[np.bool_]:
    """Which slots of the season had any observation in the last eight seasons."""
    recent = ~np.isnan(units[:, -8 * season :])
    offset = units.shape[1] - recent.shape[1]
    return np.array([recent[:, (slot - offset) % season :: season].any() for slot in range(season)])
