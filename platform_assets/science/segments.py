"""Which part of the assortment a row belongs to, from what was known when its forecast was issued."""

from datetime import date, timedelta
from typing import Final

import polars as pl

from platform_assets.errors import EmptyFrameError
from platform_assets.science.stock_cost import sells_whole_units

WINDOW_DAYS: Final = 91  # that volume and intermittency are measured over
NEW_DAYS: Final = 182  # a series is new that first sold within so many days
SEGMENTATIONS: Final = ("volume", "price_level", "intermittency", "age")
_THIRDS: Final = ("low", "middle", "high")
_OFTEN: Final = (
    "sells often (over half of periods)",
    "sells now and then",
    "sells rarely (under 15% of periods)",
)
_AGES: Final = ("established", "new (first sold within half a year)")
# Every segment, in the order in which a report shows them.
ORDER: Final = (*(f"{third} {what}" for what in ("volume", "price") for third in _THIRDS), *_OFTEN, *_AGES)


def describe(rows: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """The last known `price`, `is_whole` (whether all known units are), and the segment in each of SEGMENTATIONS: row for row.

    `rows`: series_id, target_on, horizon_days. `history`: series_id, period_on, units, and price where the source has
    one; dense on open periods from each series' first on. Volume and price level are thirds of the series at the same
    origin; the segment is null where nothing was known.
    Raises: EmptyFrameError if no series was known at an origin.
    """
    keys = rows.select("series_id", issued_on=pl.col("target_on") - pl.duration(days=pl.col("horizon_days")))
    priced = history if "price" in history.columns else history.with_columns(price=pl.lit(None, pl.Float64))
    described = [
        _at_origin(priced, keys.filter(pl.col("issued_on") == issued_on)["series_id"].unique(), issued_on)
        for issued_on in keys["issued_on"].unique().sort()
    ]
    return keys.join(pl.concat(described), on=["series_id", "issued_on"], how="left", maintain_order="left").select(
        "price", pl.col("is_whole").fill_null(value=True), *SEGMENTATIONS
    )


def _at_origin(history: pl.DataFrame, series: pl.Series, issued_on: date) -> pl.DataFrame:
    """One row per series that is judged at the origin and known there."""
    known = history.lazy().filter(pl.col("period_on") <= issued_on, pl.col("series_id").is_in(series.implode()))
    is_recent = pl.col("period_on") > issued_on - timedelta(days=WINDOW_DAYS)
    recent_units = pl.col("units").filter(is_recent)
    found = (
        known.sort("period_on")
        .group_by("series_id", maintain_order=True)
        .agg(
            mean=recent_units.mean(),
            zero_share=(recent_units == 0).mean(),
            price=pl.col("price").drop_nulls().last().cast(pl.Float64),
            first_on=pl.col("period_on").filter(pl.col("units") > 0).min(),
            is_whole=sells_whole_units(),
        )
        .collect()
    )
    if found.is_empty():
        raise EmptyFrameError(
            f"segments: none of {series.len()} series was known on {issued_on}",
            hint="pass the history from the first sale on",
        )
    is_rare, is_frequent = pl.col("zero_share") > 0.85, pl.col("zero_share") < 0.5
    return found.select(
        "series_id",
        "price",
        "is_whole",
        issued_on=pl.lit(issued_on),
        volume=_third("mean", " volume"),
        price_level=_third("price", " price"),
        intermittency=pl.when(pl.col("zero_share").is_null())
        .then(None)
        .when(is_rare)
        .then(pl.lit(_OFTEN[2]))
        .when(is_frequent)
        .then(pl.lit(_OFTEN[0]))
        .otherwise(pl.lit(_OFTEN[1])),
        age=pl.when(pl.col("first_on").is_null())
        .then(None)
        .when(pl.col("first_on") > issued_on - timedelta(days=NEW_DAYS))
        .then(pl.lit(_AGES[1]))
        .otherwise(pl.lit(_AGES[0])),
    )


def _third(column: str, suffix: str) -> pl.Expr:
    """Thirds of the series by rank; equal values fall into the same third."""
    share = pl.col(column).rank("average") / pl.col(column).count()
    return (
        pl.when(pl.col(column).is_null())
        .then(None)
        .when(share <= 1 / 3)
        .then(pl.lit(_THIRDS[0] + suffix))
        .when(share <= 2 / 3)
        .then(pl.lit(_THIRDS[1] + suffix))
        .otherwise(pl.lit(_THIRDS[2] + suffix))
    )
