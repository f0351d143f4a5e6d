"""What the calendar says about a target day: functions of the date alone, so known at any time."""

from datetime import date
from typing import Final, Literal

import polars as pl

from platform_assets.errors import ConfigurationError
from platform_assets.names import TARGET_ON

FAR_DAYS: Final = 60  # a holiday further away than this says nothing
_EASTER_WITHIN_DAYS: Final = 90
_Strategy = Literal["backward", "forward", "nearest"]


def add_calendar(rows: pl.DataFrame, *, country: str | None, period_days: int = 1) -> pl.DataFrame:
    """`rows` with `columns.CALENDAR` of their `target_on`, the first day of the target period.

    `country` is an ISO 3166 code, with a part of the country after a hyphen where holidays differ ("GB", "GB-ENG");
    without one there are no holidays. Weekday, month and distances are those of the period's first day.
    """
    days = rows.select(TARGET_ON).unique().drop_nulls().sort(TARGET_ON)
    if days.is_empty():
        first = last = date(1970, 1, 1)
    else:
        first, last = days[TARGET_ON][0], days[TARGET_ON][-1]
    years = range(first.year - 1, last.year + 2)
    holidays_on = _holidays(country, years)
    on = pl.col(TARGET_ON)
    features = (
        days.with_columns(
            _next(days, holidays_on, "next_on", "forward"),
            _next(days, holidays_on, "last_on", "backward"),
            _next(days, [date(year, 12, 25) for year in years], "christmas_on", "forward"),
            _next(days, [easter(year) for year in years], "easter_on", "nearest"),
        )
        .with_columns(
            (pl.col("next_on") - on).dt.total_days().fill_null(FAR_DAYS).clip(upper_bound=FAR_DAYS).alias("to"),
            (on - pl.col("last_on")).dt.total_days().fill_null(FAR_DAYS).clip(upper_bound=FAR_DAYS).alias("since"),
            (pl.col("easter_on") - on).dt.total_days().alias("easter"),
        )
        .select(
            TARGET_ON,
            on.dt.weekday().cast(pl.Int64).alias("target_weekday"),
            on.dt.month().cast(pl.Int64).alias("target_month"),
            on.dt.day().cast(pl.Int64).alias("target_month_day"),
            on.dt.ordinal_day().cast(pl.Int64).alias("target_year_day"),
            (pl.col("to") < period_days).alias("is_holiday"),
            pl.col("to").alias("days_to_holiday"),
            pl.col("since").alias("days_since_holiday"),
            (pl.col("christmas_on") - on).dt.total_days().alias("days_to_christmas"),
            pl.col("easter").clip(-_EASTER_WITHIN_DAYS, _EASTER_WITHIN_DAYS).alias("days_to_easter"),
        )
    )
    return rows.join(features, on=TARGET_ON, how="left", maintain_order="left")


def easter(year: int) -> date:
    """Easter Sunday of the western churches. Source: the anonymous Gregorian algorithm (Meeus, 1991, ch. 8)."""
    golden, century, rest = year % 19, year // 100, year % 100
    epact = (19 * golden + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (rest // 4) - epact - rest % 4) % 7
    shift = (golden + 11 * epact + 22 * weekday) // 451
    month, day = divmod(epact + weekday - 7 * shift + 114, 31)
    return date(year, month, day + 1)


def _holidays(country: str | None, years: range) -> list[date]:
    if country is None:
        return []
    import holidays  # 0.2 CPU s, and only here

    code, _, part = country.partition("-")
    try:
        found = holidays.country_holidays(code, subdiv=part or None, years=years)
    except NotImplementedError as error:
        raise ConfigurationError(
            f"country {country!r} has no calendar of public holidays: {error}",
            hint='give an ISO 3166 code such as "GB" or "GB-ENG", or none for no holidays',
        ) from error
    return sorted(found)


def _next(days: pl.DataFrame, marks: list[date], name: str, strategy: _Strategy) -> pl.Series:
    """For each of the sorted `days` the nearest of `marks` in the direction of `strategy`, null where there is none."""
    marked = pl.DataFrame({name: sorted(marks)}, schema={name: pl.Date})
    joined = days.join_asof(marked, left_on=TARGET_ON, right_on=name, strategy=strategy, coalesce=False)
    return joined[name]
