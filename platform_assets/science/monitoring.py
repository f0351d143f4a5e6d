"""What has become of a champion's forecasts, and of its inputs, by now: figures per day, and two verdicts.

A verdict is what a monitoring check reports; its `metadata` is what the retraining sensor reads back.
"""

import math
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from platform_assets.errors import SchemaError
from platform_assets.science.drift import ErrorDrift, error_drift
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


def judge_errors(
    losses: pl.DataFrame, *, reference_until: date, champion: str, as_of: date, window_days: int = 28
) -> Verdict:
    """The check `error`: the champion's loss over the baseline's, against the same in its backtest.

    losses: as `daily_losses` gives them, of the backtest up to `reference_until` and of the forecasts since.
    """
    found = error_drift(losses, reference_until=reference_until, window_days=window_days)
    return Verdict(
        passed=not found.has_drifted,
        champion=champion,
        as_of=as_of,
        statistic=found.statistic,
        threshold=found.threshold,
        about=_told_errors(found, window_days),
        is_judged=found.is_judged,
        figures={
            name: value
            for name, value in (
                ("loss over the baseline's", found.relative),
                ("the same in the backtest", found.usual),
            )
            if math.isfinite(value)
        },
    )


def _median(task: Task) -> int:
    """Place of the output that stands for the middle; the only one of a task without quantiles."""
    return min(range(len(task.levels)), key=lambda at: abs(task.levels[at] - 0.5), default=0)


def _told_errors(found: ErrorDrift, window_days: int) -> str:
    if not found.is_judged:
        return f"too early: fewer than {window_days} judged days since the backtest, or too short a backtest"
    since = "" if found.onset_on is None else f", above its limit since {found.onset_on}"
    return (
        f"loss over the baseline's {found.relative:.3f} in the last {window_days} days, {found.usual:.3f} in the "
        f"backtest: {found.statistic:+.1f} of its usual deviations{since}"
    )
