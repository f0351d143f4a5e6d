"""Names of time zones, as people misspell them."""

import difflib
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones


def known_timezone(name: str) -> str:
    """The name itself.

    Raises: ValueError where it names no zone, with one that may have been meant.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # a part of a name alone is a folder: OSError
        raise ValueError(f"unknown timezone {name!r}; such as {_meant(name)}") from error
    return name


def _meant(name: str) -> str:
    """The zone whose name, or whose city, is most alike."""
    zones = available_timezones()
    alike = {zone.rpartition("/")[2].casefold(): zone for zone in sorted(zones)}
    alike |= {zone.casefold(): zone for zone in zones}
    near = difflib.get_close_matches(name.casefold(), alike, 1)
    return alike[near[0]] if near else "Europe/London or UTC"
