"""How good a candidate is on rows that it has not seen, beside champion and baselines, with paired intervals."""

from collections.abc import Mapping
from datetime import date, datetime

import numpy as np
import polars as pl

from platform_assets.errors import ConfigurationError, EmptyFrameError, ModelError, SchemaError
from platform_assets.science.bootstrap import DRAWS, Resampler
from platform_assets.science.examples import choose_examples
from platform_assets.science.findings import TO_COME, WITHOUT_LABEL, Evaluation, Sample
from platform_assets.science.judging import Judged
from platform_assets.science.stock_cost import UnitCosts
from platform_assets.science.tasks import Task

CANDIDATE = "candidate"
KEYS = ("series_id", "issued_at", "target_on", "horizon_days")


def evaluate(
    task: Task,
    rows: pl.DataFrame,
    predictions: Mapping[str, pl.DataFrame],
    *,
    label: str = "units",
    candidate: str = CANDIDATE,
    champion: str | None = None,
    segments: pl.DataFrame | None = None,
    history: pl.DataFrame | None = None,
    costs: UnitCosts | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Evaluation:
    """The evaluation of `predictions[candidate]`; every other name but the champion's is a baseline.

    `rows`: series_id, issued_at, target_on, horizon_days and the label. Rows without a label (periods that are still to come, closed,
    unknown, censored or faulty ones) are left out and counted. `predictions`: frames of the task's outputs, row for row; a
    baseline fitted on a sample of series is null elsewhere, compared where it is not, and so never the best baseline.
    `seed`: of the draws, and of that sample.
    `segments`: row for row, text columns and, if prices are known, `price` as of the issue, and `is_whole` (see science.segments).
    `history`: series_id, period_on, units, up to the last period that is known; for the example charts, and to tell what is still to come.
    Raises: ModelError if predictions don't fit the task or the rows; EmptyFrameError if no row has a label.
    """
    _check(task, rows, predictions, candidate, champion, label, segments)
    truth = rows[label].cast(pl.Float64)
    has_label = truth.is_not_null() & truth.is_not_nan().fill_null(value=False)
    judged = rows.filter(has_label)
    if judged.is_empty():
        raise EmptyFrameError(
            f"evaluation: none of {rows.height} rows has a label `{label}`",
            hint="the window may lie after the last known period; see splits.rolling_origins",
        )
    known_until = _day(judged["target_on"].max())
    if history is not None:  # whose last period may be one without any label
        known_until = max(known_until, _day(history["period_on"].max()))
    kept = {name: frame.select(task.outputs).filter(has_label) for name, frame in predictions.items()}
    parts = None if segments is None else segments.filter(has_label)
    price, is_whole = (
        None if parts is None else parts.get_column(name, default=None) for name in ("price", "is_whole")
    )
    costs = costs or UnitCosts()
    resampler = Resampler(judged["series_id"], draws=draws, seed=seed)
    found = Judged(task, judged, truth.filter(has_label), kept, price, costs, candidate, resampler, is_whole)
    baselines = tuple(name for name in predictions if name not in (candidate, champion))
    best = found.best(baselines)
    is_quantiles = bool(task.levels)
    return Evaluation(
        task=task.name,
        label=label,
        candidate=candidate,
        champion=champion,
        baselines=baselines,
        best_baseline=best,
        sample=_sample(found, baselines, seed),
        primary=task.primary,
        rows=judged.height,
        series=judged["series_id"].n_unique(),
        excluded=_excluded(rows.filter(~has_label), known_until),
        judged_from=_instant(rows["issued_at"].min()),
        first_target_on=_day(judged["target_on"].min()),
        last_target_on=_day(judged["target_on"].max()),
        levels=task.levels,
        origins=judged["issued_at"].n_unique(),
        has_prices=price is not None and price.null_count() < price.len(),
        costs=costs,
        confidence=resampler.confidence,
        draws=draws,
        seed=seed,
        figures=found.figures(),
        comparisons=found.comparisons(),
        calibration=found.calibration() if is_quantiles else {},
        reliability={} if is_quantiles else found.reliability(),
        roc={} if is_quantiles else found.roc(),
        slices=found.slices(parts),
        examples=choose_examples(task, judged, label, kept, candidate, champion or best, history),
    )


def _excluded(rows: pl.DataFrame, known_until: date) -> dict[str, int]:
    """Rows without a label by why they have none: the period is still to come, or it has come without one."""
    to_come = int((rows["target_on"] > known_until).sum())
    return {TO_COME: to_come, WITHOUT_LABEL: rows.height - to_come}


def _sample(found: Judged, baselines: tuple[str, ...], seed: int) -> Sample | None:
    partial = tuple(name for name in baselines if not found.is_covered[name].all())
    if not partial:
        return None
    covered = pl.Series(np.logical_or.reduce([found.is_covered[name] for name in partial]))
    series = found.rows["series_id"]
    return Sample(partial, series.filter(covered).n_unique(), series.n_unique(), seed)


def _instant(value: object) -> datetime:
    assert isinstance(value, datetime), "issued_at is a Datetime column without nulls"
    return value


def _day(value: object) -> date:
    assert isinstance(value, date), "target_on is a Date column without nulls"
    return value


def _check(
    task: Task,
    rows: pl.DataFrame,
    predictions: Mapping[str, pl.DataFrame],
    candidate: str,
    champion: str | None,
    label: str,
    segments: pl.DataFrame | None,
) -> None:
    lacking = [name for name in (*KEYS, label) if name not in rows.columns]
    if lacking:
        raise SchemaError(
            f"evaluation rows: columns {lacking} are missing; columns: {rows.columns}", hint="attach labels first"
        )
    unkeyed = {name: rows[name].null_count() for name in KEYS if rows[name].null_count()}
    if unkeyed:
        raise SchemaError(f"evaluation rows: nulls in {unkeyed}", hint="every row needs its whole key")
    for role, name in (("candidate", candidate), ("champion", champion)):
        if name is not None and name not in predictions:
            raise ConfigurationError(
                f"evaluation: no predictions of the {role} {name!r}", hint=f"predictions are of {sorted(predictions)}"
            )
    for name, frame in predictions.items():
        if frame.height != rows.height:
            raise ModelError(
                f"evaluation: {name} has {frame.height} predictions for {rows.height} rows", hint="predict every row"
            )
        is_baseline = name not in (candidate, champion)
        try:
            task.validate(frame.drop_nulls() if is_baseline else frame)
        except ModelError as error:
            raise ModelError(f"evaluation: {name}: {error.message}", hint=error.hint) from error
    if segments is not None and segments.height != rows.height:
        raise SchemaError(
            f"evaluation: {segments.height} rows of segments for {rows.height} rows",
            hint="see science.segments.describe",
        )
