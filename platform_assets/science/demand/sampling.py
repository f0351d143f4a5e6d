"""Which forecasts a model learns from, is judged on, and issues: rows of (series, issued_at, target_on), without features.

A forecast is issued when a period has ended, for the series live then (sold within `LIVE_DAYS`, as first reported).
Row: `series_id`, `issued_at`, `target_on` (first day of the target period), `horizon_days` (from the first day of the
period that has just ended), `target_day` (days since 1970-01-01).
"""

import zlib
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

import numpy as np
import polars as pl

from platform_assets.names import (
    EVENT_AT,
    HORIZON,
    ISSUED_AT,
    KNOWN_AT,
    PERIOD_ON,
    SERIES_ID,
    TARGET_DAY,
    TARGET_ON,
    UNITS,
)
from platform_assets.science.demand.masks import Mask, masked
from platform_assets.science.demand.panel import LIVE_DAYS, periods

# Half of a retailer's loss lies in an eighth of its series. Drawn by the root of their volume, 120,000 rows of Online
# Retail II are worth as much as 500,000 drawn alike, and all rows keep the same weight in the fit.
VOLUME_POWER: Final = 0.5
SMALLEST_VOLUME: Final = 1 / LIVE_DAYS  # units per day: one unit in the window
_FIRST_SALT: Final = 0x9E3779B97F4A7C15


def live(sales: pl.LazyFrame, *, start_on: date | None = None, end_on: date | None = None) -> pl.DataFrame:
    """Each series at each open period of [start_on, end_on] at whose end it is live: series_id, period_on, issued_at."""
    return _live(sales, _between(periods(sales).collect(), start_on, end_on)).select(SERIES_ID, PERIOD_ON, ISSUED_AT)


def _between(calendar: pl.DataFrame, start_on: date | None, end_on: date | None) -> pl.DataFrame:
    dates = calendar[PERIOD_ON]
    begin = 0 if start_on is None else int(dates.search_sorted(start_on))
    return calendar[begin : len(dates) if end_on is None else int(dates.search_sorted(end_on, side="right"))]


def _live(sales: pl.LazyFrame, issues: pl.DataFrame) -> pl.DataFrame:
    """`live` at these of the source's periods, with `volume`, the units per day of the last `LIVE_DAYS`, as first reported."""
    calendar = issues.select(PERIOD_ON, pl.col(EVENT_AT).alias(ISSUED_AT)).with_row_index("index")
    dates = calendar[PERIOD_ON]
    first = sales.sort(KNOWN_AT, maintain_order=True).unique([SERIES_ID, PERIOD_ON], keep="first")
    sold = first.filter(pl.col(UNITS) > 0).select(SERIES_ID, PERIOD_ON, UNITS).sort(SERIES_ID, PERIOD_ON)
    sold = sold.with_columns(pl.col(UNITS).cum_sum().over(SERIES_ID)).collect()
    # A sale keeps its series live until the next sale takes over, or for LIVE_DAYS: spells that never overlap.
    spells = sold.with_columns(
        pl.Series("from", dates.search_sorted(sold[PERIOD_ON]), dtype=pl.Int64),
        pl.Series("fades", dates.search_sorted(sold[PERIOD_ON].dt.offset_by(f"{LIVE_DAYS}d")), dtype=pl.Int64),
    ).with_columns(
        pl.min_horizontal("fades", pl.col("from").shift(-1).over(SERIES_ID).fill_null(len(dates))).alias("until")
    )
    before = sold.select(SERIES_ID, pl.col(PERIOD_ON).alias("before_on"), pl.col(UNITS).alias("before"))
    return (
        spells.filter(pl.col("until") > pl.col("from"))
        .select(SERIES_ID, UNITS, index=pl.int_ranges("from", "until", dtype=pl.UInt32))
        .explode("index")
        .join(calendar, on="index", maintain_order="left")
        .with_columns(pl.col(PERIOD_ON).dt.offset_by(f"-{LIVE_DAYS}d").alias("before_on"))
        .join_asof(before, on="before_on", by=SERIES_ID, check_sortedness=False)
        .with_columns(((pl.col(UNITS) - pl.col("before").fill_null(0.0)) / LIVE_DAYS).alias("volume"))
        .drop("index", "before", "before_on", UNITS)
    )


def fit_rows(
    sales: pl.LazyFrame,
    *,
    rows: int,
    horizons: Sequence[int],
    start_on: date | None = None,
    end_on: date | None = None,
    recent_days: int = 0,
    recent_density: float = 1.0,
    are_targets_open: bool = True,
    volume_power: float | None = None,
    masks: Sequence[Mask] = (),
    seed: int = 0,
) -> pl.DataFrame:
    """About `rows` forecasts issued in [start_on, end_on] whose target the sales reach, drawn without a random state.

    Each is drawn by a hash of (series, issue, draw, seed): a longer history or another budget keeps most of the rows.
    Those issued in the last `recent_days` are drawn `recent_density` times as often. With `are_targets_open` targets
    are drawn among the open periods that `horizons` reach; else they may be closed, and have no label.

    A series is drawn in proportion to its volume (units per day of the last `LIVE_DAYS`) to the power of `volume_power`,
    by default `VOLUME_POWER` where targets are open periods, whose loss is in units, and 0 elsewhere. Forecasts issued
    within one of `masks` are not drawn.
    """
    known = periods(sales).collect()
    issues, calendar = masked(_live(sales, _between(known, start_on, end_on)), masks), known[PERIOD_ON]
    if issues.is_empty() or not horizons:
        return _rows(issues.clear().with_columns(pl.lit(None, dtype=pl.Date).alias(TARGET_ON)))
    last_on, reach = calendar[-1], sorted(horizons)
    issued_on = issues[PERIOD_ON].to_numpy()
    is_recent = (issues[PERIOD_ON] > last_on - timedelta(days=recent_days)).to_numpy()
    weight = np.where(is_recent, recent_density, 1.0) * _volume_weight(issues, are_targets_open, volume_power)
    draws = max(1, int(np.ceil(rows * weight.max() / weight.sum())))
    chance = np.minimum(1.0, weight * rows / (weight.sum() * draws))
    key = _series_hash(issues[SERIES_ID]) ^ _mix(issued_on.astype("datetime64[D]").astype(np.int64).astype(np.uint64))
    drawn = []
    for draw in range(draws):
        number = _mix(key + np.uint64((seed * 1_000_003 + draw * 2 + 1) % 2**63))
        kept = np.flatnonzero(_uniform(number) < chance)
        choice = _uniform(_mix(number[kept] ^ np.uint64(_FIRST_SALT)))
        drawn.append(
            issues[kept].with_columns(_choose(issues[PERIOD_ON][kept], calendar, reach, choice, are_targets_open))
        )
    sample = pl.concat(drawn).filter(pl.col(TARGET_ON) <= last_on).unique(maintain_order=True)
    return _rows(sample)


def last_weights(sales: pl.LazyFrame, *, are_targets_open: bool = True) -> pl.DataFrame:
    """How often `fit_rows` draws each series that is live at the end of the last period: series_id, weight."""
    issues = _live(sales, periods(sales).collect().tail(1))
    weight = pl.Series("weight", _volume_weight(issues, are_targets_open, None))
    return issues.select(SERIES_ID).with_columns(weight)


def _volume_weight(issues: pl.DataFrame, are_targets_open: bool, power: float | None) -> np.ndarray:
    power = (VOLUME_POWER if are_targets_open else 0.0) if power is None else power
    return np.maximum(issues["volume"].to_numpy(), SMALLEST_VOLUME) ** power


def evaluation_rows(
    sales: pl.LazyFrame, *, issued_on: Sequence[date], horizons: Sequence[int], masks: Sequence[Mask] = ()
) -> pl.DataFrame:
    """All live series x all horizons for each origin: the last open period up to each date of `issued_on`.

    Forecasts issued within one of `masks` are left out.
    """
    calendar = periods(sales).collect()
    passed = calendar[PERIOD_ON].search_sorted(pl.Series(list(issued_on), dtype=pl.Date), side="right")
    origins = calendar[(passed.filter(passed > 0) - 1).unique().sort()]
    return _rows(
        masked(_live(sales, origins), masks)
        .with_columns(pl.concat_list([pl.col(PERIOD_ON).dt.offset_by(f"{h}d") for h in horizons]).alias(TARGET_ON))
        .explode(TARGET_ON)
    )


def issue_rows(sales: pl.LazyFrame, *, horizons: Sequence[int]) -> pl.DataFrame:
    """All series live at the end of the last period x all horizons: what the champion is asked next."""
    last_on = periods(sales).select(pl.col(PERIOD_ON).max()).collect().item()
    return evaluation_rows(sales, issued_on=[last_on], horizons=horizons)


def _rows(issues: pl.DataFrame) -> pl.DataFrame:
    return issues.select(
        SERIES_ID,
        ISSUED_AT,
        TARGET_ON,
        (pl.col(TARGET_ON) - pl.col(PERIOD_ON)).dt.total_days().cast(pl.Int16).alias(HORIZON),
        pl.col(TARGET_ON).cast(pl.Int32).cast(pl.Int64).alias(TARGET_DAY),
    ).sort(ISSUED_AT, SERIES_ID, TARGET_ON)


def _choose(
    issued_on: pl.Series, calendar: pl.Series, reach: list[int], choice: np.ndarray, are_targets_open: bool
) -> pl.Series:
    """One target for each issue, by its number in [0, 1): null where no open period lies within reach."""
    if not are_targets_open:
        picked = pl.Series([reach[i] for i in (choice * len(reach)).astype(int)], dtype=pl.Int64)
        return pl.select(pl.lit(issued_on) + pl.duration(days=pl.lit(picked))).to_series().alias(TARGET_ON)
    low = calendar.search_sorted(issued_on.dt.offset_by(f"{reach[0]}d"), side="left").cast(pl.Int64).to_numpy()
    high = calendar.search_sorted(issued_on.dt.offset_by(f"{reach[-1]}d"), side="right").cast(pl.Int64).to_numpy()
    index = low + np.floor(choice * (high - low)).astype(np.int64)
    picked = calendar.gather(np.minimum(index, len(calendar) - 1))
    return pl.select(pl.when(pl.Series(high > low)).then(picked)).to_series().alias(TARGET_ON)


def _series_hash(series: pl.Series) -> np.ndarray:
    # CRC-32 and the finaliser of SplitMix64: the same on every machine and in every version, unlike a library's hash.
    names = series.unique()
    codes = pl.DataFrame({"name": names, "code": [zlib.crc32(name.encode()) for name in names]})
    return _mix(
        series.to_frame("name").join(codes, on="name", maintain_order="left")["code"].cast(pl.UInt64).to_numpy()
    )


def _mix(numbers: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        z = numbers + np.uint64(_FIRST_SALT)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _uniform(numbers: np.ndarray) -> np.ndarray:
    return (numbers >> np.uint64(11)) / float(2**53)
