"""What announced promotions are worth to `demand`: its recipe with the features that read plans, and without them.

Both are fitted on the last demo's training set, on labels known by the first origin, and judged on its evaluation rows
against the best baseline: same rows, same recipe, other columns. A baseline cannot know what is announced; where the
gain without plans is small, the rest is no leak but knowledge of the coming weeks.

    make demo && .venv/bin/python benchmarks/ablation.py
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets import names
from platform_assets.components.evaluating import observed
from platform_assets.components.training import fit_once, settings_of
from platform_assets.components.training_set import read_training_set
from platform_assets.errors import ConfigurationError
from platform_assets.locate import current
from platform_assets.reproduction import spec_of
from platform_assets.science import baselines
from platform_assets.science.bootstrap import Interval, Resampler
from platform_assets.science.demand import columns
from platform_assets.science.tasks import TASKS
from resources.deployment import Settings

Array = NDArray[np.float64]

MODEL = "demand"
WITHOUT = f"{MODEL}, without plans"


def of_plans(features: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `features` that read what was announced, derived ones among them."""
    plans = f"{names.PLANS}."
    return tuple(name for name in features if any(read.startswith(plans) for read in columns.LINEAGE[name]))


def losses(settings: Settings) -> tuple[pl.DataFrame, dict[str, Array]]:
    """The evaluation rows with a label, and each forecast's loss of each: both recipes' and every baseline's."""
    spec, tables = spec_of(MODEL), settings.tables()
    task, rows = TASKS[spec.task], read_training_set(spec, tables)
    judged = rows.judged.filter(pl.col(spec.label).is_not_null())
    opens_at = rows.judged["issued_at"].min()
    removed = of_plans(spec.features)
    if rows.fit.select(pl.all_horizontal(pl.col(removed).is_null().all())).item():
        raise ConfigurationError(f"{MODEL}: nothing was announced in this state", hint="the simulator's has plans")
    print(f"{judged.height:,} rows of {judged['series_id'].n_unique()} series from {opens_at:%Y-%m-%d} on")
    print(f"without plans: without {', '.join(removed)}")
    found: dict[str, pl.DataFrame] = {}
    for name, features in ((MODEL, spec.features), (WITHOUT, tuple(f for f in spec.features if f not in removed))):
        started = time.process_time()
        recipe = replace(settings_of(spec, threads=1, device="cpu", progress=lambda line: None), features=features)
        model, fit = fit_once(spec, rows.fit, recipe, opens_at)  # pyright: ignore[reportArgumentType]
        found[name] = model.predict(judged.select(features))
        print(f"{name}: fitted on {fit.row_count:,} rows in {time.process_time() - started:.0f} CPU s")
    found |= baselines.for_rows(task.baselines, judged, observed(tables.scan(names.SALES)), task, seed=spec.seed)
    return judged, {name: task.loss(judged[spec.label], said).to_numpy() for name, said in found.items()}


def main() -> None:
    """Fits both, prints a table of paired gains over all rows, promoted targets, and the others."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--state", type=Path, help="state directory of a demo (default: the last one)")
    judged, loss = losses(current(parser.parse_args().state))
    resampler = Resampler(judged["series_id"])
    best = min((name for name in loss if name not in (MODEL, WITHOUT)), key=lambda name: loss[name].sum())
    promoted = judged["is_planned_promotion"].fill_null(value=False).to_numpy()
    parts = {"all targets": np.ones_like(promoted), "promoted targets": promoted, "other targets": ~promoted}
    print(f"\n{'gain over ' + best:<36}" + "".join(f"{part:>26}" for part in parts))
    print(f"{'share of rows':<36}" + "".join(f"{mask.mean():>26.0%}" for mask in parts.values()))
    for title, ours, theirs in (
        (MODEL, MODEL, best),
        (WITHOUT, WITHOUT, best),
        (f"plans: {MODEL} over itself without", MODEL, WITHOUT),
    ):
        gains = [resampler.improvement(loss[ours] * mask, loss[theirs] * mask) for mask in parts.values()]
        print(f"{title:<36}" + "".join(f"{_shown(gain):>26}" for gain in gains))


def _shown(gain: Interval) -> str:
    return f"{gain.estimate:.1%} [{gain.low:.1%}, {gain.high:.1%}]"


if __name__ == "__main__":
    main()
