"""What each week's training would have lost in every later week: trained for real, scored, and kept by what made it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from platform_assets.backtest_fitting import Job, Scored, score_each
from platform_assets.backtest_rows import Echo, Weeks, drawn
from platform_assets.errors import DataError

if TYPE_CHECKING:
    from datetime import datetime

    import polars as pl

    from platform_assets.components.model_spec import ModelSpec
    from platform_assets.science.backtest import Losses
    from platform_assets.science.replay import Training
    from platform_assets.science.train_on import TrainOn

FOLDER: Final = "backtests"  # of the artifacts that keep what each training lost
LAYOUT: Final = 3  # of what is kept


class Trainings:
    """Trainings at the beginning of any week on any choice, made where they are asked for and kept by what made them."""

    def __init__(self, spec: ModelSpec, res: Any, weeks: Weeks, rows: int) -> None:
        self.spec, self.res, self.weeks, self.rows = spec, res, weeks, rows
        self.judge = replace(weeks.judge, spec=spec)
        self._keys: dict[Training, str] = {}
        self._standing: set[Training] = set()  # that are kept

    @cached_property
    def fit(self) -> pl.DataFrame:
        """Rows that trainings on even history learn from, each from those whose labels it knew."""
        from platform_assets.science.train_on import EVENLY

        return drawn(self.spec, self.res, self.weeks.sales, EVENLY, self.rows)

    @cached_property
    def _fit_hash(self) -> str:
        from platform_assets.science.fingerprint import content_hash

        return content_hash(self.fit)

    def rows_of(self, training: Training) -> pl.DataFrame:
        """The rows that it is fitted on: of the matrix's own draw, or drawn as production would have drawn them then."""
        from platform_assets.science.splits import fit_mask

        cut = self.weeks.cuts[training.before]
        if training.on.is_even:
            return self.fit.filter(fit_mask(self.fit, cut))
        found = drawn(self.spec, self.res, self.weeks.sales_known(cut), training.on, self._budget(cut))
        return found.filter(fit_mask(found, cut))

    def lost_by(self, training: Training) -> tuple[Any, float, bool]:
        """(weeks, series): what it loses, NaN in weeks before its own; its seconds; and whether it was made just now."""
        kept = self.kept(training)
        if kept is not None:
            return *kept, False
        job = Job(training.before, self.weeks.cuts[training.before])
        return *self.keep(training, self.judge.score(self.rows_of(training), job)), True

    def kept(self, training: Training) -> tuple[Any, float] | None:
        """(weeks, series) and seconds of a training that was made before."""
        try:
            found = self._read(training, "loss")
        except DataError:
            return None
        self._standing.add(training)
        return self._matrix(training, found["loss"].to_numpy()), float(found["seconds"][0])

    def keep(self, training: Training, found: Scored) -> tuple[Any, float]:
        """(weeks, series) and seconds of a training that was made just now, for all later calls."""
        import polars as pl

        lost = pl.DataFrame({"loss": found.loss}).with_columns(seconds=pl.lit(found.seconds))
        said = found.said.cast(pl.Float32)
        # The losses last: where they are, the rest is too.
        for what, frame in (("said", said), ("results", found.results), ("loss", lost)):
            self.res.artifacts.put_frame(f"{self._key(training)}-{what}.parquet", frame)
        self._standing.add(training)
        return self._matrix(training, found.loss), found.seconds

    def results(self, training: Training) -> pl.DataFrame:
        """What became of a training's forecasts, day by day, as the check `error` reads it."""
        self._make(training)
        return self._read(training, "results")

    def change(self, standing: Training, new: Training) -> float:
        """By how much the quantiles of the week at whose beginning the new training takes over differ from the standing one's."""
        from platform_assets.science.stability import multi_quantile_change

        week = self.judge.week[self.judge.is_watched]
        said = []
        for one in (standing, new):
            self._make(one)
            is_now = week[week >= one.before] == new.before
            said.append(self._read(one, "said").filter(is_now).to_numpy())
        before, after = said
        return multi_quantile_change(before, after, self.weeks.moves[week == new.before])

    def _make(self, training: Training) -> None:
        if training not in self._standing:
            self.lost_by(training)

    def _matrix(self, training: Training, lost: Any) -> Any:
        import numpy as np

        matrix = self.weeks.by_week(lost, self.judge.later(training.before))
        matrix[: training.before] = np.nan  # weeks that it has been trained on
        return matrix

    def _read(self, training: Training, what: str) -> pl.DataFrame:
        return self.res.artifacts.get_frame(f"{self._key(training)}-{what}.parquet")

    def _key(self, training: Training) -> str:
        from platform_assets.science.fingerprint import content_hash

        if training not in self._keys:
            cut = self.weeks.cuts[training.before]
            learned = self._fit_hash if training.on.is_even else content_hash(self.rows_of(training))
            made_of = [
                LAYOUT,
                self.spec.code_version,
                dict(self.spec.parameters),
                self.spec.seed,
                [learned, cut.isoformat()],
                self.weeks.digest,
                self._beside,
            ]
            named = hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()[:32]
            self._keys[training] = f"{FOLDER}/{self.spec.name}/{named}"
        return self._keys[training]

    @cached_property
    def _beside(self) -> str:
        """Digest of what results are told beside; a late price may change it, and no row."""
        from platform_assets.science.fingerprint import content_hash

        return content_hash(self.judge.baseline.with_columns(self.judge.price_ratio.alias("price ratio")))

    def _budget(self, cut: datetime) -> int:
        """As many rows as the even draw has up to a cut, so that choices differ by what they draw and not by how much."""
        return max(1, round(self.rows * self._issues.search_sorted(cut, side="right") / self._issues.len()))

    @cached_property
    def _issues(self) -> pl.Series:
        from platform_assets.science.demand import sampling

        return sampling.live(self.weeks.sales)["issued_at"].sort()


@dataclass(frozen=True)
class Matrix:
    """The losses, the instants at which their weeks begin, and the trainings behind them."""

    losses: Losses
    usually: TrainOn
    trainings: Trainings

    @property
    def known_at(self) -> tuple[datetime, ...]:
        """When each week begins."""
        return self.trainings.weeks.cuts


def matrix_of(
    trainings: Trainings, echo: Echo, *, lead: int, usually: TrainOn, first_look: Callable[[Losses], str]
) -> Matrix:
    """Every week's training in every later week; what was computed before is read.

    `usually`: what a week's training learns from. The trainings that `first_look` needs come first, and then what it says.
    """
    import numpy as np

    from platform_assets.science import backtest, backtest_rough
    from platform_assets.science.replay import Training
    from platform_assets.science.tasks import TASKS

    weeks, judge = trainings.weeks, trainings.judge
    count, task = weeks.shape[0], TASKS[trainings.spec.task]
    beside = weeks.by_week(task.loss(judge.rows[trainings.spec.label], judge.baseline).to_numpy())
    loss, seconds = np.full((count, *beside.shape), np.nan), np.zeros(count)
    first = backtest_rough.first_of(count, lead)
    waiting, missing, done = {*first}, list[Job](), 0

    def arrived(number: int, found: tuple[Any, float], told: str) -> None:
        nonlocal done
        done += 1
        loss[number], seconds[number] = found
        echo(f"{done} of {count}: trained on labels known by {weeks.cuts[number]:%Y-%m-%d}, {told}")
        if number in waiting:
            waiting.remove(number)
            if not waiting and len(first) >= backtest_rough.LEAST:
                echo(first_look(backtest_rough.coarse(weeks.starts, loss, beside, seconds, lead)))

    for number in (*first, *(number for number in range(count) if number not in first)):
        kept = trainings.kept(Training(number, usually))
        if kept is None:
            missing.append(Job(number, weeks.cuts[number]))
        else:
            arrived(number, kept, "kept from before")
    began = time.monotonic()
    for made, (job, scored) in enumerate(_scored(trainings, missing, usually), start=1):
        left = (time.monotonic() - began) / made * (len(missing) - made)
        arrived(job.before, trainings.keep(Training(job.before, usually), scored), f"{left:.0f} s left")
    return Matrix(backtest.Losses(weeks.starts, loss, beside, seconds, lead), usually, trainings)


def _scored(trainings: Trainings, missing: Sequence[Job], usually: TrainOn) -> Iterator[tuple[Job, Scored]]:
    from platform_assets.science.replay import Training

    if usually.is_even:
        yield from score_each(trainings.judge, trainings.fit, missing) if missing else ()
        return
    for job in missing:
        yield job, trainings.judge.score(trainings.rows_of(Training(job.before, usually)), job)
