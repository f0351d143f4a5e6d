"""The tables of the policy grid, from what its cells kept."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from platform_assets.science.bootstrap import Array, Interval, Resampler

NEVER, IN_SAMPLE, CROSS_FITTED = "never", "best, in-sample", "best, cross-fitted"
Costs = dict[str, Array]  # of a scenario: policy to (worlds x series, seeds)


def kept_at(state: Path, world: int, seed: int, scenario: str) -> Path:
    """Folder of a cell."""
    return state / f"{world}-{seed}" / scenario.replace(", ", "-")


def read(state: Path, cells: Sequence[tuple[int, int, str]]) -> dict[str, tuple[Costs, dict[str, float]]]:
    """Scenario to what each policy cost and its mean number of trainings; worlds that lack a seed are left out."""
    frames = []
    for seed, world, scenario in cells:
        file = kept_at(state, world, seed, scenario) / "costs.parquet"
        if file.is_file():
            frames.append(pl.read_parquet(file).with_columns(seed=seed, world=world, scenario=pl.lit(scenario)))
    if not frames:
        return {}
    found, whole = {}, pl.concat(frames)
    for (scenario,), part in whole.group_by("scenario", maintain_order=True):
        seeds = part["seed"].n_unique()
        of_world = part.group_by("world").agg(pl.col("seed").n_unique()).filter(pl.col("seed") == seeds)
        full = part.join(of_world.select("world"), on="world", how="semi")
        costs, trainings = {}, {}
        for (policy,), rows in full.group_by("policy", maintain_order=True):
            table = rows.pivot("seed", index=["world", "series"], values="cost").sort("world", "series")
            costs[policy] = table.drop("world", "series").to_numpy()
            trainings[policy] = float(rows["trainings"].mean())  # pyright: ignore[reportArgumentType]
        found[str(scenario)] = costs, trainings
    return found


def print_tables(state: Path, cells: Sequence[tuple[int, int, str]]) -> None:
    """A table for each scenario, and one of the worst and mean regrets over all of them; in percent of never's loss."""
    found = read(state, cells)
    regrets: dict[str, dict[str, tuple[float, float]]] = {}
    for scenario, (costs, trainings) in found.items():
        never, best = costs[NEVER], costs[CROSS_FITTED]
        print(
            f"\n**{scenario}** ({never.shape[0]} series, {never.shape[1]} seeds; never loses {never.sum() / never.shape[1]:.0f})\n"
        )
        print("| policy | trainings | cost against never | regret |\n|---|---|---|---|")
        for policy, cost in costs.items():
            regret = _told(_share(cost - best, never)) if policy not in (CROSS_FITTED, IN_SAMPLE) else ""
            print(f"| {policy} | {trainings[policy]:.3g} | {_told(_share(cost - never, never))} | {regret} |")
            regrets.setdefault(policy, {})[scenario] = float((cost - best).sum() / never.sum()), trainings[policy]
    judged = [name for name in found if name != "fault, raw"]
    print(
        f"\n**over {', '.join(judged)}**\n\n| policy | trainings | mean regret | worst regret | in |\n|---|---|---|---|---|"
    )
    for policy, by_scenario in regrets.items():
        if policy in (CROSS_FITTED, IN_SAMPLE) or not set(judged) <= set(by_scenario):
            continue
        values = {name: by_scenario[name][0] for name in judged}
        worst, count = max(values, key=lambda name: values[name]), np.mean([by_scenario[name][1] for name in judged])
        print(
            f"| {policy} | {count:.3g} | {100 * np.mean(list(values.values())):+.2f} | {100 * values[worst]:+.2f} | {worst} |"
        )
    if {"fault", "fault, raw"} <= set(found):
        ours, raw = found["fault"][0], found["fault, raw"][0]
        if ours[NEVER].shape == raw[NEVER].shape:
            for policy in (NEVER, "default"):
                gain = _told(_share(ours[policy] - raw[NEVER], raw[NEVER]))
                print(f"\nfault: `{policy}` with the faulty days unknown, against never on the raw days: {gain}")


def _share(difference: Array, never: Array) -> Interval:
    """A difference as a share of never's, paired over series and seeds."""
    resampler = Resampler(pl.Series([f"{at:06d}" for at in range(never.shape[0])]))
    return resampler.improvement_over_runs(difference, never).from_one()


def _told(share: Interval) -> str:
    return f"{100 * share.estimate:+.2f} [{100 * share.low:+.2f}, {100 * share.high:+.2f}]"
