"""What came true: the label of each forecast and when it was known."""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from platform_assets.errors import ConfigurationError
from platform_assets.names import KNOWN_AT, PERIOD_ON, SERIES_ID, TARGET_ON, UNITS
from platform_assets.science.demand.panel import latest, periods, units_expr

LABELS: Final = ("units", "is_dormant")
LABEL_KNOWN_AT: Final = "label_known_at"
WEEK_DAYS: Final = 7


def attach(
    rows: pl.DataFrame, sales: pl.LazyFrame, *, label: str = UNITS, known_by: datetime | None = None
) -> pl.DataFrame:
    """`rows` in their order with `label` (Float64) and `label_known_at`, both null where the label is not known.

    `units`: demand of the target period; 0.0 where the source was open and the series sold nothing. Null where the
    source was closed, has not reported yet, or the series had nothing to sell. `is_dormant`: 1.0 if the series sells
    nothing in the seven days that end with `target_on`, else 0.0. Null where the week has not passed, was closed
    throughout, or the series had nothing to sell on some day and sold nothing on the others. The latest revision
    counts, of those known by `known_by`; `label_known_at` is that revision's time, so a label that was corrected
    after a cut is no label of the cut.
    """
    if known_by is not None:
        sales = sales.filter(pl.col(KNOWN_AT) <= known_by)
    if label == UNITS:
        labels = _outcomes(rows.select(SERIES_ID, TARGET_ON), sales)
    elif label == "is_dormant":
        labels = _dormant(rows.select(SERIES_ID, TARGET_ON), sales)
    else:
        raise ConfigurationError(
            f"label {label!r} is unknown; found: {', '.join(LABELS)}", hint="set `label` in defs.yaml"
        )
    is_known = pl.col(label).is_not_null()
    labels = labels.with_columns(pl.when(is_known).then(LABEL_KNOWN_AT).alias(LABEL_KNOWN_AT))
    return rows.join(labels, on=[SERIES_ID, TARGET_ON], how="left", maintain_order="left")


def _outcomes(targets: pl.DataFrame, sales: pl.LazyFrame) -> pl.DataFrame:
    """Units, null where there was nothing to sell, of those (series, target_on) at which the source was open."""
    calendar = periods(sales).select(pl.col(PERIOD_ON).alias(TARGET_ON), "arrived_at")
    figures = latest(sales).select(
        SERIES_ID,
        pl.col(PERIOD_ON).alias(TARGET_ON),
        units_expr().alias(UNITS),
        KNOWN_AT,
        pl.lit(value=True).alias("has_figures"),
    )
    return (
        targets.lazy()
        .unique()
        .join(calendar, on=TARGET_ON)
        .join(figures, on=[SERIES_ID, TARGET_ON], how="left")
        .select(
            SERIES_ID,
            TARGET_ON,
            pl.when("has_figures").then(pl.col(UNITS)).otherwise(0.0).alias(UNITS),
            pl.max_horizontal("arrived_at", KNOWN_AT).alias(LABEL_KNOWN_AT),
        )
        .collect()
    )


def _dormant(targets: pl.DataFrame, sales: pl.LazyFrame) -> pl.DataFrame:
    """`is_dormant` of the week that ends with each (series, target_on), where the week has passed."""
    calendar = (
        periods(sales).select(pl.col(PERIOD_ON).alias("passed_on"), pl.col("arrived_at").alias("passed_at")).collect()
    )
    week = (
        targets.unique()
        .sort(TARGET_ON)
        .join_asof(
            # A week that ends on a closed day has passed when the next open period has come in.
            calendar.sort("passed_on"),
            left_on=TARGET_ON,
            right_on="passed_on",
            strategy="forward",
            coalesce=False,
        )
        .filter(pl.col("passed_at").is_not_null())
        .rename({TARGET_ON: "week_on"})
    )
    days = [(pl.col("week_on") - timedelta(days=day)) for day in range(WEEK_DAYS)]
    daily = week.select(SERIES_ID, "week_on", pl.concat_list(days).alias(TARGET_ON)).explode(TARGET_ON)
    found = daily.join(_outcomes(daily.select(SERIES_ID, TARGET_ON), sales), on=[SERIES_ID, TARGET_ON])
    sold = found.group_by(SERIES_ID, "week_on").agg(
        pl.col(UNITS).sum().alias("sold"), pl.col(UNITS).is_null().any().alias("has_gap"), pl.col(LABEL_KNOWN_AT).max()
    )
    is_dormant = pl.when(pl.col("sold") > 0).then(0.0).when(~pl.col("has_gap")).then(1.0)
    return week.join(sold, on=[SERIES_ID, "week_on"]).select(
        SERIES_ID,
        pl.col("week_on").alias(TARGET_ON),
        is_dormant.alias("is_dormant"),
        pl.max_horizontal(LABEL_KNOWN_AT, "passed_at").alias(LABEL_KNOWN_AT),
    )
