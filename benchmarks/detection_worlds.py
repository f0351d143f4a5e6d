"""Champions of simulated worlds, and what became of their forecasts: daily sums, for detection_study.py.

A world has 300 series and begins on a day of its own, so that all seasons are met. A small model of the shipped kind
(six boosted quantiles on lags, prices and plans, as known at issue) is trained twice: the evaluation fit 168 days before
the champion goes live, and the champion itself. The former's forecasts of those 168 days, issued every 28 days, are the
own backtest; the latter's of the 118 days after, issued weekly, each series answered by a forecast of 0 to 3 weeks'
age, are the stream of results. A scenario begins 28 days after the champion; both trainings are shared by all scenarios
of a world, whose random numbers are the same up to the onset.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Final

import lightgbm as lgb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.science import streams
from platform_assets.science.baselines import QUANTILE_BASELINES
from platform_assets.science.history import History
from platform_assets.science.simulate import Scenario, SimulatorConfig, sku_names, store_names
from platform_assets.science.simulate.assortment import assortment
from platform_assets.science.simulate.demand import draw_demand, mean_demand, out_of_stock
from platform_assets.science.simulate.effects import effects
from platform_assets.science.simulate.plans import PLAN_HORIZON_DAYS
from platform_assets.science.splits import origin
from platform_assets.science.tasks import LEVELS, QUANTILES

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Issue = tuple[int, Numbers, Numbers]  # day of issue, and of each forecast its target day and series

STORES, SKUS = 5, 60
LIVE_FROM: Final = 728  # day on which the champion begins to answer
BACKTEST_DAYS: Final = 168
ONSET_AFTER: Final = 28  # days after LIVE_FROM
LIVE_DAYS: Final = ONSET_AFTER + 90
DAYS: Final = LIVE_FROM + LIVE_DAYS
HORIZON: Final = 28
FIT_ROWS: Final = 24_000
FIT_ISSUES: Final = 160
SCENARIOS: Final = ("step", "trend", "elastic", "pricehike", "weekly", "covshift", "disp", "supply", "fault", "dup")
PARAMETERS: Final = {
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "learning_rate": 0.12,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.5,
    "max_bin": 63,
}
ROUNDS: Final = 60
POWER: Final = 1 / 3  # of the target that trees see
SMALLEST_LEVEL: Final = 1 / 300
SEASON_SALT: Final = 77


@dataclass(frozen=True)
class Sales:
    """What was recorded: (days, series) each; units are NaN where nothing could be sold or the series did not live."""

    starts_on: date
    units: Floats
    price: Floats  # as charged
    planned: Floats  # of a world without scenarios
    price_level: Floats  # (days,), as scenarios have it
    promoted: NDArray[np.bool_]

    @cached_property
    def totals(self) -> dict[str, Floats]:
        """Running sums over days of what features are means of: (days + 1, series) each."""
        units, seen = np.nan_to_num(self.units), ~np.isnan(self.units)
        weekday = (np.arange(len(units)) + self.starts_on.weekday()) % 7
        of = {
            "units": units,
            "seen": seen,
            "zero": seen & (units == 0),
            "square": units**2,
            "price": np.log(self.price),
            "promoted": self.promoted & seen,
            "on offer": units * self.promoted,
            "regular": units * ~self.promoted,
        }
        for day in range(7):
            is_day = (weekday == day)[:, None]
            of |= {f"weekday {day}": units * is_day, f"seen {day}": seen * is_day}
        return {name: np.vstack([np.zeros(values.shape[1]), np.cumsum(values, axis=0)]) for name, values in of.items()}

    @cached_property
    def sold_at(self) -> Numbers:
        """Last day with a sale up to each day, far back before the first: (days, series)."""
        sold = np.where(np.nan_to_num(self.units) > 0, np.arange(len(self.units))[:, None], -1000)
        return np.maximum.accumulate(sold, axis=0)

    @cached_property
    def born_at(self) -> Numbers:
        """First day with a sale: (series,)."""
        return np.argmax(np.nan_to_num(self.units) > 0, axis=0)

    def over(self, name: str, end: int, days: int) -> Floats:
        """Sum of a quantity over so many days up to and with `end`: (series,)."""
        return self.totals[name][end + 1] - self.totals[name][max(end + 1 - days, 0)]

    def mean(self, name: str, end: int, days: int, per: str = "seen") -> Floats:
        """Mean per day that counts; NaN where there was none."""
        count = self.over(per, end, days)
        return np.where(count > 0, self.over(name, end, days) / np.maximum(count, 1), np.nan)

    def is_live(self, end: int) -> NDArray[np.bool_]:
        """Series that sold in the last 91 days."""
        return end - self.sold_at[end] < 91


def sales_of(seed: int, scenario: str) -> Sales:
    """Recorded sales of a world of its own season."""
    starts_on = date(2022, 1, 1) + timedelta(days=int(np.random.default_rng([seed, SEASON_SALT]).integers(364)))
    onset_on = starts_on + timedelta(days=LIVE_FROM + ONSET_AFTER)
    changed = () if scenario == "none" else (Scenario(scenario, onset_on),)
    config = SimulatorConfig(stores=STORES, skus=SKUS, days=DAYS, starts_on=starts_on, seed=seed, scenarios=changed)
    ahead = DAYS + PLAN_HORIZON_DAYS
    goods, changes = assortment(config, ahead), effects(config, ahead)
    units, alive = [], goods.alive[:DAYS]
    for store in range(STORES):
        size = goods.size * changes.size[:DAYS, None]
        demand = draw_demand(config, mean_demand(config, goods, changes, store), size, store).astype(np.float64)
        recorded = demand * changes.copies[:DAYS, None] * (changes.units[:DAYS, None] if store == 0 else 1)
        units.append(np.where(out_of_stock(config, changes, store) | ~alive, np.nan, recorded))
    planned, promoted = np.tile(goods.price[:DAYS], STORES), np.tile(goods.promoted[:DAYS], STORES)
    level = changes.price[:DAYS]
    return Sales(starts_on, np.hstack(units), planned * level[:, None], planned, level, promoted)


def features(sales: Sales, issued: int, target: Numbers, series: Numbers) -> tuple[Floats, Floats]:
    """What a forecast issued at the end of day `issued` may look at: (rows, features), and the level of each row."""
    means = {days: sales.mean("units", issued, days) for days in (7, 14, 28, 56, 91, 182, 364)}
    blend = 0.25 * means[28] + 0.5 * means[91] + 0.25 * means[364]
    level = np.where(np.isnan(blend), np.where(np.isnan(means[91]), means[364], means[91]), blend)
    level = np.maximum(np.nan_to_num(level), SMALLEST_LEVEL)
    deviation = np.sqrt(np.maximum(sales.mean("square", issued, 91) - means[91] ** 2, 0))
    usual_price = sales.over("price", issued, 91) / min(issued + 1, 91)
    off_offer = np.maximum(sales.over("seen", issued, 56) - sales.over("promoted", issued, 56), 1)
    of_series = [
        *(mean / level for mean in means.values()),
        deviation / level,
        sales.mean("zero", issued, 28),
        sales.mean("zero", issued, 91),
        sales.mean("on offer", issued, 364, "promoted") / level,
        sales.over("regular", issued, 56) / off_offer / level,
        sales.mean("promoted", issued, 28),
        np.log(level),
        np.minimum(issued - sales.born_at, 400),
        issued - sales.sold_at[issued],
    ]
    days, place = np.unique(target, return_inverse=True)
    dates = [sales.starts_on + timedelta(days=int(day)) for day in days]
    weekday, year_day = (
        np.array(values)[place]
        for values in zip(*((on.weekday(), on.timetuple().tm_yday) for on in dates), strict=True)
    )
    weekday_mean = np.stack([sales.mean(f"weekday {day}", issued, 182, f"seen {day}") for day in range(7)])
    planned = np.log(sales.planned[target, series] * sales.price_level[issued])
    year_ago = np.full(target.size, np.nan)
    if issued >= 364 + 28:
        before = sales.mean("units", issued - 364, 28) + 0.25 * level
        for at, day in enumerate(days):
            season = (sales.mean("units", day - 350, 29) + 0.25 * level) / before
            year_ago[place == at] = season[series[place == at]]
    columns = [
        *(column[series] for column in of_series),
        weekday_mean[weekday, series] / level[series],
        weekday,
        year_day,
        target - issued,
        planned - usual_price[series],
        planned - np.log(sales.price[issued, series]),
        sales.promoted[target, series],
        year_ago,
    ]
    return np.column_stack(columns).astype(np.float64), level[series]


def fit(sales: Sales, until: int, seed: int) -> list[lgb.Booster]:
    """One booster for each quantile, on forecasts whose targets lie before day `until`."""
    draw = np.random.default_rng([seed, until])
    parts, labels = [], []
    for issued in draw.choice(np.arange(120, until - 1), size=FIT_ISSUES, replace=False):
        series = draw.choice(np.flatnonzero(sales.is_live(issued)), size=FIT_ROWS // FIT_ISSUES)
        target = issued + 1 + draw.integers(0, min(HORIZON, until - issued - 1), size=series.size)
        label = sales.units[target, series]
        known = ~np.isnan(label)
        matrix, level = features(sales, int(issued), target[known], series[known])
        parts.append(matrix)
        labels.append((label[known] / level) ** POWER)
    matrix, aim = np.vstack(parts).astype(np.float32), np.concatenate(labels)
    data = lgb.Dataset(matrix, aim, params={"max_bin": 63, "verbosity": -1})
    return [
        lgb.train({**PARAMETERS, "objective": "quantile", "alpha": level, "seed": seed}, data, num_boost_round=ROUNDS)
        for level in LEVELS
    ]


def judged(sales: Sales, boosters: list[lgb.Booster], issues: Iterable[Issue]) -> pl.DataFrame:
    """Daily sums of these forecasts."""
    frames, besides, matrices, levels = [], [], [], []
    config = SimulatorConfig(stores=STORES, skus=SKUS)
    names = np.array([f"{store}/{sku}" for store in store_names(config) for sku in sku_names(config)])
    for issued, targets, of in issues:
        known = ~np.isnan(sales.units[targets, of]) & sales.is_live(issued)[of]
        target, series = targets[known], of[known]
        issued_on = sales.starts_on + timedelta(days=issued)
        seen = sales.units[max(issued - 363, 0) : issued + 1].T
        history = History(pl.Series(names), seen, origin(issued_on, horizon_days=HORIZON))
        beside = np.sort(QUANTILE_BASELINES["moving_average"](history, LEVELS), axis=2)[series, 0]
        matrix, level = features(sales, issued, target, series)
        matrices.append(matrix)
        levels.append(level)
        besides.append(pl.DataFrame(beside, schema=list(QUANTILES.outputs)))
        usual = np.median(sales.price[max(issued - 90, 0) : issued + 1], axis=0)
        frames.append(
            pl.DataFrame(
                {
                    "series_id": names[series],
                    "target_on": pl.Series(np.datetime64(sales.starts_on, "D") + target).cast(pl.Date),
                    "units": sales.units[target, series],
                    "price_ratio": sales.price[target, series] / usual[series],
                }
            )
        )
    matrix, level = np.vstack(matrices).astype(np.float32), np.concatenate(levels)
    raw = np.column_stack([np.asarray(booster.predict(matrix, num_threads=1)) for booster in boosters])
    quantiles = np.sort(np.maximum(raw, 0.0) ** (1 / POWER) * level[:, None], axis=1)
    rows = pl.concat(frames)
    said = pl.DataFrame(quantiles, schema=list(QUANTILES.outputs))
    ratio = rows["price_ratio"]
    return streams.daily_sums(rows, said, pl.concat(besides), QUANTILES, label="units", price_ratio=ratio)


def backtest_issues() -> Iterator[Issue]:
    """Every 28 days, all series, each day of the horizon."""
    for issued in range(LIVE_FROM - BACKTEST_DAYS - 1, LIVE_FROM - 1, HORIZON):
        ahead = np.arange(issued + 1, issued + 1 + HORIZON)
        target, series = np.meshgrid(ahead, np.arange(STORES * SKUS), indexing="ij")
        yield issued, target.ravel(), series.ravel()


def live_issues(begin: int) -> Iterator[Issue]:
    """Weekly; of each series' forecasts for a day, from `begin` on, that of 0 to 3 weeks' age, as there are."""
    series = np.arange(STORES * SKUS)
    found: dict[int, list[tuple[Numbers, Numbers]]] = {}
    for target in range(LIVE_FROM + begin, DAYS):
        newest = (target - LIVE_FROM) // 7
        age = np.minimum(series // 7 % 4, newest)
        for back in np.unique(age):
            chosen = series[age == back]
            issued = LIVE_FROM - 1 + 7 * int(newest - back)
            found.setdefault(issued, []).append((np.full(chosen.size, target), chosen))
    for issued, parts in sorted(found.items()):
        yield issued, *(np.concatenate(values) for values in zip(*parts, strict=True))  # pyright: ignore[reportReturnType]


def world(seed: int, scenarios: tuple[str, ...]) -> pl.DataFrame:
    """Daily sums of the world without a scenario from the backtest on, and of each scenario from its onset on.

    Beside `streams.daily_sums`: `scenario`, and `at`, days since the champion went live.
    """
    null = sales_of(seed, "none")
    tested = judged(null, fit(null, LIVE_FROM - BACKTEST_DAYS, seed), backtest_issues())
    shipped = fit(null, LIVE_FROM, seed)
    frames = [pl.concat([tested, judged(null, shipped, live_issues(0))]).with_columns(scenario=pl.lit("none"))]
    for name in scenarios:
        since = judged(sales_of(seed, name), shipped, live_issues(ONSET_AFTER))
        frames.append(since.with_columns(scenario=pl.lit(name)))
    live_on = null.starts_on + timedelta(days=LIVE_FROM)
    return pl.concat(frames).with_columns(at=(pl.col("day") - live_on).dt.total_days().cast(pl.Int32))
