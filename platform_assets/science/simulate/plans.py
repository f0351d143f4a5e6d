"""What the chain announces beforehand: list prices and promotions of days to come.

Each Monday the chain announces the week that begins 35 days later: list price and promotion of every SKU and day on
which the SKU will be sold. Every day is thus known 35 to 41 days ahead. Nobody announces a scenario: a plan carries the
price level of the day of its announcement, and on the day on which a scenario changes that level all outstanding plans,
for that day and after, are announced anew. Only by such a surprise does a realised price differ from its last plan.
"""

from typing import Final

import numpy as np
import polars as pl

from platform_assets.science.simulate.assortment import Assortment, week_of_day
from platform_assets.science.simulate.config import SimulatorConfig
from platform_assets.science.simulate.effects import Effects

PLAN_LEAD_DAYS: Final = 35
PLAN_HORIZON_DAYS: Final = PLAN_LEAD_DAYS + 6  # a day that any Monday of the world can have announced


def store_plans(
    config: SimulatorConfig, goods: Assortment, changes: Effects, store: str, skus: list[str]
) -> pl.DataFrame:
    """All that was announced to one store before the world's end, for days of the world and after it."""
    days = config.days + PLAN_HORIZON_DAYS
    target = np.arange(days)
    announced = week_of_day(config, days) * 7 - config.starts_on.weekday() - PLAN_LEAD_DAYS
    rounds = [(target[announced < config.days], announced[announced < config.days])]
    level = changes.price
    for day in np.flatnonzero(np.diff(level[: config.days], prepend=1.0)):
        outstanding = target[(target >= day) & (announced < day)]
        rounds.append((outstanding, np.full(outstanding.size, day)))
    frames = [_announcement(config, goods, level, store, skus, *one) for one in rounds]
    return pl.concat(frames)


def _announcement(
    config: SimulatorConfig,
    goods: Assortment,
    level: np.ndarray,
    store: str,
    skus: list[str],
    target: np.ndarray,
    announced: np.ndarray,
) -> pl.DataFrame:
    index, sku = np.nonzero(goods.alive[target])
    factor = np.where(announced >= 0, level[np.maximum(announced, 0)], 1.0)
    day = target[index]
    first = np.datetime64(config.starts_on, "D")
    return pl.DataFrame(
        {
            "store": pl.repeat(store, day.size, dtype=pl.String, eager=True),
            "sku": pl.Series(skus, dtype=pl.String).gather(sku),
            "target_on": pl.Series(first + day).cast(pl.Date),
            "announced_on": pl.Series(first + announced[index]).cast(pl.Date),
            "planned_price": pl.Series(np.round(goods.price[day, sku] * factor[index], 2), dtype=pl.Float64),
            "is_planned_promotion": pl.Series(goods.promoted[day, sku], dtype=pl.Boolean),
        }
    )
