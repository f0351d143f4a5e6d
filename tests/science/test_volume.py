"""Which jump of the figures is another unit, and which a shop that is nearly closed."""

from contextlib import AbstractContextManager, nullcontext
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from platform_assets.errors import ContractError
from platform_assets.science.source import Source
from platform_assets.science.volume import check_manifest, check_units, states_units, states_whole

SHOP = Source("shops", ("shop",), {"units": "units", "sold_on": "day"})
STARTS_ON, DAYS, SHOPS = date(2023, 10, 2), 120, 60
NEW_YEAR = date(2024, 1, 1)  # day 91, a Monday
LAST = STARTS_ON + timedelta(days=DAYS - 1)


def history() -> pl.DataFrame:
    """Every shop on every day, around 300 units; on Sundays every sixth shop."""
    drawn = np.random.default_rng(3)
    rows = [
        (f"S{shop:02}", STARTS_ON + timedelta(days=day), float(drawn.poisson(300)))
        for day in range(DAYS)
        for shop in range(SHOPS)
        if (STARTS_ON + timedelta(days=day)).weekday() != 6 or shop % 6 == 0
    ]
    lines = pl.DataFrame(rows, schema={"shop": pl.String, "period_on": pl.Date, "units": pl.Float64}, orient="row")
    return lines.with_row_index("file_row", 1).with_columns(pl.col("file_row").cast(pl.Int64))


def times(lines: pl.DataFrame, factor: float, when: pl.Expr) -> pl.DataFrame:
    return lines.with_columns(units=pl.when(when).then(pl.col("units") * factor).otherwise("units"))


def arrived(lines: pl.DataFrame, since: date) -> pl.DataFrame:
    """The same, the lines before this day from files before."""
    return lines.with_columns(file_row=pl.when(pl.col("period_on") >= since).then("file_row"))


def refused(said: str) -> AbstractContextManager[Any]:
    return pytest.raises(ContractError, match=said)


def test_a_half_closed_holiday_is_no_other_unit() -> None:
    """Sixty shops, six of them open on New Year's Day with next to nothing: all of three years were refused for it."""
    shop, lines = pl.col("shop").str.slice(1).cast(pl.Int64), history()
    for still_open in (6, 30):
        on = pl.col("period_on") == NEW_YEAR
        quiet = times(lines.filter(~on | (shop < still_open)), 0.01, on)
        check_units(quiet, SHOP, "f.csv")
        day = quiet.filter(pl.col("period_on") <= NEW_YEAR)
        check_units(
            arrived(day, NEW_YEAR), SHOP, "new_year.csv"
        )  # a delivery of six lines, judged among all sixty shops


@pytest.mark.parametrize(
    ("when", "is_another"),
    [
        (pl.col("period_on") == LAST, True),  # one day
        (pl.col("period_on") >= NEW_YEAR, True),  # from a day on
        (pl.col("period_on") == date(2024, 1, 7), True),  # a Sunday, on which ten of sixty shops are open as ever
        (pl.col("shop") < "S05", False),  # some shops, always
    ],
)
@pytest.mark.parametrize("factor", [100.0, 1000.0, 0.001])
def test_another_unit_is_refused_in_a_first_file(when: pl.Expr, is_another: bool, factor: float) -> None:
    with refused("times what it was before") if is_another else nullcontext():
        check_units(times(history(), factor, when), SHOP, "f.csv")


@pytest.mark.parametrize("day", [LAST, date(2024, 1, 28)])  # a Monday, and a Sunday of ten shops
def test_an_increment_of_one_day_in_another_unit_is_refused(day: date) -> None:
    lines = history().filter(pl.col("period_on") <= day)
    check_units(arrived(lines, day), SHOP, "f.csv")
    wrong = times(lines, 1000, pl.col("period_on") == day)
    with refused(
        f"f.csv: column `units` is (1e\\+03|980) times what it was before, for (10|60) series of {day}"
    ) as caught:
        check_units(arrived(wrong, day), SHOP, "f.csv")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(
        "deliver the file in the unit of the files before it; where the figures are right"
    )


def test_a_first_file_is_not_told_of_files_before_it() -> None:
    with refused(r"for 60 series of 2024-01-25 .*, and so on 4 more periods: another unit\?") as caught:
        check_units(times(history(), 1000, pl.col("period_on") >= date(2024, 1, 25)), SHOP, "f.csv")
    assert caught.value.hint == (
        "deliver all of it in one unit; where the figures are right, say so: "
        '{"units_checked": true} in f.csv.manifest.json beside it'
    )


def test_strays_of_a_large_source_say_nothing() -> None:
    """A file of monthly figures held a few lines of the weeks between; six of 900 series, a thousandth of before, refused it."""
    weekly = Source("chain", ("shop",), {"units": "units", "sold_on": "day"}, frequency="week")
    months = [STARTS_ON + timedelta(weeks=4 * n) for n in range(10)]
    between = [months[-1] + timedelta(weeks=n) for n in range(1, 17)]
    rows = [(f"S{shop:03}", on, 900.0) for on in months for shop in range(900)]
    rows += [(f"S{shop:03}", on, 0.9 if on == between[-1] else 900.0) for on in between for shop in range(6)]
    lines = pl.DataFrame(rows, schema={"shop": pl.String, "period_on": pl.Date, "units": pl.Float64}, orient="row")
    lines = lines.with_columns(file_row=pl.int_range(pl.len(), dtype=pl.Int64))
    check_units(lines, weekly, "f.csv")
    with refused("for 900 series"):
        check_units(times(lines, 1000, pl.col("period_on") == months[-1]), weekly, "f.csv")


def test_a_manifest_vouches_for_what_it_states() -> None:
    check_manifest({"units_checked": True}, file="f", rows=3, digest="ab")
    assert states_units({"units_checked": True})
    assert not states_units({"rows": 3, "units_checked": False})
    assert not states_whole({"units_checked": True})  # of the last period nothing was said
    assert states_whole({"rows": 3})
    with pytest.raises(ContractError, match="`units_checked` is 'yes', expected true"):
        check_manifest({"units_checked": "yes"}, file="f", rows=3, digest="ab")
