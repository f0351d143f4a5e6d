"""A zone that is none is refused with one that may have been meant."""

from datetime import UTC, datetime
from zoneinfo import available_timezones

import polars as pl
import pytest

from platform_assets.science.timezones import known_timezone

NEITHER = "Europe/London or UTC"  # what is said where nothing is alike


@pytest.mark.parametrize("name", ["Europe/London", "UTC", "CET", "America/Argentina/Buenos_Aires", "Etc/GMT+2"])
def test_a_zone_is_taken_as_it_is(name: str) -> None:
    assert known_timezone(name) == name


def accepts(name: str) -> bool:
    try:
        known_timezone(name)
    except ValueError:
        return False
    return True


def test_what_is_taken_is_what_the_tables_can_be_read_in() -> None:
    """A zone of this machine alone was taken, and failed at the first materialization."""
    at = pl.Series([datetime(2025, 7, 1, tzinfo=UTC)])

    def converts(name: str) -> bool:
        try:
            at.dt.convert_time_zone(name)
        except pl.exceptions.ComputeError:
            return False
        return True

    others = {
        "localtime",
        "Factory",
        "posixrules",
        "posix/Europe/London",
        "right/Europe/London",
        "MEZ",
        "europe/london",
    }
    differ = {name for name in available_timezones() | others if accepts(name) != converts(name)}
    assert not differ


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Europe/Londn", "Europe/London"),
        ("berlin", "Europe/Berlin"),
        ("new_york", "America/New_York"),
        ("utc", "UTC"),
        ("posix/Europe/London", "Europe/London"),
        ("Europe", "Europe/Rome"),  # a folder of zones
        ("", NEITHER),
        ("/", NEITHER),
        ("MEZ+1", NEITHER),
        ("Beijing", NEITHER),
        ("GMT+2", NEITHER),  # Etc/GMT+2 is two hours west of Greenwich
        ("UTC+2", NEITHER),
        ("Etc/GMT+20", NEITHER),
        ("GMT+", "GMT"),
    ],
)
def test_another_name_is_refused_with_one_that_may_be_meant(name: str, meant: str) -> None:
    with pytest.raises(ValueError, match="unknown timezone") as refused:
        known_timezone(name)
    assert str(refused.value) == f"unknown timezone {name!r}; such as {meant}"
