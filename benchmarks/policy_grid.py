"""What retraining policies cost and gain on simulated worlds: scenarios x worlds x training seeds, in percent of never's loss.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.policy_grid --worlds 0 1 --state DIR

Each cell lives through a year week by week: a policy is asked by the same function as in production and sees the recorded
sales, its checks read what became of its champion's forecasts, its trainings go through the gate, and what it is charged is
the loss on the true sales and 2% of a week's loss for each training. Trainings are a small model on `demand`'s design,
made where a policy or the best schedule in hindsight comes to need one, and kept; those before the onset are fitted once for
all scenarios of a world. The best schedule may train every `--every` weeks on all history; it is chosen on half of the
series and charged on the other, beside what it promises in-sample. A store's faulty days are found and unknown as in
production; `fault, raw` is the same world without that, for `never` alone. A call that was broken goes on; another policy
costs only what it needs.
"""

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import lightgbm as lgb
import numpy as np
import polars as pl

from benchmarks.policy_grid_candidates import CANDIDATES, POLICIES, RIVALS, USUAL, gate_of
from benchmarks.policy_grid_table import (
    BLOCKS,
    CROSS_FITTED,
    IN_SAMPLE,
    NEVER,
    RAW,
    UNGATED,
    Costs,
    chosen,
    kept_at,
    of_blocks,
    print_block,
    print_verdict,
    read,
)
from benchmarks.policy_grid_world import LEAD, Life, Scored, Size
from platform_assets.backtesting import PSI_LIMIT
from platform_assets.science import backtest, input_watch
from platform_assets.science.backtest import Floats, Losses
from platform_assets.science.demand import columns, sampling
from platform_assets.science.distances import stability_index
from platform_assets.science.gate import GatePolicy
from platform_assets.science.replay import History, Training, replay
from platform_assets.science.retraining_policy import RetrainingPolicy
from platform_assets.science.sorted_reference import Current, Reference
from platform_assets.science.train_on import EVENLY

SCENARIOS: Final = ("none", "step", "elastic", "weekly", "pricehike", "fault")
OTHERS: Final = ("trend", "covshift", "disp", "supply", "dup")
PRICE: Final = 0.02  # of a training, as a share of never's average week
Fits = dict[tuple[Any, ...], tuple[list[lgb.Booster], float]]


class Cell:
    """A world under one scenario with one training seed: what any training of it loses, week by week."""

    def __init__(self, life: Life, seed: int, rows: int, folder: Path, shared: Fits) -> None:
        self.life, self.seed, self.rows, self.folder, self.shared = life, seed, rows, folder, shared
        self.fits, self.heard = 0, dict[Training, pl.DataFrame]()
        self.verdicts: dict[tuple[Training, int, str], bool] = {}  # of the platform's own checks, for all policies
        self.watched = [name for name in life.spec.features if name not in columns.CALENDAR]
        self._of = cache(self._read)
        self.reference = cache(self._reference)
        self.issued = cache(lambda now: life.judged.filter(pl.col("issued_at") == life.cuts[now]))

    def of(self, one: Training) -> tuple[Scored, float]:
        """What became of a training's forecasts, and its CPU seconds; what the gate judges it by is no part of it."""
        return self._of(_fit_of(one))

    def _read(self, fit: tuple[Any, ...]) -> tuple[Scored, float]:
        stem = "-".join(f"{part:g}" if isinstance(part, float | int) else "all" for part in fit)
        losses, sums = (self.folder / f"{stem}{suffix}" for suffix in (".npz", ".parquet"))
        if not losses.is_file():
            boosters, seconds = self._fitted(fit)
            found = self.life.scored(boosters, fit[0])
            self.folder.mkdir(parents=True, exist_ok=True)
            _put(sums, found.results.write_parquet)
            # True losses only where they are others than those on what was recorded.
            true = found.seen[:0] if np.array_equal(found.seen, found.true) else found.true
            kept = {"seen": found.seen.astype(np.float32), "true": true.astype(np.float32)}
            _put(losses, partial(np.savez_compressed, seconds=np.float64(seconds), **kept))
        with np.load(losses) as kept:
            seen = kept["seen"].astype(np.float64)
            true = kept["true"].astype(np.float64) if "true" in kept and len(kept["true"]) else seen
            return Scored(seen, true, pl.read_parquet(sums)), float(kept["seconds"])

    def _fitted(self, fit: tuple[Any, ...]) -> tuple[list[lgb.Booster], float]:
        """One for all scenarios of the world where it knows nothing of the onset."""
        key = (*fit, self.seed)
        if key in self.shared:
            return self.shared[key]
        began = time.process_time()
        boosters = self.life.fitted(self.drawn(fit), self.seed)
        self.fits += 1
        found = boosters, time.process_time() - began
        if fit[0] < self.life.quiet_weeks:
            self.shared[key] = found
        return found

    def drawn(self, fit: tuple[Any, ...]) -> Any:
        """Rows that a training learns from."""
        before, window, recent, density = fit
        on = EVENLY.but({"window_days": window, "recent_days": recent, "recent_density": density})
        return self.life.drawn(before, on, self.rows, self.seed)

    def make(self, one: Training) -> tuple[Floats, float]:
        """(weeks, series): its loss on recorded sales, and its seconds."""
        found, seconds = self.of(one)
        return found.seen, seconds

    def history(self, *, by_psi: bool) -> History:
        """What a policy may see."""
        life = self.life
        count, series = life.shape
        nothing = Losses(life.starts, np.zeros((count, count, series)), life.baseline_loss, np.zeros(count), LEAD)
        return _Lazily(
            nothing,
            life.cuts,
            life.lines,
            life.task.primary,
            has_drifted=self._psi if by_psi else self._drifted,
            make=self.make,
            results=lambda one: self.of(one)[0].results,
            task=life.task,
            verdicts={} if by_psi else self.verdicts,
            heard=self.heard,
        )

    def _reference(self, one: Training) -> tuple[pl.DataFrame, dict[str, Reference]]:
        """Rows of a week's horizons that a training learned from, and each numeric feature's values among them."""
        known = self.life.pool[self.drawn(_fit_of(one))].filter(pl.col("horizon_days") <= 7)
        numeric = [name for name in self.watched if known[name].dtype.is_numeric() and known[name].count()]
        return known, {name: Reference.of(known[name]) for name in numeric}

    def _drifted(self, champion: Training, now: int) -> bool:
        weights = sampling.last_weights(self.life.known(self.life.cuts[now]))
        known = self.reference(champion)[0]
        found = input_watch.input_drift(known, self.issued(now), self.watched, weights=weights)
        return not input_watch.judge_inputs(found, champion="", as_of=self.life.starts[now]).passed

    def _psi(self, champion: Training, now: int) -> bool:
        issued = self.issued(now)
        return any(
            stability_index(reference, Current.of(issued[name], reference)) > PSI_LIMIT
            for name, reference in self.reference(champion)[1].items()
            if issued[name].count()
        )


class _Lazily(History):
    """Every training where it is asked for, those on all history too."""

    def _of(self, training: Training) -> tuple[Floats, float]:
        assert self.make is not None
        return self.make(training)


def _put(file: Path, write: Callable[[Path], object]) -> None:
    """The whole file or none, whoever else writes it."""
    temporary = file.with_name(f".{os.getpid()}-{file.name}")
    write(temporary)
    temporary.replace(file)


def _fit_of(one: Training) -> tuple[int, int | None, int, float]:
    """What tells one fit from another: before which week, and what it learned from."""
    on = one.on
    return one.before, on.window_days, on.recent_days if on.recent_density > 1 else 1, on.recent_density


def outcomes(cell: Cell, policies: Sequence[str], every: int) -> Iterator[pl.DataFrame]:
    """Of each policy, `never` and the best schedules: policy, trainings, promoted, and by series what it cost."""
    count, series = cell.life.shape
    first, weeks = Training(LEAD, EVENLY), range(LEAD, count)

    def true(one: Training) -> Floats:
        return cell.of(one)[0].true

    price = PRICE * float(true(first)[LEAD:].sum()) / len(weeks)

    def row(name: str, trainings: float, promoted: float, lost: Floats) -> pl.DataFrame:
        cost = lost + price * trainings / series
        about = {"policy": name, "trainings": float(trainings), "promoted": float(promoted)}
        return pl.DataFrame({**about, "series": np.arange(series), "cost": cost})

    yield row(NEVER, 0, 0, true(first)[LEAD:].sum(axis=0))
    if every:
        blocks = list(range(LEAD, count, every))
        loss = np.stack([np.add.reduceat(true(Training(at, EVENLY)), blocks, axis=0) for at in blocks])
        _put(cell.folder / BLOCKS, partial(np.savez_compressed, loss=loss, price=np.float64(price)))
        matrix = Losses(tuple(cell.life.starts[at] for at in blocks), loss, loss[0], np.zeros(len(blocks)))
        _, schedule = backtest.best_schedule(matrix.summed(), price)
        yield row(IN_SAMPLE, len(schedule), len(schedule), backtest.scheduled(loss, schedule).sum(axis=0))
        lost, trainings = backtest.cross_fitted(matrix, price, seed=cell.seed)
        yield row(CROSS_FITTED, trainings, trainings, lost)
    for name in policies:
        gate = GatePolicy.from_mapping({**cell.life.spec.gate, **gate_of(name)})
        policy = RetrainingPolicy.from_mapping(POLICIES[name])
        found = replay(cell.history(by_psi=name.startswith("psi")), policy, gate, seed=cell.seed)
        made = {LEAD: first} | {at: Training(at, on) for at, on in zip(found.trained, found.trained_on, strict=True)}
        lost = np.stack([true(made[int(found.answers[week])])[week] for week in weeks])
        yield row(name, len(found.trained), len(found.promoted), lost.sum(axis=0))


def fill(said: argparse.Namespace, todo: Sequence[tuple[int, int, str]], tell: Callable[[str], None]) -> None:
    """Make what the state does not hold."""
    began, made, size, shared = (
        time.monotonic(),
        0,
        Size(said.skus, said.weeks, said.onset),
        defaultdict[tuple[int, int], Fits](dict),
    )
    lives = cache(lambda world, scenario: Life(world, scenario, size))
    for number, (world, seed, scenario) in enumerate(todo):
        folder = kept_at(said.state, world, seed, scenario)
        file, wanted = folder / "costs.parquet", [] if scenario == RAW else said.policies
        has = set(pl.read_parquet(file)["policy"].unique()) if file.is_file() else set[str]()
        if {NEVER, *wanted} <= has:
            continue
        first = time.monotonic()
        cell = Cell(lives(world, scenario), seed, said.rows, folder, shared[world, seed])
        names = [name for name in POLICIES if name in wanted and name not in has]
        found = [pl.read_parquet(file)] if has else []
        found += [
            one for one in outcomes(cell, names, 0 if scenario == RAW else said.every) if one["policy"][0] not in has
        ]
        _put(file, pl.concat(found).write_parquet)
        now, made = time.monotonic(), made + 1
        left = (now - began) / made * (len(todo) - number - 1)
        tell(
            f"{number + 1} of {len(todo)}: world {world}, seed {seed}, {scenario}: {now - first:.1f} s, {cell.fits} fits; about {left:.0f} s left"
        )


def main() -> None:
    """Fill the grid, then print its tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--worlds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of trainings")
    parser.add_argument("--skus", type=int, default=40, help="of each of the five stores")
    parser.add_argument("--rows", type=int, default=5_000, help="that a training is fitted on")
    parser.add_argument("--weeks", type=int, default=40)
    parser.add_argument("--onset", type=int, default=8, help="first charged week of the scenario")
    parser.add_argument("--every", type=int, default=4, help="weeks between the candidates of the best schedule")
    parser.add_argument(
        "--scenarios", nargs="+", default=[*SCENARIOS, RAW], choices=[*SCENARIOS, RAW, *OTHERS], metavar="NAME"
    )
    parser.add_argument("--policies", nargs="*", default=USUAL, choices=list(POLICIES), metavar="NAME")
    parser.add_argument(
        "--choosing", type=int, nargs="*", default=[0, 1, 2, 3, 4], help="worlds that policies are chosen on"
    )
    parser.add_argument("--default", choices=list(POLICIES), metavar="NAME", help="instead of the chosen one")
    parser.add_argument("--state", type=Path, required=True, help="folder that keeps what was made")
    parser.add_argument("--table", action="store_true", help="only print what there is")
    said = parser.parse_args()
    # A seed of all worlds after the other: what has been done at any time is a table.
    todo = [(world, seed, name) for seed in said.seeds for world in said.worlds for name in said.scenarios]
    if not said.table:
        fill(said, todo, lambda line: print(line, flush=True))
    rows = pl.concat([read(said.state, todo), of_blocks(said.state, todo)], how="diagonal")
    scenarios = [name for name in said.scenarios if name != RAW]
    choosing, judging = (
        Costs.of(rows.filter(pl.col("world").is_in(said.choosing) == is_chosen), scenarios)
        for is_chosen in (True, False)
    )
    best = said.default
    if choosing.worlds:
        print_block("chosen on", choosing, scenarios)
        best = best or chosen(choosing, CANDIDATES, scenarios)
        print(
            f"\nchosen: {f'`{best}`' if best else 'none: no candidate trains as seldom and costs as little under `none`, or it was not run'}"
        )
    if judging.worlds:
        print_block("judged on", judging, scenarios)
        if best is not None and best in judging.policies(scenarios):
            print_verdict(judging, best, [*RIVALS, UNGATED], scenarios)


if __name__ == "__main__":
    main()
