"""Forecasts whose labels are drawn from them: worlds in which the expected loss is known."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

from platform_assets.science.outlook import Scored
from platform_assets.science.tasks import QUANTILES

FIRST = date(2025, 3, 3)  # a Monday
HORIZON = 28
Floats = np.ndarray


def rows_of(count: int, *, issues: int = 3, first: date = FIRST) -> pl.DataFrame:
    """Rows of forecasts issued every four weeks, their days in turn."""
    at = np.arange(count)
    issue, horizon = at // HORIZON % issues, at % HORIZON + 1
    issued = [first + timedelta(days=int(HORIZON * number)) for number in issue]
    return pl.DataFrame(
        {
            "issued_at": pl.Series([datetime(day.year, day.month, day.day, tzinfo=UTC) for day in issued]).cast(
                pl.Datetime("us", "UTC")
            ),
            "target_on": [day + timedelta(days=int(ahead) - 1) for day, ahead in zip(issued, horizon, strict=True)],
            "horizon_days": horizon.astype(np.int16),
        }
    )


def world(
    seed: int,
    *,
    count: int = 25_200,
    issues: int = 3,
    first: date = FIRST,
    size: float = 1.0,
    spread: Callable[[Floats], Floats] = lambda horizon: np.ones(horizon.size),
    shocks: float = 0.0,
) -> Scored:
    """Labels are drawn from the forecasts' own distributions, and lie `spread` times as far from their middles.

    shocks: deviation of a factor by which all losses of one calendar week are off, in logarithms.
    """
    draw = np.random.default_rng(seed)
    rows = rows_of(count, issues=issues, first=first)
    middle = size * draw.lognormal(1.0, 0.8, count)
    steps = np.array([-0.9, -0.35, 0.0, 0.4, 1.2, 2.0])
    quantiles = np.maximum(middle[:, None] * (1 + 0.5 * steps[None, :]), 0.0)
    at = draw.random(count)
    drawn = np.array([np.interp(u, QUANTILES.levels, row) for u, row in zip(at, quantiles, strict=True)])
    label = quantiles[:, 2] + spread(rows["horizon_days"].to_numpy()) * (drawn - quantiles[:, 2])
    said = pl.DataFrame(quantiles, schema=list(QUANTILES.outputs))
    scored = Scored.of(rows.with_columns(units=label), said, QUANTILES, label="units")
    week = rows["target_on"].dt.truncate("1w").rank("dense").to_numpy().astype(np.int64)
    factor = np.exp(shocks * draw.normal(size=int(week.max()) + 1))[week]
    return Scored(scored.rows, scored.said, scored.label, scored.loss * factor)
