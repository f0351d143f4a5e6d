"""The trainings of a backtest: fitted for real and scored, several at a time in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from resources.compute import cores

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.components.model_spec import ModelSpec
    from resources.compute import Compute

LEAST_EACH: Final = 4  # trainings of a process: it takes seconds to start
MOST_PROCESSES: Final = 8


class Job(NamedTuple):
    """A training before a week, on labels known by an instant."""

    before: int
    cut: datetime


@dataclass(frozen=True)
class Scored:
    """What a training lost on each judged row of its own week and later ones, what it said of the watched ones of these.

    `results`: what became of its forecasts, day by day, as `streams.daily_sums` gives it.
    """

    loss: Any
    said: pl.DataFrame
    results: pl.DataFrame
    seconds: float


@dataclass(frozen=True)
class Judge:
    """The rows that every training is judged on, what the baseline says of them, and the week that each is of."""

    spec: ModelSpec
    profile: Compute
    rows: pl.DataFrame
    baseline: pl.DataFrame
    price_ratio: pl.Series  # of the day to the series' usual price
    week: Any  # (rows,)
    is_watched: Any  # (rows,)

    def later(self, before: int) -> Any:
        """(rows,): whether a row is of this week or a later one."""
        return self.week >= before

    def score(self, fit: pl.DataFrame, job: Job) -> Scored:
        """The model fitted on those rows whose labels were known by the cut, on the weeks from its own on."""
        from platform_assets.components.training import fit_once, settings_of
        from platform_assets.science import streams
        from platform_assets.science.tasks import TASKS

        task, began, chosen = TASKS[self.spec.task], time.process_time(), self.later(job.before)
        rows, baseline, label = self.rows.filter(chosen), self.baseline.filter(chosen), self.spec.label
        with self.profile.limits():
            settings = settings_of(self.spec, threads=self.profile.threads, device="cpu", progress=lambda line: None)
            fitted, _ = fit_once(self.spec, fit, settings, job.cut)
            seconds = time.process_time() - began
            said = fitted.predict(rows.select(self.spec.features))
            lost = task.loss(rows[label], said).to_numpy()
        ratio = self.price_ratio.filter(chosen)
        results = streams.daily_sums(rows, said, baseline, task, label=label, price_ratio=ratio)
        return Scored(lost, said.filter(self.is_watched[chosen]), results, seconds)


def score_each(judge: Judge, fit: pl.DataFrame, jobs: Sequence[Job]) -> Iterator[tuple[Job, Scored]]:
    """Each job's, on the same rows, as they are done: about in order; on as many processes as there are cores and work."""
    processes = min(cores() // judge.profile.threads, len(jobs) // LEAST_EACH, MOST_PROCESSES)
    if processes < 2:
        for job in jobs:
            yield job, judge.score(fit, job)
        return
    # Spawned: a fork would take half-held locks of polars' threads along.
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawned, initializer=_begin, initargs=(judge, fit)) as pool:
        asked = {pool.submit(_score, job): job for job in jobs}
        try:
            for done in as_completed(asked):
                yield asked[done], done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_given: list[tuple[Judge, Any]] = []  # of a process that scores


def _begin(judge: Judge, fit: pl.DataFrame) -> None:
    _given[:] = [(judge, fit)]
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)  # killed: nobody asks for more


def _score(job: Job) -> Scored:
    (judge, fit) = _given[0]
    return judge.score(fit, job)
