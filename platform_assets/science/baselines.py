"""Forecasts that one would be ashamed to lose to, from nothing but what was known at the origin.

A baseline turns a history into quantiles of every target period, or into a probability. Those that give quantiles by
themselves use them; the others add the quantiles of each series' own one-step errors within the history to their
point forecast, cut at 0. Point forecasts never see the target periods; a past value that was corrected later is seen
corrected, which can only favour the baseline.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import ConfigurationError, ModelError
from platform_assets.science import automatic, dormancy, smoothing
from platform_assets.science.history import (
    HISTORY_DAYS,
    RECENT_DAYS,
    History,
    history_at,
    row_mean,
    row_quantiles,
    with_residuals,
)
from platform_assets.science.splits import Origin, origin
from platform_assets.science.tasks import LEVELS, Task, quantile_column

Array = NDArray[np.float64]

AVERAGE_DAYS: Final = 28  # of the moving average
RECENT_QUANTILE_DAYS: Final = (
    56  # of the quantiles by recent history: on gift sales before Christmas they beat a year's by 2.6%
)
SAMPLE: Final = 24  # series that the automatic models are fitted on: together they take about .2 CPU s a series
AUTOMATIC_DAYS: Final = 112  # of their history where periods are days: on twice as long a one AutoARIMA was no better
AUTOMATIC_WEEKS_DAYS: Final = 728  # where they are weeks


def _moving_average(history: History, levels: Sequence[float]) -> Array:
    width = max(AVERAGE_DAYS // history.origin.period_days, 1)
    seen = ~np.isnan(history.units)
    totals = np.cumsum(np.nan_to_num(history.units), axis=1)
    counts = np.cumsum(seen, axis=1)
    totals[:, width:] -= totals[:, :-width].copy()
    counts[:, width:] -= counts[:, :-width].copy()
    average = np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)  # of the `width` periods up to each
    fitted = np.concatenate([np.full((len(average), 1), np.nan), average[:, :-1]], axis=1)
    last = np.where(np.isnan(average[:, -1]), row_mean(history.recent(RECENT_DAYS)), average[:, -1])
    return with_residuals(history, fitted, np.repeat(last[:, None], history.horizon, axis=1), levels)


def _seasonal_naive(history: History, levels: Sequence[float]) -> Array:
    periods, season = history.units.shape[1], history.season
    last = np.full((len(history.units), season), np.nan)
    fitted = np.full(history.units.shape, np.nan)
    for at in range(periods):
        fitted[:, at] = last[:, at % season]
        now = history.units[:, at]
        last[:, at % season] = np.where(np.isnan(now), last[:, at % season], now)
    ahead = np.column_stack([last[:, (periods + step) % season] for step in range(history.horizon)])
    average = row_mean(history.recent(AVERAGE_DAYS))[:, None]
    return with_residuals(history, fitted, np.where(np.isnan(ahead), average, ahead), levels)


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
    return with_residuals(history, found.fitted, found.ahead, levels)


def _arima(history: History, levels: Sequence[float]) -> Array:
    found = smoothing.arima(history.recent(RECENT_DAYS), history.horizon)
    return with_residuals(history, found.fitted, found.ahead, levels)


QUANTILE_BASELINES: Final[Mapping[str, Callable[[History, Sequence[float]], Array]]] = {
    "moving_average": _moving_average,
    "seasonal_naive": _seasonal_naive,
    "historical_quantile": _historical_quantile,
    "recent_quantile": _recent_quantile,
    "weekday_quantile": _weekday_quantile,
    "exponential_smoothing": _exponential_smoothing,
    "arima": _arima,
}
# Of a seeded sample of the judged series only: null elsewhere, and so never the best baseline unless it is all of them.
SAMPLED: Final[Mapping[str, automatic.Automatic]] = {"auto_ets": automatic.auto_ets, "auto_arima": automatic.auto_arima}
BY_WEEKDAY: Final = ("weekday_quantile",)  # says nothing of its own where periods are weeks
DESCRIPTIONS: Final[Mapping[str, str]] = {
    "moving_average": "mean of the last 28 days",
    "seasonal_naive": "the last value of the same weekday (of the same week a year ago where periods are weeks)",
    "historical_quantile": "quantiles of the series' last 364 days",
    "recent_quantile": "quantiles of the series' last 56 days",
    "weekday_quantile": "quantiles of the same weekday in the series' last 364 days",
    "exponential_smoothing": "ETS(A,N,A): level and season (of weekdays where periods are days), parameters fitted for each series on 182 days",
    "arima": "ARIMA(1,0,1) with a mean, fitted for each series on 182 days",
    "auto_ets": "ETS whose form is chosen for each series by AICc on 112 days (two years of weeks) before the first date",
    "auto_arima": "seasonal ARIMA whose orders are chosen for each series by AICc on 112 days (two years of weeks) before the first date",
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
    history = history_at(panel, at)
    if name in SAMPLED:
        return _carried(name, [history], sample_of(history.series, sample, seed), levels)[0]
    return _forecast(name, history, levels)


def sample_of(series: pl.Series, size: int = SAMPLE, seed: int = 0) -> pl.Series:
    """`size` of the different series, ascending, chosen by the seed; all of them where they are no more."""
    known = series.unique().sort()
    if known.len() <= size:
        return known
    return known.gather(np.sort(np.random.default_rng(seed).choice(known.len(), size, replace=False)))


def _forecast(name: str, history: History, levels: Sequence[float]) -> pl.DataFrame:
    if name in dormancy.BASELINES:
        return pl.DataFrame(
            {
                "series_id": history.series,
                "target_on": pl.repeat(history.origin.last_target_on, history.series.len(), dtype=pl.Date, eager=True),
                "probability": dormancy.BASELINES[name](history.units, history.origin.period_days),
            }
        )
    if name not in QUANTILE_BASELINES:
        known = sorted([*QUANTILE_BASELINES, *SAMPLED, *dormancy.BASELINES])
        raise ConfigurationError(f"baseline {name!r} is unknown", hint=f"known baselines: {known}")
    return _frame(history, QUANTILE_BASELINES[name](history, levels), levels)


def _carried(name: str, histories: Sequence[History], series: pl.Series, levels: Sequence[float]) -> list[pl.DataFrame]:
    """An automatic baseline of these series at each origin, in order; chosen and fitted at the first that allows it."""
    period_days = histories[0].origin.period_days
    seen = [history.of(series, AUTOMATIC_DAYS if period_days == 1 else AUTOMATIC_WEEKS_DAYS) for history in histories]
    found = SAMPLED[name]([h.units for h in seen], 7 if period_days == 1 else 1, max(h.horizon for h in seen))
    frames = [
        _frame(history, with_residuals(history, fitted, ahead[:, : history.horizon], levels), levels)
        for history, (fitted, ahead) in zip(seen, found, strict=True)
    ]
    return [
        frame.join(pl.DataFrame({"series_id": history.series}), on="series_id", how="semi", maintain_order="left")
        for frame, history in zip(frames, histories, strict=True)
    ]


def _frame(history: History, quantiles: Array, levels: Sequence[float]) -> pl.DataFrame:
    """(series, horizon, levels), made ascending, as series_id, target_on and the quantiles' columns."""
    quantiles = np.sort(quantiles, axis=2)
    targets = pl.Series("target_on", history.origin.target_dates, dtype=pl.Date)
    keys = pl.DataFrame({"series_id": history.series}).join(
        targets.to_frame(), how="cross", maintain_order="left_right"
    )
    columns = {quantile_column(level): quantiles[:, :, place].ravel() for place, level in enumerate(levels)}
    return keys.with_columns(**{column: pl.Series(values) for column, values in columns.items()})


def for_rows(
    names: Iterable[str],
    rows: pl.DataFrame,
    panel: pl.DataFrame,
    task: Task,
    *,
    period_days: int = 1,
    sample: int = SAMPLE,
    seed: int = 0,
) -> dict[str, pl.DataFrame]:
    """Predictions of each baseline for each row, in order: name -> frame of the task's outputs.

    `rows`: series_id, target_on, horizon_days. The automatic baselines predict `sample` of the rows' series, chosen by
    the seed and the same at every origin, and are null elsewhere.
    Raises: ModelError naming rows whose series has no history at the origin.
    """
    keys, levels = rows.select("series_id", "target_on", issued_on=_issued_on()), task.levels or LEVELS
    histories = [
        history_at(
            panel,
            origin(
                issued_on, horizon_days=int((_last_target(keys, issued_on) - issued_on).days), period_days=period_days
            ),
        )
        for issued_on in keys["issued_on"].unique().sort()
    ]
    chosen = sample_of(keys["series_id"], sample, seed)
    found: dict[str, pl.DataFrame] = {}
    for name in names:
        forecasts = (
            _carried(name, histories, chosen, levels)
            if name in SAMPLED
            else [_forecast(name, history, levels) for history in histories]
        )
        dated = [
            f.with_columns(issued_on=pl.lit(h.origin.issued_on)) for f, h in zip(forecasts, histories, strict=True)
        ]
        found[name] = _aligned(name, keys, pl.concat(dated), task)
    return found


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
