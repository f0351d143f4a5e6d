"""Names of time zones, as people misspell them."""

import difflib
from functools import cache
from typing import Final
from zoneinfo import available_timezones

THIS_MACHINES: Final = frozenset({"localtime", "Factory"})  # named by a machine, and by none of the tables' readers
AT_LEAST: Final = 0.7  # alike: at less, Beijing is Berlin


def known_timezone(name: str) -> str:
    """The name itself.

    Raises: ValueError where it names no zone, with one that may have been meant.
    """
    if name not in _zones():
        raise ValueError(f"unknown timezone {name!r}; such as {_meant(name)}")
    return name


@cache
def _zones() -> frozenset[str]:
    """Zones that mean the same wherever a table is read."""
    return frozenset(available_timezones()) - THIS_MACHINES


def _meant(name: str) -> str:
    """The zone whose name, or whose city, is most alike; never one that is named by an offset, as Etc/GMT+2 is UTC-2."""
    zones = sorted(zone for zone in _zones() if not _has_digit(zone))
    alike = {zone.rpartition("/")[2].casefold(): zone for zone in zones}
    alike |= {zone.casefold(): zone for zone in zones}
    near = [] if _has_digit(name) else difflib.get_close_matches(name.casefold(), alike, 1, AT_LEAST)
    return alike[near[0]] if near else "Europe/London or UTC"


def _has_digit(name: str) -> bool:
    return any(letter.isdigit() for letter in name)
