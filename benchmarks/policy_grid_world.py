"""The policy grid's worlds: what was recorded and what is true, the rows that models learn from and are judged on, a small model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Final, NamedTuple

import lightgbm as lgb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.components.evaluating import observed
from platform_assets.components.model_spec import ModelSpec
from platform_assets.components.service_features import services
from platform_assets.components.source_choice import source_facts
from platform_assets.reproduction import spec_of
from platform_assets.science import baselines, faults, streams, trees
from platform_assets.science import sales as selling
from platform_assets.science.backtest import Floats
from platform_assets.science.demand import columns, features, labels, offer, rows, sampling, season
from platform_assets.science.demand.panel import latest
from platform_assets.science.landing import period_end
from platform_assets.science.point_in_time import View, join
from platform_assets.science.quarantine import series_id
from platform_assets.science.simulate import Scenario, SimulatorConfig, simulate
from platform_assets.science.source import Source
from platform_assets.science.tasks import TASKS
from platform_assets.science.train_on import TrainOn

STORES: Final = 5
HISTORY_DAYS: Final = 728
LEAD: Final = 12  # weeks before the first that is charged
KEYS: Final = ("series_id", "issued_at", "target_on", "horizon_days")
FAULTY: Final = ("fault", "dup")  # scenarios whose faulty days are looked for; in the others none were ever found
POOL: Final = 70_000  # rows of the first two years and what follows up to the onset, that trainings draw theirs from
BOOST: Final = {
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "learning_rate": 0.4,
    "num_leaves": 15,
    "min_data_in_leaf": 80,
    "feature_fraction": 0.3,
    "max_bin": 63,
}
ROUNDS, POWER = 15, 1 / 3  # of each quantile; of the target that trees see, as `demand` has it


@dataclass(frozen=True)
class Size:
    """How much is lived through: SKUs of each store, weeks that are charged, in which of them the scenario begins."""

    skus: int
    weeks: int
    onset: int

    @property
    def days(self) -> int:
        """Of the whole world."""
        return HISTORY_DAYS + 7 * (LEAD + self.weeks)


@dataclass(frozen=True)
class Sold:
    """A world's sales as recorded, those of them that are true, and its features."""

    recorded: pl.DataFrame
    true: pl.DataFrame
    views: tuple[View, ...]


class Scored(NamedTuple):
    """What became of a training's forecasts: by week and series its loss on what was recorded, and on what was truly sold,
    and the sums by day that the check `error` reads."""

    seen: Floats
    true: Floats
    results: pl.DataFrame


@cache
def read_spec() -> ModelSpec:
    """`demand`, without what trees do not read."""
    spec = spec_of("demand")
    return replace(spec, features=columns.plain(spec.features))


@cache
def simulator() -> Source:
    """What is known of the source."""
    return source_facts(Path(__file__).parents[1] / "platform_assets" / "defs" / "data" / "simulator")


def sold_of(world: int, scenario: str, size: Size, starts_on: date, onset_on: date) -> Sold:
    """A world's sales and features; under a fault the true sales are those of the same world without it."""
    source = simulator()
    name = scenario.split(",", maxsplit=1)[0]
    shape = {"stores": STORES, "skus": size.skus, "days": size.days, "starts_on": starts_on, "seed": world}
    changed = () if name == "none" else (Scenario(name, onset_on),)
    simulated = simulate(SimulatorConfig(**shape, scenarios=changed))

    def table(lines: pl.DataFrame) -> pl.DataFrame:
        known = lines.with_columns(series_id=series_id(source), period_on=pl.col("sold_on"))
        known = known.with_columns(event_at=period_end(pl.col("period_on"), source))
        return known.with_columns(known_at="event_at").select(pl.col(n).cast(t) for n, t in selling.SALES.items())

    recorded = true = table(simulated.lines)
    if name in FAULTY:
        true = table(simulate(SimulatorConfig(**shape)).lines)
    if scenario in FAULTY:
        recorded = without_faults(recorded, starts_on + timedelta(days=HISTORY_DAYS))
    announced = selling.plans([(simulated.plans, None)], source, starts_on)
    frames = {
        "demand_history": features.demand_history(recorded.lazy()),
        "price_history": features.price_history(recorded.lazy()),
        "season": season.season(recorded.lazy()),
        "offer": offer.offer(announced.lazy()),
    }
    views = tuple(
        View(view, frames[view].collect(), columns.ENTITY_KEYS[view], columns.plain(columns.VIEWS[view]))
        for view in services()[read_spec().feature_service]
    )
    return Sold(recorded, true, views)


def without_faults(recorded: pl.DataFrame, watched_from: date) -> pl.DataFrame:
    """Sales whose faulty days, found on arrival from a day on, are unknown."""
    sums = faults.totals(recorded, 0)
    is_past = pl.col("period_on") < watched_from
    wrong = [(one.segment, one.period_on) for one in faults.find(sums.filter(is_past), sums.filter(~is_past))]
    if not wrong:
        return recorded
    cells = pl.DataFrame(wrong, schema={"segment": pl.String, "period_on": pl.Date}, orient="row").unique()
    marked = recorded.with_columns(segment=faults.segment_of(0)).join(
        cells.with_columns(is_wrong=pl.lit(value=True)), on=["segment", "period_on"], how="left"
    )
    hidden = [pl.when(pl.col("is_wrong").is_null()).then(n).alias(n) for n in selling.VALUES]
    return marked.with_columns(hidden).select(*selling.SALES)


class Life:
    """A world under one scenario, without training seeds: what is judged week by week, and what can be learned from."""

    def __init__(self, world: int, scenario: str, size: Size) -> None:
        self.spec, first_on = read_spec(), date(2022, 1, 3) + timedelta(days=91 * world)  # all seasons are met
        self.task = TASKS[self.spec.task]
        starts_on = first_on + timedelta(days=HISTORY_DAYS)
        self.onset_on = starts_on + timedelta(weeks=LEAD + size.onset)
        self.sold = sold_of(world, scenario, size, first_on, self.onset_on)
        origins = [starts_on + timedelta(days=7 * n - 1) for n in range(size.weeks + LEAD)]
        self.starts = tuple(on + timedelta(days=1) for on in origins)
        scaled = tuple(name for name in self.spec.features if name in columns.IN_UNITS)
        self.design = trees.Design(self.spec.features, scaled, "level", POWER)
        asked = sampling.evaluation_rows(self.sold.recorded.lazy(), issued_on=origins, horizons=range(1, 8))
        true = labels.attach(asked, self.sold.true.lazy())["units"]
        judged = self.joined(asked).with_columns(true=true).filter(pl.col("true").is_not_null())
        self.judged = judged.select(*KEYS, *self.spec.features, "units", "true", known=pl.col("units").fill_null(0.0))
        learned = self.joined(self._pool()).filter(pl.col("units").is_not_null())
        self.pool = learned.select(*KEYS, *self.spec.features, "units", "label_known_at")
        ends = pl.DataFrame({"on": origins}).select(period_end(pl.col("on"), simulator())).to_series()
        self.cuts: tuple[datetime, ...] = tuple(ends)  # a week in which nothing can be asked is one too
        self.week = pl.Series(self.cuts).search_sorted(self.judged["issued_at"]).to_numpy()
        names = self.sold.true["series_id"].unique().sort()
        self.series = names.search_sorted(self.judged["series_id"]).to_numpy()
        self.shape = len(origins), names.len()
        self.matrix, self.levels = self.design.matrix(self.judged), self.design.levels(self.judged)
        self.pool_matrix, self.pool_target = self.design.matrix(self.pool), self.design.target(self.pool, "units")
        self.is_recorded = self.judged["units"].is_not_null().to_numpy()
        prices = latest(self.sold.recorded.lazy()).select("series_id", "period_on", "price").collect()
        self.price_ratio = streams.price_ratios(self.judged, prices)
        name = self.task.baselines[0]
        self.baseline = baselines.for_rows([name], self.judged, observed(self.sold.recorded.lazy()), self.task)[name]
        lost = self.task.loss(self.judged["known"], self.baseline).fill_nan(0.0).fill_null(0.0)
        self.baseline_loss = self.by_week(lost.to_numpy() * self.is_recorded)
        known_at = self.sold.recorded["known_at"].sort()
        self.lines = tuple(int(n) for n in known_at.search_sorted(pl.Series(self.cuts), side="right"))

    @cached_property
    def quiet_weeks(self) -> int:
        """Trainings before so many weeks know nothing of the onset."""
        return sum(start <= self.onset_on for start in self.starts)

    def joined(self, asked: pl.DataFrame) -> pl.DataFrame:
        """Rows with features as known at issue, and labels."""
        found = rows.derive(join(asked, self.sold.views, at="issued_at"), country="DE")
        return labels.attach(found, self.sold.recorded.lazy())

    def known(self, at: datetime) -> pl.LazyFrame:
        """Recorded sales as known at an instant."""
        return self.sold.recorded.lazy().filter(pl.col("known_at") <= at)

    def _pool(self) -> pl.DataFrame:
        """Rows that trainings draw from, about equally many of each day; up to the onset those of the world without it."""
        reach, sales = range(1, self.spec.horizon_days + 1), self.sold.recorded
        before = sales.filter(pl.col("period_on") < self.onset_on)
        from_on = self.onset_on - timedelta(days=reach[-1])
        after = sales.filter(pl.col("period_on") >= from_on)
        days = [part["period_on"].n_unique() for part in (before, after)]
        budget = POOL * days[1] // days[0]
        old = sampling.fit_rows(before.lazy(), rows=POOL, horizons=reach)
        new = sampling.fit_rows(sales.lazy(), rows=budget, horizons=reach, start_on=from_on)
        return pl.concat([old, new.filter(pl.col("target_on") >= self.onset_on)])

    def by_week(self, lost: Floats) -> Floats:
        """(weeks, series): of each judged row, summed."""
        sums = np.zeros(self.shape)
        np.add.at(sums, (self.week, self.series), lost)
        return sums

    def drawn(self, before: int, on: TrainOn, rows: int, seed: int) -> NDArray[np.int64]:
        """Places in the pool of about `rows` that a training before a week learns from, by their labels known at its beginning.

        Each has a number of its own, so that a longer history or another choice keeps most of them.
        """
        last_on = self.starts[before] - timedelta(days=1)
        issued_on = self.pool["issued_at"].dt.date()
        is_known = (self.pool["label_known_at"] <= self.cuts[before]).to_numpy()
        if on.window_days is not None:
            is_known &= (issued_on > last_on - timedelta(days=on.window_days)).to_numpy()
        is_recent = (issued_on > last_on - timedelta(days=on.recent_days)).to_numpy()
        weight = np.where(is_recent, on.recent_density, 1.0) * is_known
        number = np.random.default_rng(seed).random(self.pool.height)
        return np.flatnonzero(number < weight * rows / weight.sum())

    def fitted(self, chosen: NDArray[np.int64], seed: int) -> list[lgb.Booster]:
        """A study's model: a short booster for each quantile on `demand`'s design, without foundations and network."""
        parameters = {**BOOST, "seed": seed}
        data = lgb.Dataset(self.pool_matrix[chosen], self.pool_target[chosen], params=parameters).construct()
        boosters = []
        for level in self.task.levels:
            booster = lgb.Booster({**parameters, "objective": "quantile", "alpha": level}, data)
            for _ in range(ROUNDS):
                booster.update()
            boosters.append(booster)
        return boosters

    def scored(self, boosters: Sequence[lgb.Booster], before: int) -> Scored:
        """The loss of forecasts for the weeks from `before` on."""
        first = int(np.searchsorted(self.week, before))
        judged, matrix = self.judged[first:], self.matrix[first:]
        raw = np.column_stack([np.asarray(booster.predict(matrix, num_threads=1)) for booster in boosters])
        quantiles = np.sort(np.maximum(self.design.restore(raw, self.levels[first:]), 0.0), axis=1)
        said = pl.DataFrame(quantiles, schema=dict.fromkeys(self.task.outputs, pl.Float64))
        seen, true = np.zeros(self.week.size), np.zeros(self.week.size)
        true[first:] = self.task.loss(judged["true"], said).to_numpy()
        seen[first:] = self.task.loss(judged["known"], said).to_numpy() * self.is_recorded[first:]
        results = streams.daily_sums(
            judged, said, self.baseline[first:], self.task, label="units", price_ratio=self.price_ratio[first:]
        )
        return Scored(self.by_week(seen), self.by_week(true), results)
