"""A zone that is none is refused with one that may have been meant."""

import pytest

from platform_assets.science.timezones import known_timezone


@pytest.mark.parametrize("name", ["Europe/London", "UTC", "CET", "America/Argentina/Buenos_Aires"])
def test_a_zone_is_taken_as_it_is(name: str) -> None:
    assert known_timezone(name) == name


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Europe/Londn", "Europe/London"),
        ("berlin", "Europe/Berlin"),
        ("new_york", "America/New_York"),
        ("utc", "UTC"),
        ("Europe", "Europe/"),  # a folder of zones
        ("", "Europe/London or UTC"),
        ("/", "Europe/London or UTC"),
        ("MEZ+1", "such as"),
    ],
)
def test_another_name_is_refused_with_one_that_may_be_meant(name: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"unknown timezone '{name}'; such as".replace("+", "[+]")) as refused:
        known_timezone(name)
    assert meant in str(refused.value)
