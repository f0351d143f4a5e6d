"""What a training is worth by what it learns from: all history, the last weeks densely, a window, on from the champion.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.on_what

A simulated retailer changes after two years. The trees of `demand`, trained when it changes, stand still beside the same
trained again 2 and 8 weeks later, on what was known then; both are charged on the true sales of the 8 weeks that follow.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.policy_grid_world import HISTORY_DAYS, LEAD, Size, Sold, sold_of
from platform_assets.components.drawing import window_start
from platform_assets.components.training import settings_of
from platform_assets.defs.models.demand.train import fit_trees
from platform_assets.reproduction import spec_of
from platform_assets.science.bootstrap import Interval, Resampler
from platform_assets.science.demand import columns, labels, rows, sampling
from platform_assets.science.fitting import FitSettings, FittedModel
from platform_assets.science.point_in_time import join
from platform_assets.science.tasks import QUANTILES
from platform_assets.science.train_on import EVENLY, TrainOn

SCENARIOS: Final = ("elastic", "weekly")
CHOICES: Final = (
    EVENLY,
    TrainOn(recent_density=7.0),
    TrainOn(window_days=182),
    TrainOn(window_days=91, start="champion"),
)
AFTER_WEEKS: Final = (2, 8)
JUDGED_WEEKS: Final = 8
STARTS_ON: Final = date(2022, 1, 3)


class World:
    """Sales and features of one world, and trainings at any instant of it."""

    def __init__(self, sold: Sold, size: int, seed: int) -> None:
        spec = spec_of("demand")
        plain = columns.plain(spec.features)
        settings = settings_of(replace(spec, features=plain), threads=1, device="cpu", progress=lambda line: None)
        self.sold, self.size, self.settings = sold, size, replace(settings, seed=seed)

    def joined(self, asked: pl.DataFrame) -> pl.DataFrame:
        """Rows with features as known when they were issued, and with labels."""
        found = rows.derive(join(asked, self.sold.views, at="issued_at"), country="DE")
        return labels.attach(found, self.sold.recorded.lazy()).filter(pl.col("units").is_not_null())

    def train(self, cut: datetime, on: TrainOn, champion: FittedModel | None = None) -> FittedModel:
        """A model on labels known by an instant."""
        known = self.sold.recorded.lazy().filter(pl.col("known_at") <= cut)
        drawn = sampling.fit_rows(
            known,
            rows=self.size,
            horizons=range(1, 29),
            start_on=window_start(known, on),
            recent_days=on.recent_days,
            recent_density=on.recent_density,
            seed=self.settings.seed,
        )
        fit = self.joined(drawn).filter(pl.col("label_known_at") <= cut).sort("series_id", "issued_at", "target_on")
        start = champion if on.start == "champion" else None
        recipe: FitSettings = replace(self.settings, parameters={}, start=start)
        return fit_trees(fit, recipe)

    def judged(self, first_on: date) -> pl.DataFrame:
        """All live series on each day of the weeks from a day on, as asked when its week began."""
        origins = [first_on + timedelta(days=7 * week - 1) for week in range(JUDGED_WEEKS)]
        return self.joined(sampling.evaluation_rows(self.sold.recorded.lazy(), issued_on=origins, horizons=range(1, 8)))


def gain(judged: pl.DataFrame, model: FittedModel, still: NDArray[np.float64]) -> Interval:
    """Of a model over one that stands still, whose losses are given."""
    return Resampler(judged["series_id"]).improvement(lost(judged, model), still)


def lost(judged: pl.DataFrame, model: FittedModel) -> NDArray[np.float64]:
    """(rows,): the loss of each."""
    return QUANTILES.loss(judged["units"], model.predict(judged)).to_numpy()


def table(found: Sequence[tuple[str, int, TrainOn, Interval]]) -> str:
    """As Markdown: the change of the loss, so that less is better."""
    columns = [(scenario, weeks) for scenario in SCENARIOS for weeks in AFTER_WEEKS]
    head = " | ".join(f"{scenario}, after {weeks} weeks" for scenario, weeks in columns)
    lines = [f"| learned from | {head} |", "|---" * (len(columns) + 1) + "|"]
    for choice in CHOICES:
        cells = {(scenario, weeks): one for scenario, weeks, on, one in found if on == choice}
        told = [f"{-one.estimate:+.1%} [{-one.high:+.1%}, {-one.low:+.1%}]" for one in map(cells.get, columns) if one]
        lines.append(f"| {choice.told} | {' | '.join(told)} |")
    return "\n".join(lines)


def main() -> None:
    """Train, judge and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--skus", type=int, default=40, help="of each of the five stores")
    parser.add_argument("--rows", type=int, default=24_000, help="that a training is fitted on")
    parser.add_argument("--world", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0, help="of the draw and the training")
    said = parser.parse_args()
    onset_on = STARTS_ON + timedelta(days=HISTORY_DAYS)
    size = Size(said.skus, max(AFTER_WEEKS) + JUDGED_WEEKS - LEAD, onset=0)
    found: list[tuple[str, int, TrainOn, Interval]] = []
    for scenario in SCENARIOS:
        world = World(sold_of(said.world, scenario, size, STARTS_ON, onset_on), said.rows, said.seed)
        still = world.train(world.judged(onset_on)["issued_at"].min(), EVENLY)  # pyright: ignore[reportArgumentType]
        for weeks in AFTER_WEEKS:
            judged = world.judged(onset_on + timedelta(weeks=weeks))
            before = lost(judged, still)
            for choice in CHOICES:
                began = time.process_time()
                model = world.train(judged["issued_at"].min(), choice, still)  # pyright: ignore[reportArgumentType]
                one = gain(judged, model, before)
                found.append((scenario, weeks, choice, one))
                print(
                    f"{scenario}, {weeks} weeks after, {choice.told}: {-one.estimate:+.1%}, {time.process_time() - began:.0f} CPU s",
                    flush=True,
                )
    print(f"\n{table(found)}")


if __name__ == "__main__":
    main()
