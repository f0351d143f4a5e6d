"""Random numbers, one stream per purpose and store, so that what changes one quantity leaves all others alone."""

from enum import IntEnum

import numpy as np

from platform_assets.science.simulate.config import SimulatorConfig


class Purpose(IntEnum):
    """What a stream is drawn for. The numbers are part of the seed: never reuse one."""

    KIND = 1
    LEVEL = 2
    STORE_LEVEL = 3
    SERIES_LEVEL = 4
    WEEKDAY = 5
    GIFT = 6
    WANDER = 7
    SIZE = 8
    BASE_PRICE = 9
    LIST_CHANGE = 10
    LIST_SIZE = 11
    PROMOTION_START = 12
    PROMOTION_LENGTH = 13
    PROMOTION_DISCOUNT = 14
    ELASTICITY = 15
    FEATURE_LIFT = 16
    BIRTH = 17
    DEATH = 18
    STOCK_GAP = 19
    STOCK_SPELL = 20
    SUPPLY = 21
    DEMAND = 22
    TICKETS = 23
    LINES = 24
    LIST_DIRECTION = 25


def stream(config: SimulatorConfig, purpose: Purpose, store: int | None = None) -> np.random.Generator:
    """Stream of one purpose, of the chain or of one store.

    Draw arrays days (or weeks) first: numpy fills them in that order, so a longer world begins with the shorter one.
    """
    key = (int(purpose),) if store is None else (int(purpose), store)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(config.seed, spawn_key=key)))
