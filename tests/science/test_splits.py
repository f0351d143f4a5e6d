"""No two windows overlap, and no fit row's label was unknown when the first judged forecast was issued."""

import itertools
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_assets.errors import ConfigurationError, DataError, SchemaError
from platform_assets.science import splits


def test_three_origins_of_the_retailer() -> None:
    found = splits.rolling_origins(date(2011, 12, 9))
    assert [origin.issued_on for origin in found] == [date(2011, 9, 16), date(2011, 10, 14), date(2011, 11, 11)]
    assert (found[-1].first_target_on, found[-1].last_target_on) == (date(2011, 11, 12), date(2011, 12, 9))


@given(
    st.dates(date(2000, 1, 1), date(2030, 1, 1)),
    st.integers(1, 12),
    st.sampled_from([1, 7]),
    st.integers(1, 8),
)
def test_windows_touch_without_overlap_and_end_with_what_is_known(
    last: date, count: int, period_days: int, periods: int
) -> None:
    found = splits.rolling_origins(last, count, periods * period_days, period_days=period_days)
    targets = [day for origin in found for day in origin.target_dates]
    assert len(targets) == len(set(targets)) == count * periods
    assert targets == sorted(targets)
    assert {(b - a).days for a, b in itertools.pairwise(targets)} <= {period_days}
    assert targets[-1] == last
    assert all(origin.issued_on < origin.first_target_on for origin in found)


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 28)), max_size=60),
    st.integers(1, 4),
)
def test_no_fit_row_leaks(issued_and_horizon: list[tuple[int, int]], count: int) -> None:
    """Rows issued at any time with any horizon: whatever the mask keeps was known when the first judged forecast was issued."""
    start, last = date(2024, 1, 1), date(2024, 1, 1) + timedelta(days=200)
    origins = splits.rolling_origins(last, count)
    issued_at = _midnight_ending(origins[0].issued_on)
    rows = pl.DataFrame(
        {
            "series_id": ["a"] * len(issued_and_horizon),
            "issued_at": [_midnight_ending(start + timedelta(days=day)) for day, _ in issued_and_horizon],
            "target_on": [start + timedelta(days=day + ahead) for day, ahead in issued_and_horizon],
            "label_known_at": [
                _midnight_ending(start + timedelta(days=day + ahead)) for day, ahead in issued_and_horizon
            ],
        },
        schema={
            "series_id": pl.String,
            "issued_at": pl.Datetime("us", "UTC"),
            "target_on": pl.Date,
            "label_known_at": pl.Datetime("us", "UTC"),
        },
    )
    kept = rows.filter(splits.fit_mask(rows, issued_at))
    judged_dates = {day for origin in origins for day in origin.target_dates}
    assert judged_dates.isdisjoint(kept["target_on"])
    known = [day + ahead <= (origins[0].issued_on - start).days for day, ahead in issued_and_horizon]
    assert kept.height == sum(known)
    judged = pl.DataFrame({"issued_at": [issued_at]}, schema={"issued_at": pl.Datetime("us", "UTC")})
    splits.check_apart(kept, judged)
    if not all(known):
        with pytest.raises(DataError, match=f"{len(known) - sum(known)} of {len(known)} fit rows"):
            splits.check_apart(rows, judged)


def _midnight_ending(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def test_a_label_that_is_not_known_at_all_is_not_fitted_on() -> None:
    rows = pl.DataFrame({"label_known_at": [None]}, schema={"label_known_at": pl.Datetime("us", "UTC")})
    assert rows.filter(splits.fit_mask(rows, datetime(2024, 1, 1, tzinfo=UTC))).is_empty()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigurationError, match="horizon_days 10 is not a positive multiple of period_days 7"):
        splits.rolling_origins(date(2024, 1, 1), horizon_days=10, period_days=7)
    with pytest.raises(ConfigurationError, match="0 origins"):
        splits.rolling_origins(date(2024, 1, 1), 0)
    with pytest.raises(SchemaError, match="label_known_at"):
        splits.fit_mask(pl.DataFrame({"x": [1]}), datetime(2024, 1, 1, tzinfo=UTC))
    with pytest.raises(ConfigurationError, match="no time zone"):
        splits.fit_mask(pl.DataFrame({"label_known_at": [1]}), datetime(2024, 1, 1))


@pytest.mark.parametrize(
    ("new_days", "origins", "is_whole", "expected"),
    [
        # days after the champion's last label -> (days ago that a forecast was issued, its horizon)
        (0, 3, False, []),
        (13, 3, False, []),  # half is less than a week: every weekday must be judged
        (14, 3, False, [(7, 7)]),
        (28, 3, False, [(14, 14)]),
        (30, 3, False, [(14, 14)]),  # whole weeks
        (56, 3, False, [(28, 28)]),
        (84, 3, False, [(42, 28), (14, 14)]),  # windows touch, none overlaps
        (365, 3, False, [(84, 28), (56, 28), (28, 28)]),  # no more than without a champion
        (365, 1, False, [(28, 28)]),
        (55, 3, True, []),  # a label that spans 28 days needs them
        (56, 3, True, [(28, 28)]),
        (100, 3, True, [(28, 28)]),
    ],
)
def test_a_refresh_is_judged_on_the_newer_half_of_what_its_champion_has_not_seen(
    new_days: int, origins: int, is_whole: bool, expected: list[tuple[int, int]]
) -> None:
    last = date(2025, 6, 30)
    found = splits.refresh_origins(last, last - timedelta(days=new_days), origins, 28, is_whole=is_whole)
    assert [((last - o.issued_on).days, (o.last_target_on - o.issued_on).days) for o in found] == expected
    assert all(o.last_target_on <= last for o in found)


@pytest.mark.parametrize(("days", "period_days", "targets"), [(7, 1, 7), (1, 1, 1), (7, 7, 1), (8, 7, 2)])
def test_the_newest_origin_has_the_last_days_in_whole_periods(days: int, period_days: int, targets: int) -> None:
    last = date(2025, 6, 30)
    found = splits.newest_origin(last, days, period_days=period_days)
    assert found.target_dates == [last - timedelta(days=period_days * back) for back in range(targets)][::-1]


def test_a_weekly_refresh_is_judged_on_whole_weeks() -> None:
    last = date(2025, 6, 30)
    found = splits.refresh_origins(last, last - timedelta(weeks=5), 3, 28, period_days=7)
    assert [o.target_dates for o in found] == [[last - timedelta(weeks=1), last]]
