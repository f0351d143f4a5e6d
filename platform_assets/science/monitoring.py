"""What has become of a champion's forecasts, and of its inputs, by now: figures per day, and two verdicts.

A verdict is what a monitoring check reports; its `metadata` is what the retraining sensor reads back.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from platform_assets.errors import SchemaError
from platform_assets.science import calibration, streams
from platform_assets.science.calibration import OwnRate, Standing
from platform_assets.science.tasks import Task


@dataclass(frozen=True)
class Verdict:
    """Answer of one monitoring check about one champion; `is_judged` is False where there is too little to say."""

    passed: bool
    champion: str
    as_of: date  # the day known last
    statistic: float
    threshold: float
    about: str
    is_judged: bool = True
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, str | float]:
        """What the check shows and the retraining sensor reads: champion, as_of, statistic, threshold, and the figures."""
        said: dict[str, str | float] = {"champion": self.champion, "as_of": self.as_of.isoformat(), "about": self.about}
        return {**said, "statistic": self.statistic, "threshold": self.threshold, **self.figures}


def daily_losses(
    rows: pl.DataFrame, predictions: pl.DataFrame, baseline: pl.DataFrame, task: Task, *, label: str
) -> pl.DataFrame:
    """One row per target day, ascending: what the model's forecasts for it cost, and what a baseline's would have.

    rows: target_on and `label`; predictions, baseline: the task's outputs, row for row. Rows whose label is null or
    for which the baseline says nothing are left out of both, so that the two are summed over the same rows.
    Returns: day, rows, loss and baseline_loss (sums), bias (mean label minus mean forecast), inside (share of labels
    within the outermost quantiles; null for a task without quantiles).
    """
    if not rows.height == predictions.height == baseline.height:
        raise SchemaError(
            f"monitoring: {rows.height} rows, {predictions.height} predictions and {baseline.height} of the baseline",
            hint="give all three row for row",
        )
    is_known = rows.select(pl.col(label).is_not_null()).to_series()
    is_known &= baseline.select(pl.all_horizontal(pl.col(task.outputs).is_not_null())).to_series()
    known, said, other = rows.filter(is_known), predictions.filter(is_known), baseline.filter(is_known)
    truth = known[label].cast(pl.Float64)
    inside = pl.lit(None, dtype=pl.Boolean)
    if task.levels:
        low, high = said[task.outputs[0]], said[task.outputs[-1]]
        inside = ((truth >= low) & (truth <= high)).alias("inside")
    centre = said[task.outputs[_median(task)]]
    scored = pl.DataFrame(
        {
            "day": known["target_on"],
            "loss": task.loss(truth, said),
            "baseline_loss": task.loss(truth, other),
            "bias": truth - centre,
        }
    ).with_columns(inside=inside)
    return (
        scored.group_by("day")
        .agg(
            rows=pl.len(),
            loss=pl.col("loss").sum(),
            baseline_loss=pl.col("baseline_loss").sum(),
            bias=pl.col("bias").mean(),
            inside=pl.col("inside").mean(),
        )
        .sort("day")
    )


def judge_errors(results: pl.DataFrame, task: Task, *, reference_until: date, champion: str, as_of: date) -> Verdict:
    """The check `error`: signals of the champion's results, each against the same in its own backtest.

    results: as `streams.daily_sums` gives them, or day, rows, loss and baseline_loss alone, of the backtest up to
    `reference_until` and of the forecasts since. The statistic is that of the signal that is nearest to its limit, or
    furthest beyond it, and the threshold its limit.
    """
    names = calibration.default_signals(task)
    first = results["day"].min() if results.height else None
    reference = None if not isinstance(first, date) or first > reference_until else (first, reference_until)
    found = streams.signals(results, task, reference=reference)
    standings = [] if reference is None else calibration.standings(found, names, reference_until=reference_until)
    alarms = [one for one in standings if one.has_alarmed]
    ratio = calibration.log_ratio(found, reference_until=reference_until)
    shares = {f"{one.signal}, of its limit": one.statistic / one.limit for one in standings}
    figures = {
        "loss over the baseline's": math.exp(ratio[0]) if ratio else float("nan"),
        "the same in the backtest": math.exp(ratio[1]) if ratio else float("nan"),
        **shares,
    }
    shown = alarms or standings
    own = calibration.own_rate(found, names, reference_until=reference_until) if reference and standings else None
    return Verdict(
        passed=not alarms,
        champion=champion,
        as_of=as_of,
        statistic=shown[0].statistic if shown else 0.0,
        threshold=shown[0].limit if shown else 0.0,
        about=_told_errors(standings, alarms, own, reference),
        is_judged=bool(standings),
        figures={name: value for name, value in figures.items() if math.isfinite(value)},
    )


def _median(task: Task) -> int:
    """Place of the output that stands for the middle; the only one of a task without quantiles."""
    return min(range(len(task.levels)), key=lambda at: abs(task.levels[at] - 0.5), default=0)


def _told_errors(
    standings: Sequence[Standing],
    alarms: Sequence[Standing],
    own: OwnRate | None,
    reference: tuple[date, date] | None,
) -> str:
    if not standings:
        least = min(calibration.LENGTHS)
        return f"too early: no results since the backtest, or a backtest of fewer than {least} days"
    assert reference is not None, "what has no reference has no standing"
    if alarms:
        told = "; ".join(
            f"{one.signal} {one.value:+.3g} (usually {one.usual:+.3g}) since {one.since}: "
            f"{one.statistic:.1f} of its usual deviations, {one.limit:.1f} allowed"
            for one in alarms
        )
    else:
        nearest = standings[0]
        told = (
            f"{len(standings)} signals within their limits; nearest: {nearest.signal}, "
            f"{nearest.statistic:.1f} of its usual deviations, {nearest.limit:.1f} allowed"
        )
    return f"{told}. {_told_rate(own, (reference[1] - reference[0]).days + 1)}"


def _told_rate(own: OwnRate | None, days: int) -> str:
    """What the own backtest says of false alarms, and what it cannot."""
    if own is None:
        return f"Limits are those of simulated worlds: a backtest of {days} days can promise no rate of false alarms"
    promise = (
        "" if own.spans * calibration.SPAN_DAYS >= 90 * calibration.LEAST_QUARTERS else ", too few to promise a rate"
    )
    return (
        f"Judged by the rest of it, {own.alarms} of {own.spans} spans of {calibration.SPAN_DAYS} days of its backtest "
        f"would have alarmed (95%: {own.low:.0%} to {own.high:.0%}){promise}; limits are those of simulated worlds"
    )
