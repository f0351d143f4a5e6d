"""What was known of every series at an origin, as an array; and what a point forecast's own errors add to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import EmptyFrameError
from platform_assets.science.splits import Origin

Array = NDArray[np.float64]

HISTORY_DAYS: Final = 364  # of quantiles by history; whole weeks, about a year
RECENT_DAYS: Final = 182  # of the models and of all residuals


@dataclass(frozen=True)
class History:
    """Units of all series up to an origin: NaN before a series began, in closed and in unknown periods."""

    series: pl.Series  # (series,), ascending
    units: Array  # (series, periods), the last column is the origin's period
    origin: Origin

    @property
    def season(self) -> int:
        """Periods in a season: 7 days of a week, or 52 weeks of a year."""
        return 7 if self.origin.period_days == 1 else 52

    @property
    def horizon(self) -> int:
        """Number of target periods."""
        return len(self.origin.target_dates)

    def recent(self, days: int) -> Array:
        """The last columns: (series, days / period)."""
        return self.units[:, -(days // self.origin.period_days) :]

    def of(self, series: pl.Series, days: int) -> "History":
        """The last columns of these series, in this order; NaN where a series has no history."""
        place = pl.DataFrame({"series_id": series}).join(
            pl.DataFrame({"series_id": self.series}).with_row_index("row"),
            on="series_id",
            how="left",
            maintain_order="left",
        )["row"]
        recent = self.recent(days)
        units = recent[place.fill_null(0).to_numpy()]
        units[place.is_null().to_numpy()] = np.nan
        return History(series, units, self.origin)


def history_at(panel: pl.DataFrame, at: Origin, *, days: int | None = None) -> History:
    """History of every series with an observation in the year up to the origin (two years where periods are weeks).

    `panel`: series_id, period_on, units; one row per series and open period from the series' first on; null units are
    unknown. `days` is another length.
    Raises: EmptyFrameError if nothing was known at the origin.
    """
    length = days or (HISTORY_DAYS if at.period_days == 1 else 2 * HISTORY_DAYS)
    periods = length // at.period_days
    first_on = at.issued_on - timedelta(days=(periods - 1) * at.period_days)
    known = panel.filter(pl.col("period_on").is_between(first_on, at.issued_on), pl.col("units").is_not_null())
    if known.is_empty():
        raise EmptyFrameError(
            f"baselines: the panel has no units from {first_on} to {at.issued_on}",
            hint="the origin lies before the first sale, or the panel was cut too early",
        )
    series = known["series_id"].unique().sort()
    placed = known.join(pl.DataFrame({"series_id": series}).with_row_index("row"), on="series_id").select(
        "row", "units", column=(pl.col("period_on") - first_on).dt.total_days() // at.period_days
    )
    units = np.full((series.len(), periods), np.nan)
    units[placed["row"].to_numpy(), placed["column"].to_numpy()] = placed["units"].to_numpy()
    return History(series, units, at)


def row_quantiles(values: Array, levels: Sequence[float]) -> Array:
    """Quantiles of each row's values, (rows, levels), linear between order statistics; NaN where all are NaN."""
    ordered = np.sort(values, axis=1)  # NaN last
    count = (~np.isnan(values)).sum(axis=1)
    place = np.maximum(count - 1, 0)[:, None] * np.asarray(levels)[None, :]
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0)[:, None])
    share = place - low
    return (1 - share) * np.take_along_axis(ordered, low, 1) + share * np.take_along_axis(ordered, high, 1)


def with_residuals(history: History, fitted: Array, ahead: Array, levels: Sequence[float]) -> Array:
    """Point forecasts (series, horizon) plus quantiles of recent one-step errors: (series, horizon, levels)."""
    recent = history.recent(RECENT_DAYS)
    errors = row_quantiles(recent - fitted[:, -recent.shape[1] :], levels)  # (series, levels)
    spread = np.where(np.isnan(errors), row_quantiles(recent - row_mean(recent)[:, None], levels), errors)
    return np.maximum(ahead[:, :, None] + np.nan_to_num(spread)[:, None, :], 0.0)


def row_mean(values: Array) -> Array:
    """Mean of each row's values that are known; 0 where none is."""
    seen = ~np.isnan(values)
    return np.nansum(values, axis=1) / np.maximum(seen.sum(axis=1), 1)
