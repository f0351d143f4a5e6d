"""What a misspelt feature may have meant."""

import pytest

from platform_assets.components.feature_names import closest
from platform_assets.science.demand.columns import ALL


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("levl", "level"),
        ("mean_82", "mean_182"),
        ("promotion_announced", "is_planned_promotion"),  # by the words of its meaning
        ("cheapest_price", "last_price"),
    ],
)
def test_the_closest_by_name_or_by_meaning(wanted: str, found: str) -> None:
    assert found in closest(wanted, ALL)
    assert len(closest(wanted, ALL)) <= 4


def test_nothing_is_like_a_word_that_no_feature_has() -> None:
    assert closest("zzzz_qqqq", ALL) == []
