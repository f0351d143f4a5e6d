"""Small worlds of sales with everything that makes history hard: closed days, births, deaths, corrections, late figures."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

SCHEMA = {
    "series_id": pl.String,
    "period_on": pl.Date,
    "event_at": pl.Datetime("us", "UTC"),
    "known_at": pl.Datetime("us", "UTC"),
    "units": pl.Float64,
    "price": pl.Float64,
    "is_promoted": pl.Boolean,
    "stock": pl.Float64,
    "lines": pl.Int64,
    "tickets": pl.Int64,
}
FIRST_ON = date(2024, 1, 1)  # a Monday


def end_of(period_on: date, period_days: int = 1) -> datetime:
    return datetime(period_on.year, period_on.month, period_on.day, tzinfo=UTC) + timedelta(days=period_days)


def _world(
    seed: int, *, periods: int = 460, series: int = 4, period_days: int = 1, revisions: bool = True, bare: bool = False
) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    is_open = (rng.random(periods) > 0.15) & ~((np.arange(periods) > 300) & (np.arange(periods) < 312))
    is_open[0] = True
    late_periods = set(rng.integers(50, periods, 2).tolist()) if revisions else set()
    for number in range(series):
        born = 0 if number == 0 else int(rng.integers(0, periods // 2))
        dead = periods if number != 1 else born + 150  # sells nothing for long, then once more
        rate = float(rng.choice([0.3, 2.0, 9.0]))
        for index in range(born, periods):
            if not is_open[index] or (dead <= index < periods - 20):
                continue
            units = float(rng.poisson(rate) * (20 if rng.random() < 0.01 else 1))
            is_out = rng.random() < 0.03
            units = 0.0 if is_out else units
            if units == 0 and not is_out and rng.random() < 0.7:
                continue  # most zeros are not reported
            on = FIRST_ON + timedelta(days=index * period_days)
            end = end_of(on, period_days)
            known = end + timedelta(days=3 * period_days, hours=5) if index in late_periods else end
            if revisions and rng.random() < 0.02:
                known += timedelta(days=float(rng.integers(0, 9)) * period_days, hours=7)
            row = {
                "series_id": f"s{number}",
                "period_on": on,
                "event_at": end,
                "known_at": known,
                "units": units,
                "price": None if bare or units == 0 else round(float(rng.uniform(1, 9)), 2),
                "is_promoted": None if bare or rng.random() < 0.1 else bool(rng.random() < 0.2),
                "stock": None if bare else (0.0 if is_out else 5.0),
                "lines": None if bare else int(rng.integers(1, 4)) * int(units > 0),
                "tickets": None,
            }
            rows.append(row)
            if revisions and rng.random() < 0.03:
                later = known + timedelta(days=float(rng.integers(1, 40)) * period_days, hours=1)
                rows.append(row | {"known_at": later, "units": float(rng.integers(0, 30))})
    frame = pl.DataFrame(rows, schema=SCHEMA)
    return frame.sample(fraction=1.0, shuffle=True, seed=seed)


@pytest.fixture(scope="session")
def make_world() -> Callable[..., pl.DataFrame]:
    """`make_world(seed, periods=, series=, period_days=, revisions=, bare=)`: a sales table, its rows in no order."""
    return _world


def _perturb(sales: pl.DataFrame, after: datetime, seed: int) -> pl.DataFrame:
    """Everything that becomes known after an instant becomes something else: other values, gone, or new."""
    rng = np.random.default_rng(seed)
    past = sales.filter(pl.col("known_at") <= after)
    future = sales.filter(pl.col("known_at") > after)
    future = future.filter(pl.Series(rng.random(future.height) < 0.7, dtype=pl.Boolean)).with_columns(
        units=pl.col("units") * 7.0 + 3.0,
        price=pl.col("price") * 3,
        is_promoted=~pl.col("is_promoted"),
        stock=pl.lit(9.0),
    )
    corrections = past.sample(min(past.height, 60), seed=seed).with_columns(
        known_at=pl.lit(after) + pl.duration(hours=1), units=pl.col("units") + 11.0
    )
    born = past.head(5).with_columns(
        series_id=pl.lit("new"), known_at=pl.lit(after) + pl.duration(hours=2), units=pl.lit(4.0)
    )
    return pl.concat([past, future, corrections, born])


@pytest.fixture(scope="session")
def perturb() -> Callable[[pl.DataFrame, datetime, int], pl.DataFrame]:
    """`perturb(sales, after, seed)`: the same past, another future."""
    return _perturb
