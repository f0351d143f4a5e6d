"""The tables of the policy grid, from what its cells kept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from platform_assets.science.backtest import charged_elsewhere, over, scheduled
from platform_assets.science.bootstrap import DRAWS, Array, Interval, Resampler

NEVER, IN_SAMPLE, CROSS_FITTED, RAW = "never", "best, in-sample", "best, cross-fitted", "fault, raw"
ELSEWHERE: Final = (
    "best, of other seeds"  # chosen on half of the series under the other training seeds, charged on the rest
)
BESTS: Final = (IN_SAMPLE, CROSS_FITTED, ELSEWHERE)
UNGATED: Final = "monthly, no gate"  # as it is usually done
BLOCKS: Final = "blocks.npz"  # losses of the trainings that the best schedule is made of
CALM: Final = "none"  # the scenario in which nothing happens
DEAREST_CALM: Final = 0.003  # of never's loss, that the default may cost more where nothing happens


def kept_at(state: Path, world: int, seed: int, scenario: str) -> Path:
    """Folder of a cell."""
    return state / f"{world}-{seed}" / scenario.replace(", ", "-")


def read(state: Path, cells: Iterable[tuple[int, int, str]]) -> pl.DataFrame:
    """One row per world, seed, scenario, policy and series: cost, trainings, promoted."""
    frames = []
    for world, seed, scenario in cells:
        file = kept_at(state, world, seed, scenario) / "costs.parquet"
        if file.is_file():
            frames.append(pl.read_parquet(file).with_columns(seed=seed, world=world, scenario=pl.lit(scenario)))
    return pl.concat(frames) if frames else pl.DataFrame()


def of_blocks(state: Path, cells: Iterable[tuple[int, int, str]]) -> pl.DataFrame:
    """Like `read`, of what a month's trainings alone tell: all of them put to use, ungated, and the best schedule elsewhere.

    That was the best on one half of the series under all training seeds but the charged one. A training is one draw of rows and
    of a seed: chosen under the same seed, a schedule also finds out which draws were lucky.
    """
    of: dict[tuple[int, str], dict[int, Path]] = {}
    for world, seed, scenario in cells:
        if (file := kept_at(state, world, seed, scenario) / BLOCKS).is_file():
            of.setdefault((world, scenario), {})[seed] = file
    frames = []
    for (world, scenario), files in of.items():
        loss, price = {}, {}
        for seed, file in files.items():
            with np.load(file) as kept:
                loss[seed], price[seed] = kept["loss"], float(kept["price"])
        for seed, own in loss.items():
            every = list(range(1, len(own)))
            found = {UNGATED: (scheduled(own, every).sum(axis=0), float(len(every)))}
            if len(loss) > 1:
                others = np.mean([one for other, one in loss.items() if other != seed], axis=0)
                found[ELSEWHERE] = charged_elsewhere(own, others, price[seed], seed=seed)
            for policy, (lost, trainings) in found.items():
                about = {"policy": policy, "trainings": trainings, "promoted": trainings}
                cost = lost + price[seed] * trainings / lost.size
                frame = pl.DataFrame({**about, "series": np.arange(lost.size), "cost": cost})
                frames.append(frame.with_columns(seed=seed, world=world, scenario=pl.lit(scenario)))
    return pl.concat(frames) if frames else pl.DataFrame()


@dataclass(frozen=True)
class Costs:
    """What policies cost: of scenario and policy (worlds, series, seeds), of the worlds whose cells are all there."""

    cost: Mapping[tuple[str, str], Array]
    trainings: Mapping[tuple[str, str], float]
    worlds: tuple[int, ...]
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, rows: pl.DataFrame, scenarios: Sequence[str]) -> "Costs":
        """Of the worlds that have each of these scenarios under each seed, and of the policies that stand in all of them."""
        core = rows.filter(pl.col("scenario").is_in(scenarios))
        seeds = tuple(core["seed"].unique().sort())
        cells = core.filter(pl.col("policy") == NEVER).unique(["world", "seed", "scenario"]).group_by("world").len()
        worlds = tuple(cells.filter(pl.col("len") == len(seeds) * len(scenarios))["world"].sort())
        kept = rows.filter(pl.col("world").is_in(worlds))
        cost, trainings = {}, {}
        for (scenario, policy), part in kept.group_by("scenario", "policy", maintain_order=True):
            ordered = part.sort("world", "series", "seed")
            series = ordered["series"].n_unique()
            if ordered.height == len(worlds) * series * len(seeds):
                cost[scenario, policy] = ordered["cost"].to_numpy().reshape(len(worlds), series, len(seeds))
                trainings[scenario, policy] = float(part["trainings"].mean())  # pyright: ignore[reportArgumentType]
        return cls(cost, trainings, worlds, seeds)

    @cached_property
    def _draws(self) -> tuple[list[Resampler], Array, Array]:
        """Of series in each world, of worlds and of seeds; of the latter two one fewer than there are, as `Resampler` has it."""
        random = np.random.default_rng(len(self.worlds))
        series = next(iter(self.cost.values())).shape[1]

        def few(count: int) -> Array:
            size = max(count - 1, 1)
            return random.multinomial(size, np.full(count, 1 / count), DRAWS).astype(np.float64)

        return [over(series, world) for world in self.worlds], few(len(self.worlds)), few(len(self.seeds))

    def drawn(self, values: Array) -> Array:
        """Sums of (worlds, series, seeds) in each draw; the same draws for all that is asked."""
        resamplers, worlds, seeds = self._draws
        of_world = [(one.drawn(values[at]) * seeds).sum(axis=1) for at, one in enumerate(resamplers)]
        return (np.stack(of_world, axis=1) * worlds).sum(axis=1)

    def share(self, scenario: str, policy: str, against: str, of: tuple[str, str] | None = None) -> tuple[float, Array]:
        """What a policy cost more than another one, as a share of never's: the figure and its draws. `of`: scenario and policy
        instead of `against`, whose cost is divided by then."""
        other = self.cost[of or (scenario, against)]
        base = self.cost[of or (scenario, NEVER)]
        apart = self.cost[scenario, policy] - other
        return float(apart.sum() / base.sum()), self.drawn(apart) / self.drawn(base)

    def worst(self, policy: str, scenarios: Sequence[str], best: str = CROSS_FITTED) -> tuple[float, Array, str]:
        """The largest regret over scenarios, its draws, and where it is."""
        found = {name: self.share(name, policy, best) for name in scenarios}
        where = max(found, key=lambda name: found[name][0])
        return found[where][0], np.max([draws for _, draws in found.values()], axis=0), where

    def policies(self, scenarios: Sequence[str]) -> list[str]:
        """Those that stand in each of the scenarios, in the order in which they were made."""
        names = dict.fromkeys(policy for _, policy in self.cost)
        return [name for name in names if name not in BESTS and all((one, name) in self.cost for one in scenarios)]

    def mean_trainings(self, policy: str, scenarios: Sequence[str]) -> float:
        return float(np.mean([self.trainings[name, policy] for name in scenarios]))


def chosen(costs: Costs, candidates: Iterable[str], scenarios: Sequence[str]) -> str | None:
    """The candidate of the smallest worst regret among those that train no more than monthly and cost little where nothing happens."""
    there = [name for name in candidates if name in costs.policies(scenarios)]
    if not {(CALM, NEVER), (CALM, "monthly")} <= {*costs.cost}:
        return None
    monthly = costs.mean_trainings("monthly", scenarios)
    fit = [
        name
        for name in there
        if costs.mean_trainings(name, scenarios) <= monthly and costs.share(CALM, name, NEVER)[0] <= DEAREST_CALM
    ]
    return min(fit, key=lambda name: costs.worst(name, scenarios)[0], default=None)


def print_block(title: str, costs: Costs, scenarios: Sequence[str]) -> None:
    """Regrets by scenario, the worst and the mean of them, in percent of never's loss."""
    size = next(iter(costs.cost.values())).shape[1]
    print(f"\n**{title}**: worlds {_listed(costs.worlds)}, training seeds {_listed(costs.seeds)}, {size} series each\n")
    has_other = all((name, ELSEWHERE) in costs.cost for name in scenarios)
    print(
        f"| policy | trainings | {' | '.join(f'`{name}`' for name in scenarios)} | mean | worst | worst, other seeds |"
    )
    print("|---" * (len(scenarios) + 5) + "|")
    for policy in costs.policies(scenarios):
        found = [costs.share(name, policy, CROSS_FITTED) for name in scenarios]
        mean = float(np.mean([one for one, _ in found])), np.mean([draws for _, draws in found], axis=0)
        cells = [f"{100 * one:+.2f}" for one, _ in found] if len(costs.worlds) < 3 else [_told(*one) for one in found]
        worst = _told(*costs.worst(policy, scenarios)[:2])
        other = _told(*costs.worst(policy, scenarios, ELSEWHERE)[:2]) if has_other else ""
        count = costs.mean_trainings(policy, scenarios)
        print(f"| {policy} | {count:.1f} | {' | '.join(cells)} | {_told(*mean)} | {worst} | {other} |")
    for best in BESTS if has_other else BESTS[:2]:
        gap = " | ".join(_told(*costs.share(name, best, NEVER)) for name in scenarios)
        print(f"| {best}: against never | {costs.mean_trainings(best, scenarios):.1f} | {gap} | | | |")


def print_verdict(costs: Costs, policy: str, rivals: Sequence[str], scenarios: Sequence[str]) -> None:
    """What was asked of the default, as sentences."""
    for schedule in (CROSS_FITTED, ELSEWHERE):
        if not all((name, schedule) in costs.cost for name in scenarios):
            continue
        ours, our_draws, where = costs.worst(policy, scenarios, schedule)
        others = {name: costs.worst(name, scenarios, schedule) for name in rivals if name in costs.policies(scenarios)}
        best = min(others, key=lambda name: others[name][0])
        apart = _told(ours - others[best][0], our_draws - others[best][1])
        print(
            f"\nagainst the {schedule}: `{policy}` has worst regret {100 * ours:+.2f} (under {where}), "
            f"`{best}`, the best of {', '.join(others)}, {100 * others[best][0]:+.2f} (under {others[best][2]}): "
            f"{apart} apart, {ours / others[best][0]:.2f} of it\n"
        )
    for scenario in (name for name in (CALM, "fault") if name in scenarios):
        print(f"under {scenario}, against never: {_told(*costs.share(scenario, policy, NEVER))}")
    if (RAW, NEVER) in costs.cost:
        for name in (NEVER, policy):
            told = _told(*costs.share("fault", name, "", (RAW, NEVER)))
            print(f"under fault, `{name}` against never on the raw days: {told}")


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def _told(estimate: float, draws: Array) -> str:
    low, high = np.quantile(draws, [0.025, 0.975])
    found = Interval(100 * estimate, 100 * float(low), 100 * float(high))
    return f"{found.estimate:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
