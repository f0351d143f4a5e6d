"""Calls two at a time: their results in order, and the first failure ends what has not begun."""

import threading

import pytest

from platform_assets.science.side_by_side import AT_ONCE, side_by_side


def test_results_come_in_the_order_of_the_items() -> None:
    is_second_done = threading.Event()

    def call(item: int) -> int:
        if item == 0:
            assert is_second_done.wait(10)  # which a single worker would never reach
        else:
            is_second_done.set()
        return item * item

    assert list(side_by_side(call, range(5))) == [0, 1, 4, 9, 16]
    assert list(side_by_side(call, [])) == []


def test_a_failure_is_raised_and_what_has_not_begun_is_left() -> None:
    begun = list[int]()

    def call(item: int) -> int:
        begun.append(item)
        if item == 0:
            raise ValueError("no first one")
        threading.Event().wait(0.2)
        return item

    with pytest.raises(ValueError, match="no first one"):
        list(side_by_side(call, range(50)))
    assert len(begun) <= 2 * AT_ONCE
