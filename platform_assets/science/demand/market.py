"""The market index: how busy the whole source is, robust to a single bulk order, as known when a forecast is issued."""

import polars as pl

from platform_assets.names import KNOWN_AT, PERIOD_ON, SERIES_ID, UNITS
from platform_assets.science.demand.panel import half, latest


def market_index(sales: pl.LazyFrame, calendar: pl.DataFrame) -> pl.DataFrame:
    """`calendar` with `market`: the sum over series of the square root of their units, as known before the next period.

    The square root keeps one order of tens of thousands from looking like a season. The figure of a period is what was
    known when the first figures of any later period came in, so that rows of later periods may read it; null for a
    period that was late.
    """
    settled = calendar.filter(~pl.col("is_late")).select("index", PERIOD_ON, pl.col("overtaken_at").alias("settled_at"))
    known = (
        sales.select(SERIES_ID, PERIOD_ON, KNOWN_AT, UNITS)
        .join(settled.lazy(), on=PERIOD_ON)
        .filter(pl.col("settled_at").is_null() | (pl.col(KNOWN_AT) <= pl.col("settled_at")))
    )
    figures = latest(known).group_by("index").agg(half(pl.col(UNITS)).sum().alias("market")).collect()
    return calendar.join(figures, on="index", how="left", maintain_order="left")


def market_history(market: pl.DataFrame) -> pl.DataFrame:
    """Per open period D, by `index`: means of the market index over windows that end before D, and their trends."""

    def mean(days: int) -> pl.Expr:
        return pl.col("market").rolling_mean_by(PERIOD_ON, f"{days}d", closed="left")

    windows = market.select("index", PERIOD_ON, m7=mean(7), m28=mean(28), m91=mean(91))
    settled = windows.filter(market["market"].is_not_null())
    year_ago = settled.select(pl.col(PERIOD_ON).dt.offset_by("364d"), year_ago_market_28="m28")
    return windows.join_asof(year_ago, on=PERIOD_ON, tolerance="14d").select(
        "index",
        "year_ago_market_28",
        (pl.col("m7") / pl.col("m28")).alias("market_trend_7"),
        (pl.col("m28") / pl.col("m91")).alias("market_trend_28"),
    )
