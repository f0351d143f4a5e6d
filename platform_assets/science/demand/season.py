"""What last year said about a target day: the same weekday 364 days before, and the days around it."""

from datetime import date
from typing import Final

import polars as pl

from platform_assets.names import EVENT_AT, KNOWN_AT, PERIOD_ON, SERIES_ID, TARGET_DAY, UNITS
from platform_assets.science.demand import columns
from platform_assets.science.demand.market import VINTAGE, market_index, repairs, vintage_of
from platform_assets.science.demand.panel import TAIL_DAYS, dense, half

# A target T is described by the days around T - 364, the last of which is T - 350: known 322 days before any issue.
YEAR_DAYS: Final = 364
AHEAD_DAYS: Final = 350
# Name of a bound -> days before the target; a window holds what lies after its first bound, up to and with its second.
_BOUNDS: Final = {"wide_from": 379, "near_from": 368, "near_to": 361, "wide_to": 350}


def season(
    sales: pl.LazyFrame, *, start_on: date | None = None, end_on: date | None = None, period_days: int = 1
) -> pl.LazyFrame:
    """One row per series and target day, of the periods in [start_on, end_on], about 350 days before their targets.

    Key `series_id`, `target_day` (days since 1970-01-01 of the period's start); `event_at` and `known_at` of the period
    with which its windows were complete: the first open one from 350 days before the target on, as a closed day is known
    to be closed only when a later one has come in. `columns.SEASON`.
    """
    panel = dense(sales, start_on=start_on, end_on=end_on, lookback_days=max(TAIL_DAYS, AHEAD_DAYS - 322))
    repaired = repairs(sales, panel.calendar)
    targets = pl.concat(
        _targets(market_index(sales, panel.calendar, at), period_days).with_columns(
            pl.lit(number, dtype=pl.UInt32).alias(VINTAGE)
        )
        for number, at in enumerate([None, *repaired])
    )
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
        .with_columns(vintage_of(repaired))
        .join(targets, on=["index", VINTAGE], maintain_order="left")
    )
    for bound in _BOUNDS:
        # By history, as a late period that a history has not seen looks closed to it.
        at = sums.select(
            "history", pl.col("index").alias(bound), pl.col("total", "half", "count").name.prefix(f"{bound}_")
        )
        rows = rows.join_asof(at, on=bound, by="history", check_sortedness=False)
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
            *(pl.col(feature.name).cast(pl.Float64) for feature in columns.SEASON),
        )
        .lazy()
    )


def _mean(of: str, begin: str, end: str) -> pl.Expr:
    """Mean between two bounds; a bound before the history counts from its beginning, null where nothing lies in it."""
    count = pl.col(f"{end}_count") - pl.col(f"{begin}_count").fill_null(0.0)
    total = pl.col(f"{end}_{of}") - pl.col(f"{begin}_{of}").fill_null(0.0)
    return pl.when(count > 0).then(total / count)


def _targets(market: pl.DataFrame, period_days: int) -> pl.DataFrame:
    """Each target day with the calendar index of its bounds, the index of the period that completes it, and the market."""
    settled = market.filter(pl.col("market").is_not_null())
    dates, on_time = market[PERIOD_ON], settled[PERIOD_ON]
    # A weekly source's targets start on its weekday; a daily one's are all days, as nobody knows which will be open.
    steps = pl.date_ranges(pl.col(PERIOD_ON).min(), pl.col(PERIOD_ON).max(), interval=f"{period_days}d")
    ahead = settled.filter(settled.height > 0).select(steps).explode(PERIOD_ON)[PERIOD_ON].drop_nulls()
    ahead = ahead.dt.offset_by(f"{AHEAD_DAYS}d")
    targets = pl.DataFrame({"target_on": ahead})
    targets = targets.with_columns(
        pl.Series("completed", on_time.search_sorted(ahead.dt.offset_by(f"-{AHEAD_DAYS}d")), dtype=pl.Int64),
        *(
            pl.Series(bound, dates.search_sorted(ahead.dt.offset_by(f"-{days}d"), side="right"), dtype=pl.Int64) - 1
            for bound, days in _BOUNDS.items()
        ),
    )
    total = pl.Series([0.0, *settled["market"].cum_sum()])

    def market_mean(begin: str, end: str) -> pl.Expr:
        # The period that completes a target is not settled when the row is known: the market stops before it.
        low = on_time.search_sorted(ahead.dt.offset_by(f"-{_BOUNDS[begin]}d"), side="right").cast(pl.Int64)
        high = on_time.search_sorted(ahead.dt.offset_by(f"-{_BOUNDS[end]}d"), side="right").cast(pl.Int64)
        high = pl.min_horizontal(pl.lit(high), "completed")
        sums = pl.lit(total).gather(high) - pl.lit(total).gather(pl.lit(low))
        return pl.when(high > pl.lit(low)).then(sums / (high - pl.lit(low)))

    return targets.select(
        settled["index"].gather(targets["completed"]).alias("index"),
        pl.col("target_on").cast(pl.Int32).cast(pl.Int64).alias(TARGET_DAY),
        *(pl.when(pl.col(bound) >= 0).then(pl.col(bound)).cast(pl.UInt32).alias(bound) for bound in _BOUNDS),
        market_mean("near_from", "near_to").alias("season_market_7"),
        market_mean("wide_from", "wide_to").alias("season_market_29"),
    )
