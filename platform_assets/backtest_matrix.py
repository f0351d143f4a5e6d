"""What each week's training would have lost in every later week: trained for real, scored, and kept by what made it."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from platform_assets import names
from platform_assets.errors import DataError, EmptyFrameError

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.components.model_spec import ModelSpec
    from platform_assets.science.backtest import Losses
    from platform_assets.science.replay import Training
    from platform_assets.science.train_on import TrainOn

WEEK_DAYS: Final = 7
FOLDER: Final = "backtests"  # of the artifacts that keep what each training lost
WATCHED_SERIES: Final = 300  # at most, whose quantiles are kept to tell how much another version changes them
Echo = Callable[[str], None]


class Trainings:
    """Trainings at the beginning of any week on any choice, made where they are asked for and kept by what made them."""

    def __init__(self, spec: ModelSpec, res: Any, weeks: int, rows: int, echo: Echo) -> None:
        import numpy as np
        import polars as pl

        from platform_assets.components.training_set import known_sales
        from platform_assets.science.fingerprint import content_hash

        self.spec, self.res, self.rows, self.sales = spec, res, rows, known_sales(res)
        self.fit, self.judged, self.starts = _rows(spec, res, self.sales, weeks, rows, echo)
        first = dict(self.judged.group_by("week_on").agg(at=pl.col("issued_at").min()).iter_rows())
        self.cuts: list[datetime] = [first[on] for on in self.starts]
        series, place = self.judged["series_id"].unique().sort(), {on: at for at, on in enumerate(self.starts)}
        self._at_week = np.array([place[on] for on in self.judged["week_on"]])
        self._at_series = series.search_sorted(self.judged["series_id"]).to_numpy()
        self._shape, self._judged_hash = (len(self.starts), series.len()), content_hash(self.judged)
        self._issues: pl.Series | None = None
        kept = series.hash(seed=0).arg_sort()[:WATCHED_SERIES].sort()
        self.watched = np.flatnonzero(np.isin(self._at_series, kept.to_numpy()))  # rows of `judged`
        self._keys: dict[Training, str] = {}

    def by_week(self, lost: Any) -> Any:
        """(weeks, series): what was lost on each judged row, summed."""
        import numpy as np

        matrix = np.zeros(self._shape)
        np.add.at(matrix, (self._at_week, self._at_series), lost)
        return matrix

    def rows_of(self, training: Training) -> pl.DataFrame:
        """The rows that it is fitted on: of the matrix's own draw, or drawn as production would have drawn them then."""
        from platform_assets.science.splits import fit_mask

        cut = self.cuts[training.before]
        if training.on.is_even:
            return self.fit.filter(fit_mask(self.fit, cut))
        drawn = _drawn(self.spec, self.res, self.sales_known(cut), training.on, self._budget(cut))
        return drawn.filter(fit_mask(drawn, cut))

    def lost_by(self, training: Training) -> tuple[Any, float, bool]:
        """(weeks, series): what it loses, NaN in weeks before its own; its seconds; and whether it was made just now."""
        import numpy as np

        from platform_assets.science.fingerprint import content_hash

        fit, cut = self.rows_of(training), self.cuts[training.before]
        made_of = [
            self.spec.code_version,
            self.spec.seed,
            self.rows,
            WATCHED_SERIES,
            content_hash(fit),
            self._judged_hash,
        ]
        named = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:32]
        self._keys[training] = key = f"{FOLDER}/{self.spec.name}/{named}"
        lost, seconds, is_new = _scored(self.spec, self.res, fit, self.judged, self.watched, cut, key)
        matrix = self.by_week(lost)
        matrix[: training.before] = np.nan  # weeks that it has been trained on
        return matrix, seconds, is_new

    def change(self, standing: Training, new: Training) -> float:
        """By how much the quantiles of the week at whose beginning the new training takes over differ from the standing one's."""
        from platform_assets.science.stability import multi_quantile_change

        at = self._at_week[self.watched] == new.before
        before, after = (self._said_by(one)[at].to_numpy() for one in (standing, new))
        return multi_quantile_change(before, after, self._moves[self.watched[at]])

    def _said_by(self, training: Training) -> pl.DataFrame:
        """What a training says of the watched rows."""
        import polars as pl

        if training not in self._keys:
            self.lost_by(training)
        return pl.read_parquet(io.BytesIO(self.res.artifacts.get(f"{self._keys[training]}-said.parquet")))

    @cached_property
    def _moves(self) -> Any:
        """(judged rows,): the usual move of each row's series, from sales known before the first week."""
        from platform_assets.science.demand.panel import latest
        from platform_assets.science.stability import usual_moves

        known = latest(self.sales, known_by=self.cuts[0]).collect()
        moves = usual_moves(known)
        joined = self.judged.select(names.SERIES_ID).join(moves, on=names.SERIES_ID, how="left", maintain_order="left")
        return joined["scale"].fill_null(moves["scale"].mean()).to_numpy()

    def sales_known(self, at: datetime) -> pl.LazyFrame:
        """Sales as known at an instant."""
        import polars as pl

        return self.sales.filter(pl.col(names.KNOWN_AT) <= at)

    def _budget(self, cut: datetime) -> int:
        """As many rows as the even draw has up to a cut, so that choices differ by what they draw and not by how much."""
        from platform_assets.science.demand import sampling

        if self._issues is None:
            self._issues = sampling.live(self.sales)["issued_at"].sort()
        return max(1, round(self.rows * self._issues.search_sorted(cut, side="right") / self._issues.len()))


@dataclass(frozen=True)
class Matrix:
    """The losses, the instants at which their weeks begin, and the trainings behind them."""

    losses: Losses
    known_at: tuple[datetime, ...]
    usually: TrainOn
    trainings: Trainings


def matrix_of(spec: ModelSpec, res: Any, weeks: int, rows: int, echo: Echo, *, lead: int, usually: TrainOn) -> Matrix:
    """Every week's training in every later week, of so many last weeks and of `lead` before them; what was computed before is read.

    `usually`: what a week's training learns from.
    """
    import numpy as np

    from platform_assets.components.evaluating import observed
    from platform_assets.science import backtest, baselines
    from platform_assets.science.replay import Training
    from platform_assets.science.tasks import TASKS

    weeks += lead
    task, trainings = TASKS[spec.task], Trainings(spec, res, weeks, rows, echo)
    judged, sales = trainings.judged, trainings.sales
    other = baselines.for_rows(
        [task.baselines[0]], judged, observed(sales), task, period_days=res.source.period_days, seed=spec.seed
    )[task.baselines[0]]
    beside = trainings.by_week(task.loss(judged[spec.label], other).to_numpy())
    loss = np.full((weeks, *beside.shape), np.nan)
    seconds, began = np.zeros(weeks), time.monotonic()
    for number in range(weeks):
        loss[number], seconds[number], is_new = trainings.lost_by(Training(number, usually))
        left = (time.monotonic() - began) / (number + 1) * (weeks - number - 1)
        kept = "" if is_new else ", kept from before"
        echo(
            f"{number + 1} of {weeks}: trained on labels known by {trainings.cuts[number]:%Y-%m-%d}{kept}, {left:.0f} s left"
        )
    return Matrix(
        backtest.Losses(tuple(trainings.starts), loss, beside, seconds, lead), tuple(trainings.cuts), usually, trainings
    )


def _rows(
    spec: ModelSpec, res: Any, sales: pl.LazyFrame, weeks: int, rows: int, echo: Echo
) -> tuple[pl.DataFrame, pl.DataFrame, list[date]]:
    """Rows to fit on and to judge by, with features as known then and labels; and the first days of the weeks."""
    import polars as pl

    from platform_assets.science.demand import panel, sampling
    from platform_assets.science.train_on import EVENLY

    period_days = res.source.period_days
    last: date | None = panel.periods(sales).select(pl.col(names.PERIOD_ON).max()).collect().item()
    if last is None:
        raise EmptyFrameError(f"{spec.name}: sales has no period in which anything was sold")
    origins = [last - timedelta(days=WEEK_DAYS * (weeks - number)) for number in range(weeks)]
    reach = tuple(range(period_days, WEEK_DAYS + 1, period_days)) if spec.label == names.UNITS else (WEEK_DAYS,)
    judged = sampling.evaluation_rows(sales, issued_on=origins, horizons=reach)
    echo(f"{judged.height:,} rows in {weeks} weeks to judge by; joining {spec.feature_service}")
    fit, judged = _drawn(spec, res, sales, EVENLY, rows), _joined(spec, res, sales, judged)
    echo(f"{fit.height:,} rows to fit on")
    week_on = (pl.col("target_on") - pl.duration(days=pl.col("horizon_days") - period_days)).alias("week_on")
    judged = judged.with_columns(week_on)
    starts = judged["week_on"].unique().sort().to_list()
    if len(starts) < weeks:
        raise EmptyFrameError(
            f"{spec.name}: {len(starts)} of the last {weeks} weeks have labels", hint="ask for fewer `--weeks`"
        )
    return fit, judged, starts


def _drawn(spec: ModelSpec, res: Any, sales: pl.LazyFrame, train_on: TrainOn, rows: int) -> pl.DataFrame:
    """Rows to fit on with features and labels, drawn from these sales as a choice says."""
    from platform_assets.components.drawing import horizons, window_start
    from platform_assets.science.demand import sampling

    fit = sampling.fit_rows(
        sales,
        rows=rows,
        horizons=horizons(spec, res.source),
        start_on=window_start(sales, train_on),
        recent_days=train_on.recent_days,
        recent_density=train_on.recent_density,
        are_targets_open=spec.label == names.UNITS,
        seed=spec.seed,
    )
    return _joined(spec, res, sales, fit)


def _joined(spec: ModelSpec, res: Any, sales: pl.LazyFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with features as known then, and with their labels, sorted; those without a label are left out."""
    import polars as pl

    from platform_assets.components.training_set import derived
    from platform_assets.science.demand import labels

    joined = res.feature_store.historical(rows, spec.feature_service)
    known = labels.attach(derived(spec, res, joined), sales, label=spec.label)
    is_known = pl.col(spec.label).is_not_null() & pl.col("label_known_at").is_not_null()
    return known.filter(is_known).sort("series_id", "issued_at", "target_on")


def _scored(
    spec: ModelSpec, res: Any, fit: pl.DataFrame, judged: pl.DataFrame, watched: Any, cut: Any, key: str
) -> tuple[Any, float, bool]:
    """Loss of each judged row under the training of this cut, its seconds, and whether it was made just now."""
    import polars as pl

    from platform_assets.components.training import fit_once, settings_of
    from platform_assets.science.tasks import TASKS

    try:
        kept = pl.read_parquet(io.BytesIO(res.artifacts.get(f"{key}.parquet")))
        return kept["loss"].to_numpy(), float(kept["seconds"][0]), False
    except DataError:
        pass  # not made yet
    began = time.process_time()
    profile, task = res.compute.profile(spec.compute), TASKS[spec.task]
    with profile.limits():
        settings = settings_of(spec, threads=profile.threads, device="cpu", progress=lambda line: None)
        fitted, _ = fit_once(spec, fit, settings, cut)
        seconds = time.process_time() - began
        said = fitted.predict(judged.select(spec.features))
        lost = task.loss(judged[spec.label], said)
    scored = pl.DataFrame({"loss": lost}).with_columns(seconds=pl.lit(seconds))
    # The losses last: where they are, what was said is too.
    for name, frame in (("-said", said[watched].cast(pl.Float32)), ("", scored)):
        content = io.BytesIO()
        frame.write_parquet(content)
        res.artifacts.put(f"{key}{name}.parquet", content.getvalue())
    return lost.to_numpy(), seconds, True
