"""The platform's now, and the machine's."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from platform_assets.errors import ConfigurationError
from resources.clock import Clock


def test_a_pinned_clock_stands_and_the_wall_clock_goes() -> None:
    pinned = Clock(datetime(2011, 5, 1, 2, tzinfo=timezone(timedelta(hours=2))))
    assert pinned.now() == datetime(2011, 5, 1, tzinfo=UTC)
    assert pinned.now().tzinfo is UTC
    assert pinned.is_pinned
    assert abs(pinned.wall_now() - datetime.now(tz=UTC)) < timedelta(minutes=1)
    wall = Clock()
    assert not wall.is_pinned
    assert wall.now() <= wall.wall_now()


def test_what_is_served_is_judged_at_the_end_of_a_source_that_has_ended() -> None:
    day = [datetime(2026, 5, n, tzinfo=UTC) for n in range(1, 5)]
    assert Clock(day[3]).as_served(day[0], None) == day[3]  # it goes on
    assert Clock(day[3]).as_served(day[0], day[1]) == day[1]
    assert Clock(day[3]).as_served(day[2], day[1]) == day[2]  # a correction that came after its end
    assert Clock(day[0]).as_served(day[1], day[2]) == day[0]  # a now before the end of what is there


def test_a_clock_needs_a_zone() -> None:
    with pytest.raises(ConfigurationError, match="no time zone"):
        Clock(datetime(2011, 5, 1))
