"""Forecasts that one would be ashamed to lose to, from nothing but what was known at the origin.

A baseline turns a history into quantiles of every target period, or into a probability. Those that give quantiles by
themselves use them; the others add the quantiles of each series' own one-step errors within the history to their
point forecast, cut at 0. Point forecasts never see the target periods; a past value that was corrected later is seen
corrected, which can only favour the baseline.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import ConfigurationError, EmptyFrameError, ModelError
from platform_assets.science import automatic, dormancy, smoothing
from platform_assets.science.splits import Origin, origin
from platform_assets.science.tasks import LEVELS, Task, quantile_column

Array = NDArray[np.float64]

HISTORY_DAYS: Final = 364  # of quantiles by history; whole weeks, about a year
RECENT_DAYS: Final = 182  # of the models and of all residuals
AVERAGE_DAYS: Final = 28  # of the moving average
RECENT_QUANTILE_DAYS: Final = (
    56  # of the quantiles by recent history: on gift sales before Christmas they beat a year's by 2.6%
)
SAMPLE: Final = 60  # series that the automatic models are fitted on: AutoARIMA takes about .4 s a series


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


def _with_residuals(history: History, fitted: Array, ahead: Array, levels: Sequence[float]) -> Array:
    """Point forecasts (series, horizon) plus quantiles of recent one-step errors: (series, horizon, levels)."""
    recent = history.recent(RECENT_DAYS)
    errors = row_quantiles(recent - fitted[:, -recent.shape[1] :], levels)  # (series, levels)
    spread = np.where(np.isnan(errors), row_quantiles(recent - _row_mean(recent)[:, None], levels), errors)
    return np.maximum(ahead[:, :, None] + np.nan_to_num(spread)[:, None, :], 0.0)


def _row_mean(values: Array) -> Array:
    seen = ~np.isnan(values)
    return np.nansum(values, axis=1) / np.maximum(seen.sum(axis=1), 1)


def _moving_average(history: History, levels: Sequence[float]) -> Array:
    width = max(AVERAGE_DAYS // history.origin.period_days, 1)
    seen = ~np.isnan(history.units)
    totals = np.cumsum(np.nan_to_num(history.units), axis=1)
    counts = np.cumsum(seen, axis=1)
    totals[:, width:] -= totals[:, :-width].copy()
    counts[:, width:] -= counts[:, :-width].copy()
    average = np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)  # of the `width` periods up to each
    fitted = np.concatenate([np.full((len(average), 1), np.nan), average[:, :-1]], axis=1)
    last = np.where(np.isnan(average[:, -1]), _row_mean(history.recent(RECENT_DAYS)), average[:, -1])
    return _with_residuals(history, fitted, np.repeat(last[:, None], history.horizon, axis=1), levels)


def _seasonal_naive(history: History, levels: Sequence[float]) -> Array:
    periods, season = history.units.shape[1], history.season
    last = np.full((len(history.units), season), np.nan)
    fitted = np.full(history.units.shape, np.nan)
    for at in range(periods):
        fitted[:, at] = last[:, at % season]
        now = history.units[:, at]
        last[:, at % season] = np.where(np.isnan(now), last[:, at % season], now)
    ahead = np.column_stack([last[:, (periods + step) % season] for step in range(history.horizon)])
    average = _row_mean(history.recent(AVERAGE_DAYS))[:, None]
    return _with_residuals(history, fitted, np.where(np.isnan(ahead), average, ahead), levels)


def _historical_quantile(history: History, levels: Sequence[float]) -> Array:
    of_series = np.nan_to_num(row_quantiles(history.recent(HISTORY_DAYS), levels))
    return np.repeat(of_series[:, None, :], history.horizon, axis=1)


def _recent_quantile(history: History, levels: Sequence[float]) -> Array:
    of_series = row_quantiles(history.recent(RECENT_QUANTILE_DAYS), levels)
    whole = row_quantiles(history.recent(HISTORY_DAYS), levels)  # where the last weeks are unknown
    kept = np.nan_to_num(np.where(np.isnan(of_series), whole, of_series))
    return np.repeat(kept[:, None, :], history.horizon, axis=1)


def _weekday_quantile(history: History, levels: Sequence[float]) -> Array:
    """Quantiles of the target's weekday, or of all days where it has fewer than four observations."""
    of_series = _historical_quantile(history, levels)
    if history.origin.period_days != 1:
        return of_series
    recent = history.recent(HISTORY_DAYS)
    for step in range(min(7, history.horizon)):
        same_weekday = recent[
            :, step % 7 :: 7
        ]  # 364 is a whole number of weeks, so column 0 has the first target's weekday
        is_enough = (~np.isnan(same_weekday)).sum(axis=1) >= 4
        of_series[:, step::7] = np.where(
            is_enough[:, None, None], row_quantiles(same_weekday, levels)[:, None, :], of_series[:, step::7]
        )
    return of_series


def _exponential_smoothing(history: History, levels: Sequence[float]) -> Array:
    recent = history.recent(RECENT_DAYS)
    found = smoothing.exponential_smoothing(recent, 7 if history.origin.period_days == 1 else 1, history.horizon)
    return _with_residuals(history, found.fitted, found.ahead, levels)


def _arima(history: History, levels: Sequence[float]) -> Array:
    found = smoothing.arima(history.recent(RECENT_DAYS), history.horizon)
    return _with_residuals(history, found.fitted, found.ahead, levels)


def _automatic(fit: Callable[[Array, int, int], tuple[Array, Array]]) -> Callable[[History, Sequence[float]], Array]:
    def forecast_automatically(history: History, levels: Sequence[float]) -> Array:
        season = 7 if history.origin.period_days == 1 else 1
        return _with_residuals(history, *fit(history.recent(RECENT_DAYS), season, history.horizon), levels)

    return forecast_automatically


QUANTILE_BASELINES: Final[Mapping[str, Callable[[History, Sequence[float]], Array]]] = {
    "moving_average": _moving_average,
    "seasonal_naive": _seasonal_naive,
    "historical_quantile": _historical_quantile,
    "recent_quantile": _recent_quantile,
    "weekday_quantile": _weekday_quantile,
    "exponential_smoothing": _exponential_smoothing,
    "arima": _arima,
    "auto_ets": _automatic(automatic.auto_ets),
    "auto_arima": _automatic(automatic.auto_arima),
}
SAMPLED: Final = frozenset({"auto_ets", "auto_arima"})  # fitted on a seeded sample of series only
DESCRIPTIONS: Final[Mapping[str, str]] = {
    "moving_average": "mean of the last 28 days",
    "seasonal_naive": "the last value of the same weekday (of the same week a year ago where periods are weeks)",
    "historical_quantile": "quantiles of the series' last 364 days",
    "recent_quantile": "quantiles of the series' last 56 days",
    "weekday_quantile": "quantiles of the same weekday in the series' last 364 days",
    "exponential_smoothing": "ETS(A,N,A): level and weekly season, parameters fitted for each series on 182 days",
    "arima": "ARIMA(1,0,1) with a mean, fitted for each series on 182 days",
    "auto_ets": f"ETS of automatic form (statsforecast), on a sample of {SAMPLE} series",
    "auto_arima": f"ARIMA of automatic order (statsforecast), on a sample of {SAMPLE} series",
    "base_rate": "share of dormant weeks of all live series in the last 26 weeks",
    "series_rate": "share of dormant weeks of the series in the last 26 weeks, shrunk to the base rate",
    "recency": "logistic regression on the days since the last sale and the share of days with sales",
}


def forecast(
    name: str,
    panel: pl.DataFrame,
    at: Origin,
    *,
    levels: Sequence[float] = LEVELS,
    sample: int = SAMPLE,
    seed: int = 0,
) -> pl.DataFrame:
    """A baseline's forecast: series_id, target_on, and the quantile columns or `probability`.

    One row per series with a history and target period; of the automatic baselines only for `sample` series, chosen
    by the seed; of the probability baselines one row, at the last target of the origin.
    Raises: ConfigurationError if there is no such baseline.
    """
    return _forecast(name, history_at(panel, at), levels, sample, seed)


def _forecast(name: str, history: History, levels: Sequence[float], sample: int, seed: int) -> pl.DataFrame:
    if name in dormancy.BASELINES:
        return pl.DataFrame(
            {
                "series_id": history.series,
                "target_on": pl.repeat(history.origin.last_target_on, history.series.len(), dtype=pl.Date, eager=True),
                "probability": dormancy.BASELINES[name](history.units, history.origin.period_days),
            }
        )
    if name not in QUANTILE_BASELINES:
        known = sorted([*QUANTILE_BASELINES, *dormancy.BASELINES])
        raise ConfigurationError(f"baseline {name!r} is unknown", hint=f"known baselines: {known}")
    if name in SAMPLED and history.series.len() > sample:
        chosen = np.sort(np.random.default_rng(seed).choice(history.series.len(), sample, replace=False))
        history = History(history.series.gather(chosen), history.units[chosen], history.origin)
    quantiles = np.sort(QUANTILE_BASELINES[name](history, levels), axis=2)
    targets = pl.Series("target_on", history.origin.target_dates, dtype=pl.Date)
    keys = pl.DataFrame({"series_id": history.series}).join(
        targets.to_frame(), how="cross", maintain_order="left_right"
    )
    columns = {quantile_column(level): quantiles[:, :, place].ravel() for place, level in enumerate(levels)}
    return keys.with_columns(**{column: pl.Series(values) for column, values in columns.items()})


def for_rows(
    names: Iterable[str], rows: pl.DataFrame, panel: pl.DataFrame, task: Task, *, period_days: int = 1, seed: int = 0
) -> dict[str, pl.DataFrame]:
    """Predictions of each baseline for each row, in order: name -> frame of the task's outputs.

    `rows`: series_id, target_on, horizon_days. The automatic baselines are null for the series outside their sample.
    Raises: ModelError naming rows whose series has no history at the origin.
    """
    keys = rows.select("series_id", "target_on", issued_on=_issued_on())
    frames: dict[str, list[pl.DataFrame]] = {name: [] for name in names}
    for issued_on in keys["issued_on"].unique().sort():
        horizon_days = int((_last_target(keys, issued_on) - issued_on).days)
        history = history_at(panel, origin(issued_on, horizon_days=horizon_days, period_days=period_days))
        for name, found in frames.items():
            found.append(
                _forecast(name, history, task.levels or LEVELS, SAMPLE, seed).with_columns(issued_on=pl.lit(issued_on))
            )
    return {name: _aligned(name, keys, pl.concat(found), task) for name, found in frames.items()}


def _issued_on() -> pl.Expr:
    return pl.col("target_on") - pl.duration(days=pl.col("horizon_days"))


def _last_target(keys: pl.DataFrame, issued_on: date) -> date:
    last = keys.filter(pl.col("issued_on") == issued_on)["target_on"].max()
    assert isinstance(last, date), "the filter matched, and target_on is a date"
    return last


def _aligned(name: str, keys: pl.DataFrame, found: pl.DataFrame, task: Task) -> pl.DataFrame:
    joined = keys.join(found, on=["series_id", "target_on", "issued_on"], how="left", maintain_order="left")
    lacking = joined.filter(pl.any_horizontal(pl.col(task.outputs).is_null()))
    if lacking.height and name not in SAMPLED:
        shown = lacking.select("series_id", "target_on", "issued_on").head(3).rows()
        raise ModelError(
            f"baseline {name}: {lacking.height} of {keys.height} rows have no history at their origin; first: {shown}",
            hint="judge only series that sold within the year before the origin",
        )
    return joined.select(task.outputs)
