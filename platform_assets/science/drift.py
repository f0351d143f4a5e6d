"""Whether the champion's errors have left the range in which they were in its backtest."""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.science.feature_drift import LEAST_WINDOWS, MAD_TO_SD

Floats = NDArray[np.float64]

# In robust standard deviations. On 88 simulated worlds in which nothing happened, with a backtest of 84 days and a weekly
# look over 102 days, 5 exceeded it at some time (4: 9; 3: 18); prices up by 30% did in half of 10.
ERROR_THRESHOLD: Final = 5.0


@dataclass(frozen=True)
class ErrorDrift:
    """Where the model's loss over a baseline's stands against the reference.

    `relative` and `usual` are ratios of summed losses; `statistic` is the distance of their logarithms in robust
    standard deviations of the reference's windows.
    """

    relative: float
    usual: float
    statistic: float
    threshold: float
    onset_on: date | None  # first day of the present run of alarms; None where there is none
    has_drifted: bool
    is_judged: bool  # False where the reference or the days since are too short to say anything


def error_drift(
    losses: pl.DataFrame,
    *,
    reference_until: date,
    window_days: int = 28,
    threshold: float = ERROR_THRESHOLD,
    least_scale: float = 0.02,
) -> ErrorDrift:
    """Whether the last `window_days` days' loss over the baseline's is above that of the reference.

    losses: one row per judged period: day (Date), loss, baseline_loss, summed over the same rows. The reference is all
    up to `reference_until`. Its windows overlap and days depend on each other, so the spread of few windows is
    uncertain: it is not taken below `least_scale` (in log, so .02 is 2% of the ratio).
    """
    ordered = losses.sort("day").filter(pl.col("baseline_loss") > 0)
    _, past = _log_ratios(ordered.filter(pl.col("day") <= reference_until), window_days)
    days, now = _log_ratios(ordered.filter(pl.col("day") > reference_until), window_days)
    centre = float(np.median(past)) if past.size else float("nan")
    if past.size < LEAST_WINDOWS or not now.size:
        usual = float(np.exp(centre))
        return ErrorDrift(float("nan"), usual, 0.0, threshold, None, has_drifted=False, is_judged=False)
    scale = max(MAD_TO_SD * float(np.median(np.abs(past - centre))), least_scale)
    scores = (now - centre) / scale
    alarms = scores > threshold
    quiet = np.flatnonzero(~alarms)
    onset_on = None if not alarms[-1] else days[int(quiet[-1]) + 1 if quiet.size else 0]
    return ErrorDrift(
        relative=float(np.exp(now[-1])),
        usual=float(np.exp(centre)),
        statistic=float(scores[-1]),
        threshold=threshold,
        onset_on=onset_on,
        has_drifted=bool(alarms[-1]),
        is_judged=True,
    )


def _log_ratios(losses: pl.DataFrame, window_days: int) -> tuple[list[date], Floats]:
    """Last day, and log of summed loss over summed baseline loss, of each window of `window_days` that is covered.

    A window is covered once it reaches back to the first row; days without a row, such as closed ones, count as days.
    """
    if losses.height < 2:
        return [], np.empty(0)
    day = losses["day"].cast(pl.Int32).to_numpy().astype(np.int64)
    period = int(np.median(np.diff(day)))
    ends = np.flatnonzero(day - day[0] + period >= window_days)
    starts = np.searchsorted(day, day[ends] - window_days, side="right")
    totals = [np.cumsum(np.r_[0.0, losses[name].cast(pl.Float64).to_numpy()]) for name in ("loss", "baseline_loss")]
    loss, baseline = (total[ends + 1] - total[starts] for total in totals)
    ratios = np.log(np.maximum(loss, np.finfo(np.float64).tiny)) - np.log(baseline)
    return losses["day"].gather(ends).to_list(), ratios
