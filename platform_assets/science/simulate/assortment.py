"""What belongs to a SKU in all stores: its level, its seasons, its prices and promotions, its life."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from platform_assets.science.simulate.config import SimulatorConfig
from platform_assets.science.simulate.streams import Purpose, stream

Floats = NDArray[np.float64]

GROCERY_SHARE = 0.6
GIFT_SHARE = 0.15
GROCERY_LEVEL = (float(np.log(2.35)), 0.66)
LONG_TAIL_LEVEL = (float(np.log(0.45)), 1.05)
GROCERY_SIZE = (float(np.log(4.2)), 0.65)
LONG_TAIL_SIZE = (float(np.log(0.8)), 0.6)
# Outside these the probability of zero underflows, or one series is all zeros and one spike.
SIZE_RANGE = (0.05, 60.0)
WEEKDAY_FACTORS = np.array([0.861, 0.872, 0.850, 0.985, 1.188, 1.522, 0.722])  # Monday to Sunday, mean 1
WEEKDAY_SD = 0.15
MONTH_FACTORS = np.array([0.993, 1.079, 0.993, 1.027, 1.084, 0.975, 0.903, 0.80, 1.006, 1.035, 1.006, 1.099])
GIFT_MONTH_FACTORS = np.array([0.672, 0.676, 0.905, 0.944, 0.929, 0.859, 0.839, 0.886, 1.17, 1.29, 1.647, 1.183])
BASE_PRICE = (float(np.log(2.46)), 0.95)
LIST_CHANGE_HAZARD = 0.06  # per week
LIST_UPWARD_SHARE = 0.6
LIST_CHANGE_SD = 0.065  # of a half-normal, in log
DISCOUNT = (float(np.log(0.167)), 0.5)
DISCOUNT_RANGE = (0.05, 0.5)
# Promotions last one or two weeks, half each, and at least one week passes between two. With p the chance that one
# starts in a week that may have one, a cycle is 1.5 weeks on and 1 + (1 - p) / p off: p = .1564 gives 19% of days.
PROMOTION_HAZARD = 0.1564
PROMOTION_BURN_IN_WEEKS = 26
ELASTICITY = (-2.9, 0.85)
ELASTICITY_RANGE = (-5.0, -0.8)
ELASTICITY_CAP = -6.0  # after a scenario's factor
FEATURE_LIFT = (0.64, 0.25)
FEATURE_LIFT_RANGE = (0.0, 1.5)
DIP = -0.15  # in log, in the week after a promotion
BORN_SHARE = 0.12
DEATH_SHARE = 0.08
LIFE_WINDOW_DAYS = 730  # days within which those shares are born and die
RAMP_DAYS = 21  # a birth's sales rise from 5% to 95% of their level in these


@dataclass(frozen=True)
class Assortment:
    """One value per SKU, or per day and SKU; days run past the world's end by the plans' horizon."""

    level: Floats  # (skus,), log
    size: Floats  # (skus,)
    weekday: Floats  # (7, skus), log, Monday first
    season: Floats  # (days, skus), log
    elasticity: Floats  # (skus,)
    feature_lift: Floats  # (skus,)
    reference: Floats  # (skus,), log of the base price
    price: Floats  # (days, skus), EUR in whole cents, before scenarios
    promoted: NDArray[np.bool_]  # (days, skus)
    dip: Floats  # (days, skus), log
    ramp: Floats  # (days, skus), log
    alive: NDArray[np.bool_]  # (days, skus)


def assortment(config: SimulatorConfig, days: int) -> Assortment:
    """The chain's SKUs over `days` days, the same whatever the scenarios."""
    skus = config.skus
    grocery = _chosen(config, Purpose.KIND, GROCERY_SHARE)
    level = _by_kind(config, Purpose.LEVEL, grocery, GROCERY_LEVEL, LONG_TAIL_LEVEL)
    size = np.exp(_by_kind(config, Purpose.SIZE, grocery, GROCERY_SIZE, LONG_TAIL_SIZE))
    own_weekday = 1.0 + WEEKDAY_SD * stream(config, Purpose.WEEKDAY).standard_normal((7, skus))
    weekday = np.log(WEEKDAY_FACTORS[:, None] * np.maximum(own_weekday, 0.1))
    months = np.array([(config.starts_on + timedelta(days=day)).month - 1 for day in range(days)])
    gift = _chosen(config, Purpose.GIFT, GIFT_SHARE)
    season = np.log(np.where(gift[None, :], GIFT_MONTH_FACTORS[months, None], MONTH_FACTORS[months, None]))
    promoted, discount, is_after = _promotions(config, days)
    base, listed = _list_prices(config, days)
    price = np.maximum(np.round(np.where(promoted, listed * (1.0 - discount), listed), 2), 0.01)
    alive, ramp = _life(config, days)
    return Assortment(
        level=level,
        size=np.clip(size, *SIZE_RANGE),
        weekday=weekday,
        season=season,
        elasticity=_clipped_normal(config, Purpose.ELASTICITY, ELASTICITY, ELASTICITY_RANGE),
        feature_lift=_clipped_normal(config, Purpose.FEATURE_LIFT, FEATURE_LIFT, FEATURE_LIFT_RANGE),
        reference=np.log(base),
        price=price,
        promoted=promoted,
        dip=np.where(is_after, DIP, 0.0),
        ramp=ramp,
        alive=alive,
    )


def week_of_day(config: SimulatorConfig, days: int) -> NDArray[np.int64]:
    """Week of each day, shape (days,), weeks from Monday; the first day is in week 0."""
    return (np.arange(days) + config.starts_on.weekday()) // 7


def _chosen(config: SimulatorConfig, purpose: Purpose, share: float) -> NDArray[np.bool_]:
    order = stream(config, purpose).permutation(config.skus)
    return order < round(share * config.skus)


def _by_kind(
    config: SimulatorConfig,
    purpose: Purpose,
    grocery: NDArray[np.bool_],
    of_grocery: tuple[float, float],
    of_long_tail: tuple[float, float],
) -> Floats:
    drawn = stream(config, purpose).standard_normal(config.skus)
    return np.where(grocery, of_grocery[0] + of_grocery[1] * drawn, of_long_tail[0] + of_long_tail[1] * drawn)


def _clipped_normal(
    config: SimulatorConfig, purpose: Purpose, law: tuple[float, float], within: tuple[float, float]
) -> Floats:
    return np.clip(law[0] + law[1] * stream(config, purpose).standard_normal(config.skus), *within)


def _list_prices(config: SimulatorConfig, days: int) -> tuple[Floats, Floats]:
    """Base price (skus,) and list price (days, skus), both in whole cents."""
    week = week_of_day(config, days)
    shape = (int(week[-1]) + 1, config.skus)
    base = np.exp(BASE_PRICE[0] + BASE_PRICE[1] * stream(config, Purpose.BASE_PRICE).standard_normal(config.skus))
    base = np.maximum(np.round(base, 2), 0.05)
    changes = stream(config, Purpose.LIST_CHANGE).random(shape) < LIST_CHANGE_HAZARD
    upward = stream(config, Purpose.LIST_DIRECTION).random(shape) < LIST_UPWARD_SHARE
    sizes = np.abs(LIST_CHANGE_SD * stream(config, Purpose.LIST_SIZE).standard_normal(shape))
    steps = np.where(changes, np.where(upward, sizes, -sizes), 0.0)
    steps[0] = 0.0
    return base, np.maximum(np.round(base * np.exp(np.cumsum(steps, axis=0)), 2), 0.05)[week]


def _promotions(config: SimulatorConfig, days: int) -> tuple[NDArray[np.bool_], Floats, NDArray[np.bool_]]:
    """Days on promotion, their discounts, and the days of the week after one; each (days, skus)."""
    week_of = week_of_day(config, days)
    shape = (int(week_of[-1]) + 1 + PROMOTION_BURN_IN_WEEKS, config.skus)
    starts = stream(config, Purpose.PROMOTION_START).random(shape) < PROMOTION_HAZARD
    is_long = stream(config, Purpose.PROMOTION_LENGTH).random(shape) < 0.5
    drawn = stream(config, Purpose.PROMOTION_DISCOUNT).standard_normal(shape)
    drawn = np.clip(np.exp(DISCOUNT[0] + DISCOUNT[1] * drawn), *DISCOUNT_RANGE)
    promoted, after = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    discount = np.zeros(shape)
    has_second_week = np.zeros(config.skus, dtype=bool)
    was_promoted, running = has_second_week, np.zeros(config.skus)
    for week in range(shape[0]):
        after[week] = was_promoted & ~has_second_week
        begins = starts[week] & ~was_promoted
        promoted[week] = was_promoted = has_second_week | begins
        running = np.where(begins, drawn[week], running)
        discount[week] = np.where(was_promoted, running, 0.0)
        has_second_week = begins & is_long[week]
    index = week_of + PROMOTION_BURN_IN_WEEKS
    return promoted[index], discount[index], after[index]


def _life(config: SimulatorConfig, days: int) -> tuple[NDArray[np.bool_], Floats]:
    """Whether a SKU is sold at all, and the log ramp of its first weeks; each (days, skus)."""
    birth = stream(config, Purpose.BIRTH).random((2, config.skus))
    is_born = birth[0] < BORN_SHARE
    # The first day is no birth, so that a born SKU has a day before it.
    born_day = np.where(is_born, 1 + np.floor(birth[1] * (LIFE_WINDOW_DAYS - 1)), -np.inf)
    hazard = -np.log1p(-DEATH_SHARE) / LIFE_WINDOW_DAYS
    waited = np.maximum(stream(config, Purpose.DEATH).exponential(1.0 / hazard, config.skus), 1.0)
    died_day = np.ceil(waited) + np.maximum(born_day, 0.0)
    day = np.arange(days, dtype=np.float64)[:, None]
    alive = (day >= born_day) & (day < died_day)
    age = np.where(alive & is_born, day - np.where(is_born, born_day, 0.0), np.inf)
    steepness = 2.0 * np.log(19.0) / RAMP_DAYS
    return alive, -np.log1p(np.exp(-steepness * (age - RAMP_DAYS / 2.0)))
