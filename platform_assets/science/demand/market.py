"""The market index: how busy the whole source is, robust to a single bulk order, as known when a forecast is issued."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import polars as pl

from platform_assets.names import KNOWN_AT, PERIOD_ON, SERIES_ID, UNITS
from platform_assets.science.demand.panel import half, latest

USUAL_PERIODS: Final = 28  # before a period, from which the share of its unknown series is taken
VINTAGE: Final = "vintage"


def repairs(sales: pl.LazyFrame, calendar: pl.DataFrame) -> list[datetime]:
    """Instants at which a period's figures became unknown, or known again, after the market had settled on others."""
    settled = calendar.select(PERIOD_ON, pl.col("overtaken_at").alias("settled_at")).lazy()
    doubted = sales.filter(pl.col(UNITS).is_null()).select(SERIES_ID, PERIOD_ON).unique()
    return (
        sales.select(SERIES_ID, PERIOD_ON, KNOWN_AT)
        .join(doubted, on=[SERIES_ID, PERIOD_ON], how="semi")
        .join(settled, on=PERIOD_ON)
        .filter(pl.col(KNOWN_AT) > pl.col("settled_at"))
        .select(pl.col(KNOWN_AT).unique().sort())
        .collect()[KNOWN_AT]
        .to_list()
    )


def vintage_of(repaired: Sequence[datetime]) -> pl.Expr:
    """How many of the repairs a row knows, by its `known_at`: whose market it reads."""
    instants = pl.Series(list(repaired), dtype=pl.Datetime("us", "UTC"))
    return pl.lit(instants).search_sorted(pl.col(KNOWN_AT), side="right").cast(pl.UInt32).alias(VINTAGE)


def market_index(sales: pl.LazyFrame, calendar: pl.DataFrame, repaired_by: datetime | None = None) -> pl.DataFrame:
    """`calendar` with `market`: the sum over series of the square root of their units, as known before the next period.

    The square root keeps one order of tens of thousands from looking like a season. The figure of a period is what was
    known when the first figures of any later period came in, so that rows of later periods may read it; null for a
    period that was late. What was put under quarantine or lifted from it by `repaired_by` is as known then. Series that are
    unknown count as the others do: by their share of the 28 periods before.
    """
    settled = calendar.filter(~pl.col("is_late")).select("index", PERIOD_ON, pl.col("overtaken_at").alias("settled_at"))
    is_known = pl.col("settled_at").is_null() | (pl.col(KNOWN_AT) <= pl.col("settled_at"))
    rows = sales.select(SERIES_ID, PERIOD_ON, KNOWN_AT, UNITS)
    if repaired_by is not None:
        doubted = sales.filter(pl.col(UNITS).is_null()).select(SERIES_ID, PERIOD_ON).unique()
        rows = rows.join(doubted.with_columns(is_doubted=True), on=[SERIES_ID, PERIOD_ON], how="left")
        is_known |= pl.col("is_doubted").fill_null(value=False) & (
            pl.col(KNOWN_AT) <= pl.lit(repaired_by, dtype=pl.Datetime("us", "UTC"))
        )
    known = rows.join(settled.lazy(), on=PERIOD_ON).filter(is_known)
    figures = latest(known).select(SERIES_ID, "index", UNITS).collect()
    sums = figures.group_by("index").agg(half(pl.col(UNITS)).sum().alias("market"))
    if figures[UNITS].null_count():
        usual = pl.col("market") / (1.0 - pl.col("share"))
        sums = sums.join(_unknown_share(figures), on="index", how="left").select(
            "index", pl.when(pl.col("share") > 0).then(usual).otherwise("market").alias("market")
        )
    return calendar.join(sums, on="index", how="left", maintain_order="left")


def _unknown_share(figures: pl.DataFrame) -> pl.DataFrame:
    """Of each period with unknown series the share that they usually have of the market: index, share in [0, 1)."""
    unknown = figures.filter(pl.col(UNITS).is_null()).select(SERIES_ID, "index")
    found: list[tuple[int, float]] = []
    for (index,), series in unknown.group_by("index", maintain_order=True):
        assert isinstance(index, int)
        first = max(index - USUAL_PERIODS, 0)
        usual = (
            figures.filter(pl.col("index").is_between(first, index, closed="left"))
            .group_by(SERIES_ID)
            .agg(half(pl.col(UNITS)).sum().alias("sum"), pl.col(UNITS).null_count().alias("unknown"))
            .filter(pl.col("unknown") < index - first)
            .select(SERIES_ID, mean=pl.col("sum") / (index - first - pl.col("unknown")))
            .sort(SERIES_ID)
        )
        whole = float(usual["mean"].sum())
        missing = float(usual.join(series, on=SERIES_ID, how="semi", maintain_order="left")["mean"].sum())
        found.append((index, missing / whole if 0 < missing < whole else 0.0))
    return pl.DataFrame(found, schema={"index": figures.schema["index"], "share": pl.Float64}, orient="row")


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
