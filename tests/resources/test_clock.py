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


def test_a_clock_needs_a_zone() -> None:
    with pytest.raises(ConfigurationError, match="no time zone"):
        Clock(datetime(2011, 5, 1))
