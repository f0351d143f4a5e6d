"""What a replayed policy may see of a backtest's weeks, and how it hears of drift."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from platform_assets import names
from platform_assets.backtest_matrix import Matrix
from platform_assets.backtest_rows import WEEK_DAYS, Echo

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.science.backtest import Floats
    from platform_assets.science.replay import History, Replayed, Training


def history_of(made: Matrix, period_days: int, echo: Echo) -> History:
    """What a policy may see: the losses, and what was known of sales and features when each week began."""
    import polars as pl

    from platform_assets.components.cron import newest_ticks
    from platform_assets.science import input_watch
    from platform_assets.science.demand import columns, sampling
    from platform_assets.science.replay import History
    from platform_assets.science.tasks import TASKS

    trainings, spec, weeks = made.trainings, made.trainings.spec, made.trainings.weeks
    known = weeks.sales.select(pl.col(names.KNOWN_AT).sort()).collect().to_series()
    rows = [int(known.search_sorted(cut, side="right")) for cut in made.known_at]
    watched = [name for name in spec.features if name not in columns.CALENDAR]

    @cache
    def trained_on(champion: Training) -> pl.DataFrame:
        rows = trainings.rows_of(champion)
        return rows.filter(pl.col("horizon_days") <= WEEK_DAYS)  # as far ahead as the weeks are judged

    @cache
    def weights_at(now: int) -> pl.DataFrame:
        return sampling.last_weights(weeks.sales_known(made.known_at[now]), are_targets_open=spec.label == names.UNITS)

    def has_drifted(champion: Training, now: int) -> bool:
        on = made.losses.periods[now]
        issued = trainings.judge.rows.filter(pl.col("week_on") == on)
        found = input_watch.input_drift(trained_on(champion), issued, watched, weights=weights_at(now))
        return not input_watch.judge_inputs(found, champion=str(champion.before), as_of=on).passed

    def make(training: Training) -> tuple[Floats, float]:
        lost, seconds, is_new = trainings.lost_by(training)
        done = "made" if is_new else "read again"
        echo(f"{done}: a training of {made.losses.periods[training.before]} on {training.on.told}")
        return lost, seconds

    return History(
        made.losses,
        made.known_at,
        tuple(rows),
        TASKS[spec.task].primary,
        period_days,
        has_drifted,
        newest_ticks,
        made.usually,
        make,
        cache(trainings.results),
        TASKS[spec.task],
    )


def by_psi(made: Matrix, limit: float) -> Callable[[Training, int], bool]:
    """Whether any feature's population stability index of a week against the training is above a limit."""
    import polars as pl

    from platform_assets.science.demand import columns
    from platform_assets.science.distances import stability_index
    from platform_assets.science.sorted_reference import Current, Reference

    trainings = made.trainings
    watched = [name for name in trainings.spec.features if name not in columns.CALENDAR]

    @cache
    def usual(champion: Training) -> dict[str, Reference]:
        rows = trainings.rows_of(champion).filter(pl.col("horizon_days") <= WEEK_DAYS)
        has_values = rows.select(pl.col(watched).count() > 0).row(0, named=True)
        return {
            name: Reference.of(rows[name]) for name in watched if rows.schema[name].is_numeric() and has_values[name]
        }

    def has_drifted(champion: Training, now: int) -> bool:
        issued = trainings.judge.rows.filter(pl.col("week_on") == made.losses.periods[now])
        has_values = issued.select(pl.col(watched).count() > 0).row(0, named=True)
        return any(
            not has_values[name] or stability_index(reference, Current.of(issued[name], reference)) > limit
            for name, reference in usual(champion).items()
        )

    return has_drifted


def change_of(found: Replayed, made: Matrix) -> float:
    """How much the quantiles changed where another version came to answer, summed over the weeks."""
    from platform_assets.science.replay import Training

    standing, total = Training(made.losses.lead, made.usually), 0.0
    for before, on in zip(found.trained, found.trained_on, strict=True):
        if before in found.promoted:
            new = Training(before, on)
            total += made.trainings.change(standing, new)
            standing = new
    return total
