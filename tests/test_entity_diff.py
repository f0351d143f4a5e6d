"""What `perennial features diff` asks for where nothing is said."""

from datetime import UTC, date, datetime

import pytest

from platform_assets.entity_diff import first_target


@pytest.mark.parametrize(
    ("ended_at", "timezone", "target"),
    [
        (datetime(2025, 12, 30, 23, tzinfo=UTC), "Europe/Berlin", date(2025, 12, 31)),
        (datetime(2019, 12, 31, 8, tzinfo=UTC), "America/Los_Angeles", date(2019, 12, 31)),  # was a day later
        (datetime(2012, 11, 2, 5, tzinfo=UTC), "America/Chicago", date(2012, 11, 2)),  # a week from Friday on
        (datetime(2025, 1, 1, tzinfo=UTC), "UTC", date(2025, 1, 1)),
    ],
)
def test_the_target_is_the_first_period_that_is_not_known(ended_at: datetime, timezone: str, target: date) -> None:
    assert first_target(ended_at, timezone) == target
