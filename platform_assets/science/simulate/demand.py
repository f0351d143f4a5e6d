"""Demand of one store's SKUs, and what the shelves let through."""

import numpy as np
from numpy.typing import NDArray

from platform_assets.science.simulate.assortment import ELASTICITY_CAP, Assortment
from platform_assets.science.simulate.config import SimulatorConfig
from platform_assets.science.simulate.effects import Effects
from platform_assets.science.simulate.streams import Purpose, stream

Floats = NDArray[np.float64]

STORE_LEVEL_SD = 0.22
SERIES_LEVEL_SD = 0.20
WANDER_PHI = 0.98
WANDER_SD = 0.16  # of the stationary process, not of its innovations
SPELL = (float(np.log(12.0)), 0.8)  # days, log-normal
SPELL_RANGE = (3, 80)
STOCK_GAP_DAYS = 400.0  # mean of an exponential
STOCK_BURN_IN_DAYS = 240  # three of the longest spells: the first day is like any other
SUPPLY_SHARE = 0.3


def series_level(config: SimulatorConfig, store: int) -> Floats:
    """Log level of the store and of its series over the SKU's, shape (skus,)."""
    of_store = STORE_LEVEL_SD * stream(config, Purpose.STORE_LEVEL, store).standard_normal()
    return of_store + SERIES_LEVEL_SD * stream(config, Purpose.SERIES_LEVEL, store).standard_normal(config.skus)


def mean_demand(config: SimulatorConfig, goods: Assortment, changes: Effects, store: int) -> Floats:
    """Mean demand of a store's SKUs, shape (days, skus); 0 before birth and after death."""
    days = config.days
    weekdays = (np.arange(days) + config.starts_on.weekday() + changes.weekday_shift[:days]) % 7
    elasticity = np.maximum(goods.elasticity * changes.elasticity[:days, None], ELASTICITY_CAP)
    real_price = np.log(goods.price[:days]) + np.log(changes.real_price[:days, None])
    log_lam = (
        goods.level
        + series_level(config, store)
        + goods.weekday[weekdays]
        + goods.season[:days]
        + _wander(config, store)
        + elasticity * (real_price - goods.reference)
        + goods.feature_lift * goods.promoted[:days]
        + goods.dip[:days]
        + goods.ramp[:days]
    )
    return np.where(goods.alive[:days], np.exp(log_lam) * changes.level[:days, None], 0.0)


def out_of_stock(config: SimulatorConfig, changes: Effects, store: int) -> NDArray[np.bool_]:
    """Days on which a series has nothing to sell, shape (days, skus)."""
    out = _supplier_failures(config, store)
    hit = stream(config, Purpose.SUPPLY, store).random(config.skus) < SUPPLY_SHARE
    return out | (changes.supply[: config.days, None] & hit)


def draw_demand(config: SimulatorConfig, lam: Floats, size: Floats, store: int) -> NDArray[np.int64]:
    """Negative binomial demand by inversion, one uniform number per cell, shape (days, skus).

    A cell whose mean and size are those of another world has that world's demand, whatever happens around it.
    """
    return negative_binomial(stream(config, Purpose.DEMAND, store).random(lam.shape), lam, size)


def negative_binomial(uniform: Floats, mean: Floats, size: Floats) -> NDArray[np.int64]:
    """Smallest n whose cumulative probability reaches `uniform`.

    Shapes: equal. `size` is K: the variance is mean + mean**2 / K. A mean of 0 gives 0.
    """
    wanted, mu, k = (np.ravel(array) for array in np.broadcast_arrays(uniform, mean, size))
    drawn = np.zeros(wanted.shape, dtype=np.int64)
    odds = mu / (k + mu)
    chance = np.exp(-k * np.log1p(mu / k))
    cell = np.flatnonzero(wanted > chance)
    total, chance, odds, k, wanted = chance[cell], chance[cell], odds[cell], k[cell], wanted[cell]
    count = 0
    while cell.size:
        chance = chance * ((count + k) / (count + 1.0) * odds)
        count += 1
        before, total = total, total + chance
        # A sum that no longer grows has reached the last number below 1 that it can.
        done = (total >= wanted) | ((total == before) & (chance < 1e-17))
        drawn[cell[done]] = count
        left = ~done
        cell = cell[left]
        total, chance, odds, k, wanted = (array[left] for array in (total, chance, odds, k, wanted))
    return drawn.reshape(np.shape(uniform))


def _wander(config: SimulatorConfig, store: int) -> Floats:
    """Stationary AR(1) per series, shape (days, skus)."""
    drawn = stream(config, Purpose.WANDER, store).standard_normal((config.days, config.skus))
    wander = np.empty_like(drawn)
    wander[0] = WANDER_SD * drawn[0]
    innovation = WANDER_SD * np.sqrt(1.0 - WANDER_PHI**2)
    for day in range(1, config.days):
        wander[day] = WANDER_PHI * wander[day - 1] + innovation * drawn[day]
    return wander


def _supplier_failures(config: SimulatorConfig, store: int) -> NDArray[np.bool_]:
    gaps = stream(config, Purpose.STOCK_GAP, store)
    spells = stream(config, Purpose.STOCK_SPELL, store)
    edges = np.zeros((config.days + 1, config.skus), dtype=np.int64)
    at = np.full(config.skus, -float(STOCK_BURN_IN_DAYS))
    sku = np.arange(config.skus)
    while at.min() < config.days:  # one failure of every series a turn
        begins = at + gaps.exponential(STOCK_GAP_DAYS, config.skus)
        drawn = np.exp(SPELL[0] + SPELL[1] * spells.standard_normal(config.skus))
        lasts = np.clip(np.round(drawn), *SPELL_RANGE)
        at = np.ceil(begins) + lasts
        np.add.at(edges, (np.clip(np.ceil(begins), 0, config.days).astype(np.int64), sku), 1)
        np.add.at(edges, (np.clip(at, 0, config.days).astype(np.int64), sku), -1)
    return np.cumsum(edges, axis=0)[: config.days] > 0
