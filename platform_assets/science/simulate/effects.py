"""Scenarios as one value per day for each thing that they change; several at once multiply or unite."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from platform_assets.science.simulate.config import Scenario, SimulatorConfig

STEP_FACTOR = 1.5
TREND_DAYS = 90
ELASTICITY_FACTOR = 1.8
PRICE_HIKE_FACTOR = 1.3
INFLATION_FACTOR = 1.12
WEEKDAY_SHIFT_DAYS = 3
SIZE_DIVISOR = 4.0
FAULT_FACTOR = 10
COPIES = 2


@dataclass(frozen=True)
class Effects:
    """What the scenarios do on each day; every array has shape (days,)."""

    level: NDArray[np.float64]  # demand times this
    elasticity: NDArray[np.float64]  # elasticity times this, before its cap
    real_price: NDArray[np.float64]  # price times this, and demand answers
    nominal_price: NDArray[np.float64]  # price times this, and demand does not
    weekday_shift: NDArray[np.int64]  # days by which the weekday profile is shifted
    size: NDArray[np.float64]  # negative binomial size times this
    supply: NDArray[np.bool_]  # the chosen series have nothing to sell
    units: NDArray[np.int64]  # recorded units of the first store times this
    copies: NDArray[np.int64]  # times that each line arrives
    feed: NDArray[np.bool_]  # the last store's lines do not arrive
    flag: NDArray[np.bool_]  # promotions are recorded only where something was sold

    @property
    def price(self) -> NDArray[np.float64]:
        """Charged price over the price of a world without scenarios, shape (days,)."""
        return self.real_price * self.nominal_price


def effects(config: SimulatorConfig, days: int) -> Effects:
    """Effects of the configuration's scenarios on `days` days from the start; neutral where none is active."""
    found = Effects(
        level=np.ones(days),
        elasticity=np.ones(days),
        real_price=np.ones(days),
        nominal_price=np.ones(days),
        weekday_shift=np.zeros(days, dtype=np.int64),
        size=np.ones(days),
        supply=np.zeros(days, dtype=bool),
        units=np.ones(days, dtype=np.int64),
        copies=np.ones(days, dtype=np.int64),
        feed=np.zeros(days, dtype=bool),
        flag=np.zeros(days, dtype=bool),
    )
    for scenario in config.scenarios:
        _apply(found, scenario, config, days)
    return found


def _apply(found: Effects, scenario: Scenario, config: SimulatorConfig, days: int) -> None:
    onset = (scenario.onset_on - config.starts_on).days
    until_on = scenario.until_on()
    end = days if until_on is None else (until_on - config.starts_on).days
    day = np.arange(days)
    active = (day >= onset) & (day < end)
    match scenario.name:
        case "step":
            found.level[active] *= STEP_FACTOR
        case "trend":
            progress = np.clip((day - onset + 1) / TREND_DAYS, 0.0, 1.0)
            found.level[active] *= 1.0 + (STEP_FACTOR - 1.0) * progress[active]
        case "elastic":
            found.elasticity[active] *= ELASTICITY_FACTOR
        case "pricehike":
            found.real_price[active] *= PRICE_HIKE_FACTOR
        case "covshift":
            found.nominal_price[active] *= INFLATION_FACTOR
        case "weekly":
            found.weekday_shift[active] += WEEKDAY_SHIFT_DAYS
        case "disp":
            found.size[active] /= SIZE_DIVISOR
        case "supply":
            found.supply[active] = True
        case "fault":
            found.units[active] *= FAULT_FACTOR
        case "dup":
            found.copies[active] *= COPIES
        case "feed":
            found.feed[active] = True
        case "promo_flag":
            found.flag[active] = True
