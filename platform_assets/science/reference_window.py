"""What a champion's inputs are compared with: named windows of past issues."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, Self

from platform_assets.errors import ConfigurationError

TRAINING, LAST_YEAR, PREVIOUS = "training", "last_year", "previous"
REFERENCES: Final = {
    TRAINING: "the champion's training set",
    LAST_YEAR: "the same season a year before",
    PREVIOUS: "the quarter before",
}
WINDOW_DAYS: Final = 91  # of `last_year` and `previous`
YEAR_DAYS: Final = 364  # whole weeks: the same weekdays


@dataclass(frozen=True)
class MonitoringSettings:
    """`monitoring` of a model's defs.yaml."""

    reference: str = TRAINING

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Raises: ConfigurationError naming the key that is unknown, or the value with those that are known."""
        if unknown := sorted(set(mapping) - {"reference"}):
            raise ConfigurationError(f"monitoring: unknown keys {unknown}; known: reference")
        found = cls(**mapping)
        if found.reference not in REFERENCES:
            raise ConfigurationError(
                f"monitoring: `reference` is {found.reference!r}, expected one of {', '.join(REFERENCES)}"
            )
        return found


def window_of(reference: str, as_of: date, horizon_days: int) -> tuple[date, date]:
    """First and last day of issue of the windows that are counted from the newest issue, `as_of`.

    `last_year` is a quarter about the day a year before; `previous` the quarter that ends one horizon before, since the
    forecasts of an issue are drawn among those whose target has come.
    """
    if reference == LAST_YEAR:
        middle, half = as_of - timedelta(days=YEAR_DAYS), timedelta(days=WINDOW_DAYS // 2)
        return middle - half, middle + half
    last = as_of - timedelta(days=horizon_days)
    return last - timedelta(days=WINDOW_DAYS - 1), last
