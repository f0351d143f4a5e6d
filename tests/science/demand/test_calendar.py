"""The calendar: functions of the date alone."""

from datetime import date, timedelta

import polars as pl
import pytest

from platform_assets.errors import ConfigurationError
from platform_assets.science.demand import columns
from platform_assets.science.demand.calendar import add_calendar, easter


def described(*days: date, country: str | None = "GB-ENG", period_days: int = 1) -> pl.DataFrame:
    return add_calendar(pl.DataFrame({"target_on": list(days)}), country=country, period_days=period_days)


def test_easter() -> None:
    """Dates of Easter Sunday as published, among them the earliest and latest that occur."""
    assert [easter(y) for y in (1818, 1943, 2000, 2008, 2011, 2024, 2038)] == [
        date(1818, 3, 22), date(1943, 4, 25), date(2000, 4, 23), date(2008, 3, 23), date(2011, 4, 24),
        date(2024, 3, 31), date(2038, 4, 25),
    ]  # fmt: skip


def test_easter_equals_the_library() -> None:
    from dateutil.easter import easter as of_dateutil

    assert [easter(year) for year in range(1900, 2200)] == [of_dateutil(year) for year in range(1900, 2200)]


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        # weekday, month, day, day of year, holiday?, to and since a holiday, to Christmas, to Easter
        # Easter Sunday, between Good Friday and Easter Monday
        (date(2011, 4, 24), (7, 4, 24, 114, False, 1, 2, 245, 0)),
        (date(2011, 12, 25), (7, 12, 25, 359, True, 0, 0, 0, 90)),
        (date(2011, 12, 28), (3, 12, 28, 362, False, 4, 1, 363, 90)),  # New Year is a holiday though it is a Sunday
        (date(2011, 7, 15), (5, 7, 15, 196, False, 45, 46, 163, -82)),
        (date(2011, 10, 15), (6, 10, 15, 288, False, 60, 47, 71, -90)),  # 71 days to a holiday: far
    ],
)
def test_days(on: date, expected: tuple[object, ...]) -> None:
    assert described(on).select(columns.CALENDAR).row(0) == expected


def test_a_weeks_holiday_falls_into_the_week() -> None:
    monday = date(2024, 12, 23)
    assert described(monday, period_days=7)["is_holiday"].to_list() == [True]
    assert described(monday, period_days=1)["is_holiday"].to_list() == [False]


def test_without_a_country_there_are_no_holidays() -> None:
    row = described(date(2024, 12, 25), country=None).row(0, named=True)
    assert (row["is_holiday"], row["days_to_holiday"], row["days_since_holiday"]) == (False, 60, 60)


def test_an_unknown_country_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="'Atlantis'"):
        described(date(2024, 1, 1), country="Atlantis")


def test_a_day_is_described_the_same_whatever_stands_beside_it() -> None:
    """Perturbing the other rows, the future among them, changes nothing."""
    days = [date(2023, 1, 1) + timedelta(days=13 * n) for n in range(80)]
    together = described(*reversed(days))
    assert together["target_on"].to_list() == days[::-1]
    for on in days[::7]:
        assert described(on).row(0) == together.filter(target_on=on).row(0)


def test_no_rows() -> None:
    empty = pl.DataFrame(schema={"target_on": pl.Date})
    assert add_calendar(empty, country="GB").schema == described(date(2024, 1, 1)).schema
