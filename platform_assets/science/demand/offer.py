"""What has been announced for a target day, as a feature view: one row for each announcement."""

from datetime import date
from typing import Final

import polars as pl

from platform_assets.names import EVENT_AT, KNOWN_AT, SERIES_ID, TARGET_DAY, TARGET_ON
from platform_assets.science.demand import columns

_ARRIVED_ON: Final = "arrived_on"


def offer(
    plans: pl.LazyFrame, *, start_on: date | None = None, end_on: date | None = None, period_days: int = 1
) -> pl.LazyFrame:
    """One row per series, target day and announcement that arrived in [start_on, end_on]: `columns.OFFER` and its times.

    Key `series_id`, `target_day` (days since 1970-01-01). A later announcement for the same day is a further row; an
    announcement of one instant that is corrected keeps its event time and gets a later known-at. `period_days` is not
    used: a plan names the day on which its period begins.
    """
    arrived = pl.col(_ARRIVED_ON)
    for bound in (arrived >= start_on if start_on else None, arrived <= end_on if end_on else None):
        plans = plans if bound is None else plans.filter(bound)
    return plans.select(
        SERIES_ID,
        pl.col(TARGET_ON).cast(pl.Int32).cast(pl.Int64).alias(TARGET_DAY),
        EVENT_AT,
        KNOWN_AT,
        *(feature.name for feature in columns.OFFER),
    )
