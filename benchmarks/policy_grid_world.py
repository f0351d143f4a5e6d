"""The policy grid's worlds: what was recorded and what is true, features, and a small model to fit on them."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from platform_assets.components.service_features import services
from platform_assets.components.source_choice import source_facts
from platform_assets.reproduction import spec_of
from platform_assets.science import faults, trees
from platform_assets.science import sales as selling
from platform_assets.science.demand import columns, features, offer, season
from platform_assets.science.fitting import FitSettings, FittedModel
from platform_assets.science.landing import period_end
from platform_assets.science.point_in_time import View
from platform_assets.science.quarantine import series_id
from platform_assets.science.simulate import Scenario, SimulatorConfig, simulate

STORES: Final = 5
HISTORY_DAYS: Final = 728
LISTS: Final = ("recent_units",)  # that trees do not read
BOOST: Final = {
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "learning_rate": 0.2,
    "num_leaves": 15,
    "min_data_in_leaf": 80,
    "feature_fraction": 0.3,
    "max_bin": 63,
}
ROUNDS, POWER = 30, 1 / 3  # of each quantile; of the target that trees see, as `demand` has it


@dataclass(frozen=True)
class Sold:
    """A world's sales as recorded, those of them that are true, and its features."""

    recorded: pl.DataFrame
    true: pl.DataFrame
    views: tuple[View, ...]


def sold_of(world: int, scenario: str, skus: int, days: int, starts_on: date, onset_on: date) -> Sold:
    """A world's sales and features; under a fault the true sales are those of the same world without it."""
    source = source_facts(Path(__file__).parents[1] / "platform_assets" / "defs" / "data" / "simulator")
    name = scenario.split(",", maxsplit=1)[0]
    shape = {"stores": STORES, "skus": skus, "days": days, "starts_on": starts_on, "seed": world}
    changed = () if name == "none" else (Scenario(name, onset_on),)
    simulated = simulate(SimulatorConfig(**shape, scenarios=changed))

    def table(lines: pl.DataFrame) -> pl.DataFrame:
        known = lines.with_columns(series_id=series_id(source), period_on=pl.col("sold_on"))
        known = known.with_columns(event_at=period_end(pl.col("period_on"), source))
        return known.with_columns(known_at="event_at").select(pl.col(n).cast(t) for n, t in selling.SALES.items())

    recorded = true = table(simulated.lines)
    if name == "fault":
        true = table(simulate(SimulatorConfig(**shape)).lines)
    if scenario != "fault, raw":
        sums = faults.totals(recorded, 0)
        is_past = pl.col("period_on") < starts_on + timedelta(days=HISTORY_DAYS)
        wrong = [(one.segment, one.period_on) for one in faults.find(sums.filter(is_past), sums.filter(~is_past))]
        cells = pl.DataFrame(wrong, schema={"segment": pl.String, "period_on": pl.Date}, orient="row").unique()
        marked = recorded.with_columns(segment=faults.segment_of(0)).join(
            cells.with_columns(is_wrong=pl.lit(value=True)), on=["segment", "period_on"], how="left"
        )
        hidden = [pl.when(pl.col("is_wrong").is_null()).then(n).alias(n) for n in selling.VALUES]
        recorded = marked.with_columns(hidden).select(*selling.SALES)
    announced = selling.plans([(simulated.plans, None)], source, starts_on)
    frames = {
        "demand_history": features.demand_history(recorded.lazy()),
        "price_history": features.price_history(recorded.lazy()),
        "season": season.season(recorded.lazy()),
        "offer": offer.offer(announced.lazy()),
    }
    views = tuple(
        View(
            view, frames[view].collect(), columns.ENTITY_KEYS[view], [f for f in columns.VIEWS[view] if f not in LISTS]
        )
        for view in services()[spec_of("demand").feature_service]
    )
    return Sold(recorded, true, views)


def fit(known: pl.DataFrame, settings: FitSettings) -> FittedModel:
    """A study's model: a short booster for each quantile on `demand`'s design, without foundations and network."""
    import lightgbm as lgb

    scaled = tuple(name for name in settings.features if name in columns.IN_UNITS)
    design = trees.Design(settings.features, scaled, "level", POWER)
    data = lgb.Dataset(
        design.matrix(known), design.target(known, settings.label), params={"max_bin": 63, "verbosity": -1}
    )
    texts = {}
    for output, level in zip(settings.outputs, settings.levels, strict=True):
        asked = {**BOOST, "objective": "quantile", "alpha": level, "seed": settings.seed}
        texts[output] = lgb.train(asked, data, num_boost_round=ROUNDS).model_to_string()
    return trees.TreeQuantiles(design, texts)
