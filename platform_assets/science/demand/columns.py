"""The features of demand: their views, types, meaning and what they read. Light: imports nothing heavy.

Windows are in days and end with the period of the row, so they mean the same for daily and weekly sources; the mean of
a window is per open period. "Open" is a period in which the source as a whole sold something. A period in which a
series had nothing to sell (stock 0, units 0) is unknown demand: no window counts it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

# What demand is computed from: units, and whether there was anything to sell.
DEMAND: Final = ("sales.units", "sales.stock")


@dataclass(frozen=True)
class Feature:
    """One feature: `dtype` is f64, i64, bool or list_f32; `reads` names the columns it is computed from."""

    name: str
    dtype: str
    about: str
    reads: tuple[str, ...] = DEMAND


def _f(name: str, about: str, *reads: str) -> Feature:
    return Feature(name, "f64", about, reads or DEMAND)


WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
RECENT_PERIODS: Final = 56

DEMAND_HISTORY: Final = (
    _f("level", "scale of the series, units per period, > 0: blend of the means over 28, 91 and 364 days"),
    _f("last_units", "units of the period that has just ended"),
    *(_f(f"mean_{d}", f"mean units per period, last {d} days") for d in (7, 14, 28, 56, 91, 182, 364)),
    *(
        _f(f"half_mean_{d}", f"units per period, last {d} days: square of the mean root, which bulk orders hardly move")
        for d in (7, 28, 91, 364)
    ),
    *(_f(f"std_{d}", f"standard deviation of units per period, last {d} days") for d in (28, 91, 364)),
    *(_f(f"zero_share_{d}", f"share of periods without a sale, last {d} days") for d in (28, 91, 364)),
    *(_f(f"max_{d}", f"largest units of a period, last {d} days") for d in (28, 91, 364)),
    *(
        _f(f"q{q}_{d}", f"{q}% quantile of units per period, last {d} days")
        for d in (56, 91, 364)
        for q in (25, 50, 75, 95)
    ),
    *(_f(f"q99_{d}", f"99% quantile of units per period, last {d} days") for d in (91, 364)),
    _f("sale_size_91", "mean units of the periods with a sale, last 91 days"),
    _f("days_since_sale", "days from the last period with a sale to this one, 0 where it sold"),
    _f("age_days", "days from the period of the first sale to this one"),
    *(_f(f"lines_mean_{d}", f"mean sales lines per period, last {d} days", "sales.lines") for d in (28, 91, 364)),
    _f("line_size_91", "units per sales line, last 91 days", *DEMAND, "sales.lines"),
    *(_f(f"weekday_mean_{day}", f"mean units of {day} periods, last 182 days") for day in WEEKDAYS),
    _f("stock_out_share_28", "share of periods with nothing to sell, last 28 days"),
    _f("year_ago_mean_28", "mean units per period over the 28 days that ended 364 days ago"),
    _f("year_ago_half_28", "the same as the square of the mean root, which bulk orders hardly move"),
    _f("year_ago_market_28", "market index over the 28 days that ended 364 days ago"),
    _f("market_trend_7", "market index of the last 7 days over that of the last 28"),
    _f("market_trend_28", "market index of the last 28 days over that of the last 91"),
    Feature("recent_units", "list_f32", f"units of the last {RECENT_PERIODS} open periods, oldest first, null-free"),
)

PRICE_HISTORY: Final = (
    _f("last_price", "realised mean price of the latest sale", "sales.price"),
    _f("price_median_28", "median realised price of the periods with a sale, last 28 days", "sales.price"),
    _f("price_median_91", "median realised price of the periods with a sale, last 91 days", "sales.price"),
    _f("price_ratio_91", "latest price over the median of the last 91 days", "sales.price"),
    _f("price_ratio_364", "median price of the last 91 days over that of the last 364", "sales.price"),
    Feature("is_promoted_now", "bool", "whether the period that has just ended was promoted", ("sales.is_promoted",)),
    _f("promotion_share_28", "share of promoted periods, last 28 days", "sales.is_promoted"),
    _f("promotion_share_364", "share of promoted periods, last 364 days", "sales.is_promoted"),
    _f("promoted_mean_364", "mean units of promoted periods, last 364 days", *DEMAND, "sales.is_promoted"),
    _f(
        "regular_mean_56",
        "mean units of periods that were not promoted, last 56 days",
        *DEMAND,
        "sales.is_promoted",
    ),
    _f("regular_mean_364", "mean units of periods not promoted, last 364 days", *DEMAND, "sales.is_promoted"),
)

SEASON: Final = (
    _f("season_mean_7", "mean units per period of the 7 days around the day 364 days before the target"),
    _f("season_mean_29", "mean units per period of the 29 days around the day 364 days before the target"),
    _f("season_half_29", "the same as the square of the mean root, which bulk orders hardly move"),
    _f("season_market_7", "market index of the 7 days around the day 364 days before the target"),
    _f("season_market_29", "market index of the 29 days around the day 364 days before the target"),
)

OFFER: Final = (
    _f(
        "planned_price",
        "price planned for the target day, as announced when the forecast is issued",
        "plans.planned_price",
    ),
    Feature(
        "is_planned_promotion",
        "bool",
        "whether a promotion of the target day has been announced",
        ("plans.is_planned_promotion",),
    ),
)

FEATURES: Final[dict[str, tuple[Feature, ...]]] = {
    "demand_history": DEMAND_HISTORY,
    "price_history": PRICE_HISTORY,
    "season": SEASON,
    "offer": OFFER,
}
VIEWS: Final[dict[str, tuple[str, ...]]] = {view: tuple(f.name for f in fs) for view, fs in FEATURES.items()}
ENTITY_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "demand_history": ("series_id",),
    "price_history": ("series_id",),
    "season": ("series_id", "target_day"),
    "offer": ("series_id", "target_day"),
}

# Views that have a row for every series alive in every open period: computed up to a period, or not.
EVERY_PERIOD: Final = ("demand_history",)

_CALENDAR: Final = (
    Feature("target_weekday", "i64", "weekday of the target day, Monday 1 to Sunday 7", ()),
    Feature("target_month", "i64", "month of the target day", ()),
    Feature("target_month_day", "i64", "day of the month of the target day", ()),
    Feature("target_year_day", "i64", "day of the year of the target day", ()),
    Feature("is_holiday", "bool", "whether a public holiday falls into the target period", ()),
    Feature("days_to_holiday", "i64", "days from the target day to the next public holiday, at most 60", ()),
    Feature("days_since_holiday", "i64", "days from the last public holiday to the target day, at most 60", ()),
    Feature("days_to_christmas", "i64", "days from the target day to the next 25 December", ()),
    Feature("days_to_easter", "i64", "days to the nearest Easter Sunday, negative after it, within 90", ()),
)
_DERIVED: Final = (
    _f("weekday_mean_target", "mean units of periods of the target's weekday over the last 182 days"),
    _f("season_ratio", "what followed a year ago over what led up to it, for this series (shrunk to 1)"),
    _f("season_half_ratio", "the same of the squares of the mean roots, which bulk orders hardly move"),
    _f(
        "season_market_ratio_7",
        "market index around the target a year ago over that of the 28 days before issue, a year ago",
    ),
    _f("season_market_ratio_29", "the same, 29 days around the target"),
    _f(
        "target_price_ratio",
        "planned price over the median price of the last 91 days",
        "plans.planned_price",
        "sales.price",
    ),
    _f("missed_units", "units that the days since the last sale would have sold, at the mean of the last 91 days"),
    _f("target_price_step", "planned price over the latest price", "plans.planned_price", "sales.price"),
)
CALENDAR: Final = tuple(f.name for f in _CALENDAR)
DERIVED: Final = tuple(f.name for f in _DERIVED)

ALL: Final[dict[str, Feature]] = {f.name: f for fs in (*FEATURES.values(), _CALENDAR, _DERIVED) for f in fs}
DTYPES: Final[dict[str, str]] = {name: feature.dtype for name, feature in ALL.items()}
DESCRIPTIONS: Final[dict[str, str]] = {name: feature.about for name, feature in ALL.items()}
LINEAGE: Final[dict[str, tuple[str, ...]]] = {name: feature.reads for name, feature in ALL.items()}
LISTS: Final = frozenset(name for name, dtype in DTYPES.items() if dtype.startswith("list"))


def plain(features: Iterable[str]) -> tuple[str, ...]:
    """Those that are one value each, in order: what trees read."""
    return tuple(name for name in features if name not in LISTS)


# Measured in units of the series: models that scale their target by `level` scale these too.
IN_UNITS: Final = tuple(
    name
    for name in ALL
    if name.startswith(
        ("last_units", "mean_", "half_mean_", "std_", "max_", "q", "sale_size", "line_size", "weekday_mean")
    )
    or name.startswith(
        ("promoted_mean", "regular_mean", "year_ago_mean", "year_ago_half", "season_mean", "season_half_29")
    )
)
