"""What retraining policies cost and gain on simulated worlds: scenarios x worlds x training seeds, in percent of never's loss.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.policy_grid --worlds 2 --seeds 2 --state DIR

Each cell lives through a year week by week: a policy is asked by the same function as in production and sees the recorded
sales, its trainings go through the gate, and what it is charged is the loss on the true sales and 2% of a week's loss for
each training. Trainings are `demand`'s own trainer with the small `RECIPE` and few rows, made where a policy or the best
schedule in hindsight comes to need one, and kept; those before the onset are fitted once for all scenarios of a world. The
best schedule may train every `--every` weeks on all history; it is chosen on half of the series and charged on the other,
beside what it promises in-sample. A store's faulty days are found and unknown as in production; `fault, raw` is the same
world without that. A call that was broken goes on; another policy costs only what it needs.
"""

import argparse
import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from benchmarks.policy_grid_table import CROSS_FITTED, IN_SAMPLE, NEVER, kept_at, print_tables
from benchmarks.policy_grid_world import HISTORY_DAYS, LISTS, Sold, fit, sold_of
from platform_assets.backtesting import NAMED, PSI_LIMIT
from platform_assets.components.evaluating import observed
from platform_assets.components.training import settings_of
from platform_assets.reproduction import spec_of
from platform_assets.science import backtest, baselines, input_watch
from platform_assets.science.backtest import Floats, Losses
from platform_assets.science.demand import columns, labels, rows, sampling
from platform_assets.science.distances import stability_index
from platform_assets.science.fitting import FittedModel
from platform_assets.science.gate import GatePolicy
from platform_assets.science.point_in_time import join
from platform_assets.science.replay import History, Training, replay
from platform_assets.science.retraining_policy import RetrainingPolicy
from platform_assets.science.sorted_reference import Current, Reference
from platform_assets.science.tasks import TASKS
from platform_assets.science.train_on import EVENLY

SCENARIOS: Final = ("none", "step", "elastic", "weekly", "pricehike", "fault", "fault, raw")
FOLLOWED: Final = {"follow_up_weeks": [1, 3, 7]}
POLICIES: Final[Mapping[str, Mapping[str, Any]]] = {
    **{name: {**NAMED[name], "after_alarm": {}} for name in ("weekly", "monthly", "quarterly")},
    "psi": {"when": ["drift"], "after_alarm": {}, "cooldown_days": 27},  # on all history, as everybody does it
    "default": {},
    "default, evenly": {"after_alarm": {}},
    "default, follow-ups": FOLLOWED,
    "error, quarterly": {"when": ["error", {"staleness": 90}], **FOLLOWED},
    "error alone": {"when": ["error"], **FOLLOWED},
}
LEAD: Final = 12
PRICE: Final = 0.02  # of a training, as a share of never's average week


class Cell:
    """One world under one scenario with one training seed: what any training of it loses, week by week."""

    def __init__(
        self,
        folder: Path,
        sold: Sold,
        first_on: date,
        onset_on: date,
        *,
        weeks: int,
        seed: int,
        rows: int,
        shared: dict[Any, Any],
    ) -> None:
        self.folder, self.sold, self.rows, self.shared = folder, sold, rows, shared
        self.spec = replace(spec_of("demand"), seed=seed)
        self.spec = replace(self.spec, features=tuple(f for f in self.spec.features if f not in LISTS))
        self.task, self.onset_on = TASKS[self.spec.task], onset_on
        starts_on = first_on + timedelta(days=HISTORY_DAYS)
        origins = [starts_on + timedelta(days=7 * n - 1) for n in range(weeks + LEAD)]
        asked = sampling.evaluation_rows(sold.recorded.lazy(), issued_on=origins, horizons=range(1, 8))
        true = labels.attach(asked, sold.true.lazy())["units"]
        self.judged = self._joined(asked).with_columns(true=true).filter(pl.col("true").is_not_null())
        self.starts = tuple(on + timedelta(days=1) for on in origins)
        self.cuts: tuple[datetime, ...] = tuple(self.judged["issued_at"].unique().sort().to_list())
        self._week = pl.Series(self.cuts).search_sorted(self.judged["issued_at"]).to_numpy()
        names = sold.true["series_id"].unique().sort()
        self._series, self._shape = (
            names.search_sorted(self.judged["series_id"]).to_numpy(),
            (len(origins), names.len()),
        )
        self.is_recorded = self.judged["units"].is_not_null().to_numpy()
        self.verdicts: dict[tuple[Training, int, str], bool] = {}  # of the platform's own checks, for all policies
        self.made: dict[Training, tuple[Floats, float]] = {}
        self.true_loss: dict[Training, Floats] = {}
        self.watched = [name for name in self.spec.features if name not in columns.CALENDAR]
        self.weights = functools.cache(lambda now: sampling.last_weights(self.known(self.cuts[now])))
        self.trained_on = functools.cache(lambda one: self.drawn(one).filter(pl.col("horizon_days") <= 7))

    def _joined(self, asked: pl.DataFrame) -> pl.DataFrame:
        found = rows.derive(join(asked, self.sold.views, at="issued_at"), country="DE")
        return labels.attach(found, self.sold.recorded.lazy())

    def known(self, at: datetime) -> pl.LazyFrame:
        """Recorded sales as known at an instant."""
        return self.sold.recorded.lazy().filter(pl.col("known_at") <= at)

    def by_week(self, lost: Floats) -> Floats:
        """(weeks, series): of each judged row, summed."""
        sums = np.zeros(self._shape)
        np.add.at(sums, (self._week, self._series), lost)
        return sums

    def drawn(self, one: Training) -> pl.DataFrame:
        """Rows with labels that a training learns from."""
        cut = self.cuts[one.before]
        asked = sampling.fit_rows(
            self.known(cut),
            rows=self.rows,
            horizons=range(1, self.spec.horizon_days + 1),
            recent_days=one.on.recent_days,
            recent_density=one.on.recent_density,
            seed=self.spec.seed,
        )
        found = self._joined(asked).filter(pl.col("units").is_not_null(), pl.col("label_known_at") <= cut)
        return found.sort("series_id", "issued_at", "target_on")

    def model(self, one: Training) -> tuple[FittedModel, float]:
        """The fitted model and its CPU seconds; one for all scenarios where it knows nothing of the onset."""
        if one in self.shared:
            return self.shared[one]
        began = time.process_time()
        recipe = settings_of(self.spec, threads=1, device="cpu", progress=lambda line: None)
        fitted = fit(self.drawn(one), recipe)
        found = fitted, time.process_time() - began
        if self.starts[one.before] <= self.onset_on:
            self.shared[one] = found
        return found

    def make(self, one: Training) -> tuple[Floats, float]:
        """(weeks, series): its loss on recorded sales, and its seconds; read where it is kept."""
        if one not in self.made:
            file = self.folder / f"{one.before:03d}-{one.on.window_days}-{one.on.recent_density:g}.npz"
            if not file.is_file():
                model, seconds = self.model(one)
                later = self._week >= one.before
                said = model.predict(self.judged.filter(later).select(self.spec.features))
                seen, true = np.zeros(later.size), np.zeros(later.size)
                true[later] = self.task.loss(self.judged.filter(later)["true"], said).to_numpy()
                truth = self.judged.filter(later)["units"].fill_null(0.0)
                seen[later] = self.task.loss(truth, said).to_numpy()
                self.folder.mkdir(parents=True, exist_ok=True)
                kept = {"seen": self.by_week(seen * self.is_recorded), "true": self.by_week(true)}
                temporary = file.with_name(f".{file.name}")
                np.savez(temporary, seconds=np.float64(seconds), seen=kept["seen"], true=kept["true"])
                temporary.replace(file)
            with np.load(file) as kept:
                self.made[one] = kept["seen"], float(kept["seconds"])
                self.true_loss[one] = kept["true"]
        return self.made[one]

    def true(self, one: Training) -> Floats:
        """(weeks, series): its loss on what was truly sold."""
        self.make(one)
        return self.true_loss[one]

    def history(self, *, by_psi: bool) -> History:
        """What a policy may see."""
        name = self.task.baselines[0]
        said = baselines.for_rows([name], self.judged, observed(self.sold.recorded.lazy()), self.task)[name]
        truth = self.judged["units"].fill_null(0.0)
        baseline = self.by_week(self.task.loss(truth, said).fill_nan(0.0).fill_null(0.0).to_numpy() * self.is_recorded)
        count, series = self._shape
        nothing = Losses(self.starts, np.zeros((count, count, series)), baseline, np.zeros(count), LEAD)
        lines = [self.known(cut).select(pl.len()).collect().item() for cut in self.cuts]
        return _Lazily(
            nothing,
            self.cuts,
            tuple(lines),
            self.task.primary,
            1,
            self._psi if by_psi else self._drifted,
            make=self.make,
            verdicts={} if by_psi else self.verdicts,
        )

    def _drifted(self, champion: Training, now: int) -> bool:
        issued = self.judged.filter(pl.col("issued_at") == self.cuts[now])
        found = input_watch.input_drift(self.trained_on(champion), issued, self.watched, weights=self.weights(now))
        return not input_watch.judge_inputs(found, champion=str(champion.before), as_of=self.starts[now]).passed

    def _psi(self, champion: Training, now: int) -> bool:
        issued, usual = self.judged.filter(pl.col("issued_at") == self.cuts[now]), self.trained_on(champion)
        both = zip(usual.select(self.watched), issued.select(self.watched), strict=True)
        return any(
            stability_index(reference := Reference.of(old), Current.of(new, reference)) > PSI_LIMIT
            for old, new in both
            if old.dtype.is_numeric() and old.count() and new.count()
        )


class _Lazily(History):
    """Every training where it is asked for, those on all history too."""

    def _of(self, training: Training) -> tuple[Floats, float]:
        assert self.make is not None
        return self.make(training)


def outcomes(cell: Cell, policies: Sequence[str], every: int) -> Iterator[pl.DataFrame]:
    """Of each policy, `never` and the best schedules: policy, trainings, seconds, and by series what it cost."""
    first, weeks = Training(LEAD, EVENLY), range(LEAD, len(cell.starts))
    price = PRICE * float(cell.true(first)[LEAD:].sum()) / len(weeks)
    gate, series = GatePolicy.from_mapping(cell.spec.gate), cell.true(first).shape[1]

    def row(name: str, trainings: float, seconds: float, lost: Floats) -> pl.DataFrame:
        cost = lost + price * trainings / series
        return pl.DataFrame(
            {
                "policy": name,
                "trainings": float(trainings),
                "seconds": seconds,
                "series": np.arange(series),
                "cost": cost,
            }
        )

    yield row(NEVER, 0.0, 0.0, cell.true(first)[LEAD:].sum(axis=0))
    for name in policies:
        history = cell.history(by_psi=name == "psi")
        found = replay(history, RetrainingPolicy.from_mapping(POLICIES[name]), gate, seed=cell.spec.seed)
        made = {LEAD: first} | {at: Training(at, on) for at, on in zip(found.trained, found.trained_on, strict=True)}
        lost = np.stack([cell.true(made[int(found.answers[week])])[week] for week in weeks])
        yield row(name, len(found.trained), found.walked.seconds, lost.sum(axis=0))
    blocks = list(range(LEAD, len(cell.starts), every))
    loss = np.stack([np.add.reduceat(cell.true(Training(at, EVENLY)), blocks, axis=0) for at in blocks])
    matrix = Losses(tuple(cell.starts[at] for at in blocks), loss, loss[0], np.zeros(len(blocks)))
    _, schedule = backtest.best_schedule(matrix.summed(), price)
    yield row(IN_SAMPLE, len(schedule), 0.0, backtest.scheduled(loss, schedule).sum(axis=0))
    lost, trainings = backtest.cross_fitted(matrix, price, seed=cell.spec.seed)
    yield row(CROSS_FITTED, trainings, 0.0, lost)


def main() -> None:
    """Fill the grid, then print its tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--worlds", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=2, help="of trainings")
    parser.add_argument("--skus", type=int, default=60, help="of each of the five stores")
    parser.add_argument("--rows", type=int, default=12_000, help="that a training is fitted on")
    parser.add_argument("--weeks", type=int, default=50)
    parser.add_argument("--onset", type=int, default=13, help="first charged week of the scenario")
    parser.add_argument("--every", type=int, default=4, help="weeks between the candidates of the best schedule")
    parser.add_argument("--scenarios", nargs="+", default=SCENARIOS, choices=SCENARIOS)
    parser.add_argument("--policies", nargs="+", default=list(POLICIES), choices=list(POLICIES))
    parser.add_argument("--state", type=Path, required=True, help="folder that keeps what was made")
    parser.add_argument("--table", action="store_true", help="only print what there is")
    said = parser.parse_args()
    todo = [
        (seed, world, name) for seed in range(said.seeds) for world in range(said.worlds) for name in said.scenarios
    ]
    began, shared = time.monotonic(), {}
    for number, (seed, world, scenario) in enumerate([] if said.table else todo):
        folder = kept_at(said.state, world, seed, scenario)
        file = folder / "costs.parquet"
        has = set(pl.read_parquet(file)["policy"].unique()) if file.is_file() else set()
        if set(said.policies) <= has:
            continue
        first_on = date(2022, 1, 3) + timedelta(days=91 * world)  # all seasons are met
        starts_on = first_on + timedelta(days=HISTORY_DAYS)
        onset_on = starts_on + timedelta(weeks=LEAD + said.onset)
        days = HISTORY_DAYS + 7 * (LEAD + said.weeks)
        cell = Cell(
            folder,
            sold_of(world, scenario, said.skus, days, first_on, onset_on),
            first_on,
            onset_on,
            weeks=said.weeks,
            seed=seed,
            rows=said.rows,
            shared=shared.setdefault((world, seed), {}),
        )
        found = pl.concat(
            outcomes(cell, [name for name in POLICIES if name in has or name in said.policies], said.every)
        )
        found.write_parquet(file)
        done = time.monotonic() - began
        left = done / (number + 1) * (len(todo) - number - 1)
        print(
            f"{number + 1} of {len(todo)}: world {world}, seed {seed}, {scenario}; {len(cell.made)} trainings, {done:.0f} s, about {left:.0f} s left",
            flush=True,
        )
    print_tables(said.state, todo)


if __name__ == "__main__":
    main()
