"""Demand and price history of each series at the end of each open period: what a forecast issued then may look at.

Pure functions of the sales table. A row reads what was known at its `known_at` and nothing else (see `panel`), so a
day's increment equals the same day of a bulk run, and a correction never changes what was known before it.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from platform_assets.names import EVENT_AT, KNOWN_AT, PERIOD_ON, SERIES_ID, UNITS
from platform_assets.science.demand import columns
from platform_assets.science.demand.market import VINTAGE, market_history, market_index, repairs, vintage_of
from platform_assets.science.demand.panel import TAIL_DAYS, dense, half

YEAR_DAYS: Final = 364  # 52 weeks: the same weekday a year ago
LOOKBACK_DAYS: Final = YEAR_DAYS + TAIL_DAYS
_TYPES: Final = {"f64": pl.Float64, "i64": pl.Int64, "bool": pl.Boolean, "list_f32": pl.List(pl.Float32)}
# The level of a series that hardly sells: one unit a year of open days. Keeps the scale positive and forecasts bounded.
SMALLEST_LEVEL: Final = 1 / 300


def demand_history(
    sales: pl.LazyFrame, *, start_on: date | None = None, end_on: date | None = None, period_days: int = 1
) -> pl.LazyFrame:
    """One row per live series and open period in [start_on, end_on]: `columns.DEMAND_HISTORY`, `event_at`, `known_at`.

    Windows are in calendar days, closed at the end of the period; they count open periods from the first sale on.
    """
    panel = dense(sales, start_on=start_on, end_on=end_on, lookback_days=LOOKBACK_DAYS)
    repaired = repairs(sales, panel.calendar)
    market = pl.concat(
        market_history(market_index(sales, panel.calendar, at)).with_columns(
            pl.lit(number, dtype=pl.UInt32).alias(VINTAGE)
        )
        for number, at in enumerate([None, *repaired])
    )
    year_ago = _year_ago_index(panel.calendar)
    return _publish((_describe(rows, year_ago, market, repaired) for rows in panel.pieces()), columns.DEMAND_HISTORY)


def price_history(
    sales: pl.LazyFrame, *, start_on: date | None = None, end_on: date | None = None, period_days: int = 1
) -> pl.LazyFrame:
    """One row per live series and open period in [start_on, end_on]: `columns.PRICE_HISTORY`, `event_at`, `known_at`.

    Null where the source has no prices or does not say what was promoted. A period whose promotion is unknown counts
    neither as promoted nor as regular.
    """
    panel = dense(sales, start_on=start_on, end_on=end_on, lookback_days=LOOKBACK_DAYS)
    return _publish((_describe_prices(rows) for rows in panel.pieces()), columns.PRICE_HISTORY)


def _describe(
    rows: pl.DataFrame, year_ago: pl.DataFrame, market: pl.DataFrame, repaired: Sequence[datetime]
) -> pl.DataFrame:
    """The rows to publish, of whole histories, with every demand feature."""
    rows = (
        rows.with_columns(_demand_windows())
        .with_columns(_level().alias("level"), line_size_91=_line_size())
        .join(year_ago, on="index", how="left", maintain_order="left")
    )
    # By history, as a late period that a history has not seen looks closed to it.
    past = rows.select(
        "history",
        pl.col("index").alias("then"),
        pl.col("mean_28").alias("year_ago_mean_28"),
        pl.col("half_mean_28").alias("year_ago_half_28"),
    )
    recent = _recent_units(rows)
    return (
        rows.join_asof(past, on="then", by="history", check_sortedness=False)
        .filter("is_reported")
        .with_columns(recent, vintage_of(repaired))
        .join(market, on=["index", VINTAGE], how="left", maintain_order="left")
    )


def _describe_prices(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows to publish, of whole histories, with every price feature."""
    promoted = pl.col("is_promoted").cast(pl.Float64)
    on_offer = pl.when(pl.col("is_promoted")).then(pl.col(UNITS))
    regular = pl.when(~pl.col("is_promoted")).then(pl.col(UNITS))
    priced_on = _over(pl.when(pl.col("price").is_not_null()).then(pl.col(PERIOD_ON)).forward_fill())
    is_priced = pl.col(PERIOD_ON) - priced_on < timedelta(days=YEAR_DAYS)
    return (
        rows.with_columns(
            pl.when(is_priced).then(_over(pl.col("price").forward_fill())).alias("last_price"),
            _median("price", 28).alias("price_median_28"),
            _median("price", 91).alias("price_median_91"),
            _median("price", 364).alias("price_median_364"),
            pl.col("is_promoted").alias("is_promoted_now"),
            _mean(promoted, 28).alias("promotion_share_28"),
            _mean(promoted, 364).alias("promotion_share_364"),
            _mean(on_offer, 364).alias("promoted_mean_364"),
            _mean(regular, 56).alias("regular_mean_56"),
            _mean(regular, 364).alias("regular_mean_364"),
        )
        .filter("is_reported")
        .with_columns(
            (pl.col("last_price") / pl.col("price_median_91")).alias("price_ratio_91"),
            (pl.col("price_median_91") / pl.col("price_median_364")).alias("price_ratio_364"),
        )
    )


def _over(expr: pl.Expr) -> pl.Expr:
    return expr.over("history")


def _count(expr: pl.Expr, days: int) -> pl.Expr:
    return expr.is_not_null().cast(pl.Float64).rolling_sum_by(PERIOD_ON, f"{days}d")


def _mean(expr: pl.Expr, days: int) -> pl.Expr:
    # A sum of whole units is exact in any order, so a row does not depend on where the computation began.
    counted = _count(expr, days)
    total = expr.fill_null(0.0).rolling_sum_by(PERIOD_ON, f"{days}d")
    return _over(pl.when(counted > 0).then(total / counted))


def _deviation(days: int) -> pl.Expr:
    units, square = pl.col(UNITS), pl.col(UNITS) ** 2
    counted = _count(units, days)
    mean = units.fill_null(0.0).rolling_sum_by(PERIOD_ON, f"{days}d") / counted
    mean_square = square.fill_null(0.0).rolling_sum_by(PERIOD_ON, f"{days}d") / counted
    return _over(pl.when(counted > 0).then((mean_square - mean**2).clip(0.0).sqrt()))


def _quantile(level: float, days: int) -> pl.Expr:
    return _over(pl.col(UNITS).rolling_quantile_by(PERIOD_ON, f"{days}d", quantile=level, interpolation="linear"))


def _median(column: str, days: int) -> pl.Expr:
    return _over(pl.col(column).rolling_median_by(PERIOD_ON, f"{days}d"))


def _demand_windows() -> list[pl.Expr]:
    units, lines = pl.col(UNITS), pl.col("lines")
    is_zero = (units == 0).cast(pl.Float64)
    of_sales = pl.when(units > 0).then(units)
    weekday = pl.col(PERIOD_ON).dt.weekday()
    return [
        units.alias("last_units"),
        *(_mean(units, d).alias(f"mean_{d}") for d in (7, 14, 28, 56, 91, 182, 364)),
        *((_mean(half(units), d) ** 2).alias(f"half_mean_{d}") for d in (7, 28, 91, 364)),
        *(_deviation(d).alias(f"std_{d}") for d in (28, 91, 364)),
        *(_mean(is_zero, d).alias(f"zero_share_{d}") for d in (28, 91, 364)),
        *(_over(units.rolling_max_by(PERIOD_ON, f"{d}d")).alias(f"max_{d}") for d in (28, 91, 364)),
        *(_quantile(q / 100, d).alias(f"q{q}_{d}") for d in (56, 91, 364) for q in (25, 50, 75, 95)),
        *(_quantile(0.99, d).alias(f"q99_{d}") for d in (91, 364)),
        _mean(of_sales, 91).alias("sale_size_91"),
        (pl.col(PERIOD_ON) - pl.col("sold_on")).dt.total_days().cast(pl.Float64).alias("days_since_sale"),
        (pl.col(PERIOD_ON) - pl.col("born_on")).dt.total_days().cast(pl.Float64).alias("age_days"),
        *(_mean(lines, d).alias(f"lines_mean_{d}") for d in (28, 91, 364)),
        *(
            _mean(pl.when(weekday == number).then(units), 182).alias(f"weekday_mean_{name}")
            for number, name in enumerate(columns.WEEKDAYS, start=1)
        ),
        _mean(pl.col("is_out").cast(pl.Float64), 28).alias("stock_out_share_28"),
    ]


def _line_size() -> pl.Expr:
    lines = pl.col("lines_mean_91")
    return pl.when(lines > 0).then(pl.col("mean_91") / lines)  # null where it has sold nothing: live on its last day


def _level() -> pl.Expr:
    blend = 0.25 * pl.col("mean_28") + 0.5 * pl.col("mean_91") + 0.25 * pl.col("mean_364")
    return pl.coalesce(blend, "mean_91", "mean_364", 0.0).clip(SMALLEST_LEVEL)


def _year_ago_index(calendar: pl.DataFrame) -> pl.DataFrame:
    """`index` of an open period to `then`, the index of the last open period up to 364 days before it."""
    dates = calendar[PERIOD_ON]
    then = dates.search_sorted(dates.dt.offset_by(f"-{YEAR_DAYS}d"), side="right").cast(pl.Int64) - 1
    return calendar.select("index", then.alias("then")).filter(pl.col("then") >= 0).cast({"then": pl.UInt32})


def _recent_units(rows: pl.DataFrame) -> pl.Series:
    """The last `RECENT_PERIODS` units of each row's history, oldest first; zeros before the first sale and while out of stock.

    An unknown period has the mean of the known ones in the 28 days that end with it, which is no news.
    """
    size = columns.RECENT_PERIODS
    usual = pl.when("is_unknown").then(pl.col("mean_28"))
    units = rows.select(pl.coalesce(UNITS, usual, 0.0).cast(pl.Float32)).to_series().to_numpy()
    seen = rows.select(pl.int_range(1, pl.len() + 1).over("history").clip(upper_bound=size)).to_series().to_numpy()
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([np.zeros(size - 1, np.float32), units]), size)
    picked = np.flatnonzero(rows["is_reported"].to_numpy())
    recent = windows[picked]
    recent[np.arange(size) < (size - seen[picked])[:, None]] = 0.0
    return pl.Series("recent_units", recent, dtype=pl.Array(pl.Float32, size)).arr.to_list()


def _publish(pieces: Iterable[pl.DataFrame], features: tuple[columns.Feature, ...]) -> pl.LazyFrame:
    """The pieces as the view's table: key, times, features in their declared order and type."""
    columns_of = [
        SERIES_ID,
        EVENT_AT,
        KNOWN_AT,
        *(pl.col(f.name).cast(_TYPES[f.dtype]).alias(f.name) for f in features),
    ]
    return pl.concat([piece.select(columns_of) for piece in pieces] or [_nothing(features)]).lazy()


def _nothing(features: tuple[columns.Feature, ...]) -> pl.DataFrame:
    times = {EVENT_AT: pl.Datetime("us", "UTC"), KNOWN_AT: pl.Datetime("us", "UTC")}
    types = {f.name: _TYPES[f.dtype] for f in features}
    return pl.DataFrame(schema={SERIES_ID: pl.String, **times, **types})
