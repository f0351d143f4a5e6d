"""Baselines for the probability that a series sells nothing in the coming week."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WEEKS: Final = 26  # of history that the rates are taken from
LIVE_WEEKS: Final = 13  # a series is live that sold within so many weeks
STRENGTH: Final = 4.0  # weeks of base rate that a series' own rate is mixed with
RIDGE: Final = 1.0  # of the logistic regression, in rows of evidence
_STEPS: Final = 25  # of Newton's method; it converges in fewer than ten


def weeks(units: Array, period_days: int) -> tuple[Array, Array]:
    """Units of each week up to the origin, (series, weeks), and its open periods; NaN where none was open."""
    width = 7 // period_days
    length = units.shape[1] // width
    blocks = units[:, units.shape[1] - length * width :].reshape(len(units), length, width)
    is_open = ~np.isnan(blocks)
    return np.where(is_open.any(axis=2), np.nansum(blocks, axis=2), np.nan), is_open.sum(axis=2).astype(np.float64)


def _examples(units: Array, period_days: int) -> tuple[Array, NDArray[np.bool_]]:
    """Dormancy (1.0, 0.0) of the last WEEKS weeks, and whether the week was open and the series live before."""
    weekly, _ = weeks(units, period_days)
    span = min(WEEKS, max(weekly.shape[1] - 1, 0))
    has_sold = np.nan_to_num(weekly) > 0
    live = np.column_stack(
        [has_sold[:, max(at - LIVE_WEEKS, 0) : at].any(axis=1) for at in range(weekly.shape[1] - span, weekly.shape[1])]
    ).reshape(len(units), span)
    recent = weekly[:, weekly.shape[1] - span :]
    return (recent == 0).astype(np.float64), live & ~np.isnan(recent)


def base_rate(units: Array, period_days: int) -> Array:
    """Share of dormant weeks over all live series, kept off 0 and 1 by Laplace's rule: (series,)."""
    dormant, is_counted = _examples(units, period_days)
    return np.full(len(units), (dormant[is_counted].sum() + 1.0) / (is_counted.sum() + 2.0))


def series_rate(units: Array, period_days: int) -> Array:
    """Share of dormant weeks of the series while live, mixed with STRENGTH weeks of the base rate: (series,)."""
    dormant, is_counted = _examples(units, period_days)
    base = base_rate(units, period_days)
    return ((dormant * is_counted).sum(axis=1) + STRENGTH * base) / (is_counted.sum(axis=1) + STRENGTH)


def recency(units: Array, period_days: int) -> Array:
    """Logistic regression on log periods since the last sale and shares of periods with sales: (series,)."""
    width = 7 // period_days
    dormant, is_counted = _examples(units, period_days)
    span, periods = dormant.shape[1], units.shape[1]
    inputs = [_inputs(units[:, : periods - (span - week) * width], period_days) for week in range(span)]
    if not is_counted.any() or not 0 < dormant[is_counted].mean() < 1:
        return base_rate(units, period_days)
    seen = np.concatenate([rows[is_counted[:, week]] for week, rows in enumerate(inputs)])
    came = np.concatenate([dormant[is_counted[:, week], week] for week in range(span)])
    return 1.0 / (1.0 + np.exp(-_inputs(units, period_days) @ _logistic(seen, came)))


def _inputs(units: Array, period_days: int) -> Array:
    """(series, 4): 1, log of periods since the last sale, share of periods with sales in the last 4 and 13 weeks."""
    has_sold = np.nan_to_num(units) > 0
    since = np.where(has_sold.any(axis=1), has_sold[:, ::-1].argmax(axis=1), has_sold.shape[1]).astype(np.float64)
    shares = []
    for span in (28 // period_days, 91 // period_days):
        is_open = (~np.isnan(units[:, -span:])).sum(axis=1)
        shares.append(has_sold[:, -span:].sum(axis=1) / np.maximum(is_open, 1))
    return np.column_stack([np.ones(len(units)), np.log1p(since), *shares])


def _logistic(inputs: Array, came: Array) -> Array:
    """Coefficients by Newton's method with a small ridge; (rows, k), (rows,) -> (k,)."""
    weights = np.zeros(inputs.shape[1])
    for _ in range(_STEPS):
        probability = 1.0 / (1.0 + np.exp(-inputs @ weights))
        slope = inputs.T @ (came - probability) - RIDGE * weights
        curve = (inputs * (probability * (1 - probability))[:, None]).T @ inputs + RIDGE * np.eye(weights.size)
        step = np.linalg.solve(curve, slope)
        weights = weights + step
        if np.abs(step).max() < 1e-9:
            break
    return weights


BASELINES: Final[Mapping[str, Callable[[Array, int], Array]]] = {
    "base_rate": base_rate,
    "series_rate": series_rate,
    "recency": recency,
}
