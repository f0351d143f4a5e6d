"""What last year said about a target day: the same weekday 364 days before, and the days around it."""

from datetime import date, timedelta
from typing import Final

import polars as pl

from platform_assets.names import EVENT_AT, KNOWN_AT, PERIOD_ON, SERIES_ID, TARGET_DAY, UNITS
from platform_assets.science.demand import columns
from platform_assets.science.demand.market import market_index
from platform_assets.science.demand.panel import TAIL_DAYS, dense, half

# A target T is described by the days around T - 364, the last of which is T - 350: known 322 days before any issue.
YEAR_DAYS: Final = 364
AHEAD_DAYS: Final = 350
# Name of a bound -> days before the target; a window holds what lies after its first bound, up to and with its second.
_BOUNDS: Final = {"wide_from": 379, "near_from": 368, "near_to": 361, "wide_to": 350}


def season(
    sales: pl.LazyFrame, *, start_on: date | None = None, end_on: date | None = None, period_days: int = 1
) -> pl.LazyFrame:
    """One row per series and target day, made of the period about 350 days before it, for periods in [start_on, end_on].

    Key `series_id`, `target_day` (days since 1970-01-01 of the period's start); `event_at` and `known_at` of the last
    period that it read; `columns.SEASON`. A target is described when the last open period up to 350 days before has
    ended; where the source was closed then, several targets share that period.
    """
    panel = dense(sales, start_on=start_on, end_on=end_on, lookback_days=max(TAIL_DAYS, AHEAD_DAYS - 322))
    market = market_index(sales, panel.calendar)
    targets = _targets(market, period_days)
    units = pl.col(UNITS)
    sums = panel.rows.select(
        "history",
        "index",
        units.fill_null(0.0).cum_sum().over("history").alias("total"),
        half(units).fill_null(0.0).cum_sum().over("history").alias("half"),
        units.is_not_null().cum_sum().over("history").cast(pl.Float64).alias("count"),
    )
    rows = (
        panel.rows.filter("is_reported")
        .select("history", "index", SERIES_ID, EVENT_AT, KNOWN_AT)
        .join(targets, on="index", maintain_order="left")
    )
    for bound in _BOUNDS:
        at = sums.select(
            "history", pl.col("index").alias(bound), pl.col("total", "half", "count").name.prefix(f"{bound}_")
        )
        rows = rows.join(at, on=["history", bound], how="left", maintain_order="left")
    return (
        rows.with_columns(
            _mean("total", "near_from", "near_to").alias("season_mean_7"),
            _mean("total", "wide_from", "wide_to").alias("season_mean_29"),
            (_mean("half", "wide_from", "wide_to") ** 2).alias("season_half_29"),
        )
        .select(
            SERIES_ID,
            TARGET_DAY,
            EVENT_AT,
            KNOWN_AT,
            *(pl.col(name).cast(pl.Float64) for name in columns.VIEWS["season"]),
        )
        .lazy()
    )


def _mean(of: str, begin: str, end: str) -> pl.Expr:
    """Mean between two bounds; a bound before the history counts from its beginning, null where nothing lies in it."""
    count = pl.col(f"{end}_count") - pl.col(f"{begin}_count").fill_null(0.0)
    total = pl.col(f"{end}_{of}") - pl.col(f"{begin}_{of}").fill_null(0.0)
    return pl.when(count > 0).then(total / count)


def _targets(market: pl.DataFrame, period_days: int) -> pl.DataFrame:
    """Each target day with the calendar index of its bounds, the index of its last period, and the market around it."""
    dates = market[PERIOD_ON]
    if dates.is_empty():
        return pl.DataFrame(schema={"index": pl.UInt32})
    first, last = dates[0] + timedelta(days=AHEAD_DAYS), dates[-1] + timedelta(days=AHEAD_DAYS)
    # A weekly source's targets start on its weekday; a daily one's are all days, as nobody knows which will be open.
    ahead = pl.date_range(first, last, interval=f"{period_days}d", eager=True).alias("target_on")
    bounds = [
        (dates.search_sorted(ahead.dt.offset_by(f"-{days}d"), side="right").cast(pl.Int64) - 1).alias(bound)
        for bound, days in _BOUNDS.items()
    ]
    total = [0.0, *market["market"].fill_null(0.0).cum_sum()]
    around = pl.DataFrame([ahead, *bounds])

    def market_mean(begin: str, end: pl.Expr) -> pl.Expr:
        sums = pl.Series(total)
        begin_total = pl.lit(sums).gather(pl.col(begin) + 1)
        end_total = pl.lit(sums).gather(end + 1)
        return pl.when(end > pl.col(begin)).then((end_total - begin_total) / (end - pl.col(begin)))

    return around.select(
        pl.col("wide_to").cast(pl.UInt32).alias("index"),
        pl.col("target_on").cast(pl.Int32).cast(pl.Int64).alias(TARGET_DAY),
        *(pl.when(pl.col(bound) >= 0).then(pl.col(bound)).cast(pl.UInt32).alias(bound) for bound in _BOUNDS),
        # The period that gives the row its time is not settled when the row is known: the market stops before it.
        market_mean("near_from", pl.min_horizontal("near_to", pl.col("wide_to") - 1)).alias("season_market_7"),
        market_mean("wide_from", pl.col("wide_to") - 1).alias("season_market_29"),
    )
