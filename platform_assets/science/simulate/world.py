"""The simulated retailer's export: daily sums, plans, and the truth behind them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.science.simulate.assortment import Assortment, assortment
from platform_assets.science.simulate.config import SimulatorConfig
from platform_assets.science.simulate.demand import draw_demand, mean_demand, out_of_stock, series_level
from platform_assets.science.simulate.effects import Effects, effects
from platform_assets.science.simulate.plans import PLAN_HORIZON_DAYS, store_plans
from platform_assets.science.simulate.streams import Purpose, stream

SHELF_DAYS = 14  # shelves are filled each night to two weeks of a series' level
TICKETS_PER_UNIT = (0.6, 0.9)  # tickets over units sold, uniform between
SPLIT_LINES = 0.06  # lines beyond one per ticket, per ticket


@dataclass(frozen=True)
class World:
    """A simulated retailer: what it exports, and what only the simulator knows.

    lines: one row per store, SKU and local day of its life, sold or not: store, sku, sold_on, units, price (EUR as
        charged; the shelf's where nothing was sold), is_promoted, stock (on hand in the morning, 0 when out of stock),
        lines, tickets.
    plans: one row per store, SKU, target day and announcement: store, sku, target_on, announced_on, planned_price,
        is_planned_promotion.
    truth: one row per store, SKU and day of life: store, sku, sold_on, lam (mean demand), size (of the negative
        binomial), demand (uncensored), is_out_of_stock.
    """

    config: SimulatorConfig
    lines: pl.DataFrame
    plans: pl.DataFrame
    truth: pl.DataFrame


def simulate(config: SimulatorConfig) -> World:
    """The world of `config`, sorted by day, store and SKU."""
    parts = list(simulate_stores(config))
    return World(
        config=config,
        lines=pl.concat([part.lines for part in parts]).sort("sold_on", "store", "sku"),
        plans=pl.concat([part.plans for part in parts]).sort("announced_on", "target_on", "store", "sku"),
        truth=pl.concat([part.truth for part in parts]).sort("sold_on", "store", "sku"),
    )


def simulate_stores(config: SimulatorConfig) -> Iterator[World]:
    """The same world store by store, for worlds that do not fit into memory at once."""
    days = config.days + PLAN_HORIZON_DAYS
    goods = assortment(config, days)
    changes = effects(config, days)
    for store in range(config.stores):
        yield _store(config, goods, changes, store)


def arrivals(world: World, start_on: date, end_on: date) -> World:
    """What arrives from `start_on` to the day before `end_on`: the days' lines, and the plans announced in them."""
    sold = pl.col("sold_on").is_between(start_on, end_on, closed="left")
    announced = pl.col("announced_on").is_between(start_on, end_on, closed="left")
    return World(world.config, world.lines.filter(sold), world.plans.filter(announced), world.truth.filter(sold))


def store_names(config: SimulatorConfig) -> list[str]:
    """Names of the stores, sorted."""
    return _numbered("store", config.stores, 2)


def sku_names(config: SimulatorConfig) -> list[str]:
    """Names of the SKUs, sorted."""
    return _numbered("sku", config.skus, 4)


def _numbered(prefix: str, count: int, width: int) -> list[str]:
    width = max(width, len(str(count)))
    return [f"{prefix}_{number:0{width}d}" for number in range(1, count + 1)]


def _store(config: SimulatorConfig, goods: Assortment, changes: Effects, store: int) -> World:
    days = config.days
    alive = goods.alive[:days]
    lam = mean_demand(config, goods, changes, store)
    size = goods.size * changes.size[:days, None]
    demand = draw_demand(config, lam, size, store)
    out = out_of_stock(config, changes, store)
    sold = np.where(out, 0, demand)
    tickets, lines = _tickets_and_lines(config, sold, store)
    copies = changes.copies[:days, None]
    recorded = sold * copies * (changes.units[:days, None] if store == 0 else 1)
    promoted = goods.promoted[:days] & ((sold > 0) | ~changes.flag[:days, None])
    keys = _keys(config, store, alive)
    has_arrived = np.ones(days, dtype=bool) if store != config.stores - 1 else ~changes.feed[:days]
    exported = keys.with_columns(
        units=_cells(recorded, alive),
        price=_cells(np.round(goods.price[:days] * changes.price[:days, None], 2), alive),
        is_promoted=_cells(promoted, alive),
        stock=_cells(_stock(config, goods, sold, out, store), alive),
        lines=_cells(lines * copies, alive),
        tickets=_cells(tickets, alive),
    ).filter(_cells(np.broadcast_to(has_arrived[:, None], alive.shape), alive))
    truth = keys.with_columns(
        lam=_cells(lam, alive),
        size=_cells(size, alive),
        demand=_cells(demand, alive),
        is_out_of_stock=_cells(out, alive),
    )
    plans = store_plans(config, goods, changes, store_names(config)[store], sku_names(config))
    return World(config, exported, plans, truth)


def _keys(config: SimulatorConfig, store: int, alive: NDArray[np.bool_]) -> pl.DataFrame:
    day, sku = np.nonzero(alive)
    return pl.DataFrame(
        {
            "store": pl.repeat(store_names(config)[store], day.size, dtype=pl.String, eager=True),
            "sku": pl.Series(sku_names(config), dtype=pl.String).gather(sku),
            "sold_on": pl.Series(np.datetime64(config.starts_on, "D") + day).cast(pl.Date),
        }
    )


def _cells(values: NDArray[np.generic], alive: NDArray[np.bool_]) -> pl.Series:
    return pl.Series(values[alive])


def _stock(
    config: SimulatorConfig, goods: Assortment, sold: NDArray[np.int64], out: NDArray[np.bool_], store: int
) -> NDArray[np.int64]:
    shelf = np.ceil(SHELF_DAYS * np.exp(goods.level + series_level(config, store))).astype(np.int64) + 1
    return np.where(out, 0, np.maximum(shelf, sold))


def _tickets_and_lines(
    config: SimulatorConfig, sold: NDArray[np.int64], store: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    low, high = TICKETS_PER_UNIT
    share = low + (high - low) * stream(config, Purpose.TICKETS, store).random(sold.shape)
    tickets = np.minimum(np.ceil(sold * share).astype(np.int64), sold)
    splits = np.floor(SPLIT_LINES * tickets + stream(config, Purpose.LINES, store).random(sold.shape)).astype(np.int64)
    return tickets, np.minimum(tickets + splits, sold)
