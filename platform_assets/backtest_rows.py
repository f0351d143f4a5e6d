"""What the trainings of a backtest learn from and are judged on: rows with features as known then, and with labels."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from platform_assets import names
from platform_assets.errors import EmptyFrameError

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.backtest_fitting import Judge
    from platform_assets.components.model_spec import ModelSpec
    from platform_assets.science.train_on import TrainOn

WEEK_DAYS: Final = 7
WATCHED_SERIES: Final = 300  # at most, whose quantiles are kept to tell how much another version changes them
KEY: Final = ("series_id", "issued_at", "target_on")
Echo = Callable[[str], None]


@dataclass(frozen=True)
class Weeks:
    """The weeks of a backtest and the rows that judge them, sorted; `cuts`: when each week begins.

    `series`: (rows,), number of a row's series, of `shape[1]`.
    """

    judge: Judge
    sales: pl.LazyFrame  # as known now
    starts: tuple[date, ...]
    cuts: tuple[datetime, ...]
    series: Any
    shape: tuple[int, int]
    digest: str  # of what is judged

    def sales_known(self, at: datetime) -> pl.LazyFrame:
        """Sales as known at an instant."""
        import polars as pl

        return self.sales.filter(pl.col(names.KNOWN_AT) <= at)

    def by_week(self, lost: Any, chosen: Any = slice(None)) -> Any:
        """(weeks, series): what was lost on each judged row, or on the chosen ones, summed."""
        import numpy as np

        matrix = np.zeros(self.shape)
        np.add.at(matrix, (self.judge.week[chosen], self.series[chosen]), lost)
        return matrix

    @cached_property
    def moves(self) -> Any:
        """(watched rows,): the usual move of each row's series, from sales known before the first week."""
        from platform_assets.science.demand.panel import latest
        from platform_assets.science.stability import usual_moves

        moves = usual_moves(latest(self.sales, known_by=self.cuts[0]).collect())
        rows = self.judge.rows.filter(self.judge.is_watched).select(names.SERIES_ID)
        joined = rows.join(moves, on=names.SERIES_ID, how="left", maintain_order="left")
        return joined["scale"].fill_null(moves["scale"].mean()).to_numpy()


def weeks_of(spec: ModelSpec, res: Any, weeks: int, most_series: int, echo: Echo) -> Weeks:
    """The last so many weeks, judged by all their series, or by so many of them drawn by a hash of their names."""
    import numpy as np
    import polars as pl

    from platform_assets.backtest_fitting import Judge
    from platform_assets.components.evaluating import observed
    from platform_assets.components.quarantine_masks import masks_of
    from platform_assets.components.training_set import known_sales
    from platform_assets.science import baselines, streams
    from platform_assets.science.demand import panel, sampling
    from platform_assets.science.fingerprint import content_hash
    from platform_assets.science.tasks import TASKS

    task, period_days = TASKS[spec.task], res.source.period_days
    sales = known_sales(res).collect().lazy()  # looked into week by week
    open_on = panel.periods(sales).collect()[names.PERIOD_ON].to_list()
    if not open_on:
        raise EmptyFrameError(f"{spec.name}: sales has no period in which anything was sold")
    origins = origins_of(open_on, weeks)
    reach = tuple(range(period_days, WEEK_DAYS + 1, period_days)) if spec.label == names.UNITS else (WEEK_DAYS,)
    masks = masks_of(res.ledger, res.source, res.clock.now())
    rows = sampling.evaluation_rows(sales, issued_on=origins, horizons=reach, masks=masks)
    rows = rows.filter(pl.col(names.SERIES_ID).is_in(_chosen(rows[names.SERIES_ID].unique(), most_series)))
    echo(f"{rows.height:,} rows in {weeks} weeks to judge by; joining {spec.feature_service}")
    week_on = (pl.col("target_on") - pl.duration(days=pl.col("horizon_days") - period_days)).alias("week_on")
    judged = joined(spec, res, sales, rows).with_columns(week_on)
    starts = judged["week_on"].unique().sort().to_list()
    if len(starts) < weeks:
        raise EmptyFrameError(
            f"{spec.name}: {weeks} weeks are asked for, {len(starts)} have labels", hint="ask for fewer `--weeks`"
        )
    first, place = (
        dict(judged.group_by("week_on").agg(at=pl.col("issued_at").min()).iter_rows()),
        {on: at for at, on in enumerate(starts)},
    )
    series = judged["series_id"].unique().sort()
    watched = _chosen(series, WATCHED_SERIES)
    prices = panel.latest(sales).select(names.SERIES_ID, names.PERIOD_ON, "price").collect()
    chosen = task.baselines[0]
    judge = Judge(
        spec,
        res.compute.profile(spec.compute),
        judged,
        baselines.for_rows([chosen], judged, observed(sales), task, period_days=period_days, seed=spec.seed)[chosen],
        streams.price_ratios(judged, prices),
        np.array([place[on] for on in judged["week_on"]]),
        judged["series_id"].is_in(watched).to_numpy(),
    )
    return Weeks(
        judge,
        sales,
        tuple(starts),
        tuple(first[on] for on in starts),
        series.search_sorted(judged["series_id"]).to_numpy(),
        (weeks, series.len()),
        content_hash(judged),
    )


def origins_of(open_on: Sequence[date], weeks: int) -> list[date]:
    """The last open period before each of the last so many weeks, ascending; weeks that were closed throughout are none.

    open_on: the open periods, ascending. There are fewer where history begins later.
    """
    found, begin = list[date](), open_on[-1]
    while len(found) < weeks and begin > open_on[0]:
        begin -= timedelta(days=WEEK_DAYS)
        at = bisect_right(open_on, begin) - 1
        if at >= 0 and open_on[at + 1] <= open_on[at] + timedelta(days=WEEK_DAYS) and open_on[at] not in found:
            found.append(open_on[at])
    return found[::-1]


def _chosen(series: pl.Series, most: int) -> list[str]:
    """So many of the series at most, drawn without a random state."""
    return sorted(series.to_list(), key=lambda one: (zlib.crc32(one.encode()), one))[:most]


def drawn(spec: ModelSpec, res: Any, sales: pl.LazyFrame, train_on: TrainOn, rows: int) -> pl.DataFrame:
    """Rows to fit on with features and labels, drawn from these sales as a choice says."""
    from platform_assets.components.drawing import horizons, window_start
    from platform_assets.components.quarantine_masks import masks_of
    from platform_assets.science.demand import sampling

    fit = sampling.fit_rows(
        sales,
        rows=rows,
        horizons=horizons(spec, res.source),
        start_on=window_start(sales, train_on),
        recent_days=train_on.recent_days,
        recent_density=train_on.recent_density,
        are_targets_open=spec.label == names.UNITS,
        masks=masks_of(res.ledger, res.source, res.clock.now()),
        seed=spec.seed,
    )
    return joined(spec, res, sales, fit)


def joined(spec: ModelSpec, res: Any, sales: pl.LazyFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with features as known then, and with their labels, sorted; those without a label are left out.

    A period under quarantine has none: it is unknown in `sales`.
    """
    import polars as pl

    from platform_assets.components.training_set import derived
    from platform_assets.science.demand import labels

    found = derived(spec, res, res.feature_store.historical(rows, spec.feature_service))
    known = labels.attach(found.select(*KEY, "horizon_days", *spec.features), sales, label=spec.label)
    is_known = pl.col(spec.label).is_not_null() & pl.col("label_known_at").is_not_null()
    return known.filter(is_known).sort(KEY)
