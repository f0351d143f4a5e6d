"""How much forecasts change between versions."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.errors import SchemaError
from platform_assets.science.stability import multi_quantile_change, usual_moves


def said(seed: int, rows: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    return draws.gamma(2, 3, (rows, 6)), draws.gamma(2, 3, (rows, 6)), draws.gamma(2, 1, rows) + 0.1


def test_the_change_is_a_naive_loop_over_rows_and_quantiles() -> None:
    before, after, scale = said(0)
    moved = [abs(a - b) / s for x, y, s in zip(before, after, scale, strict=True) for b, a in zip(x, y, strict=True)]
    assert multi_quantile_change(before, after, scale) == pytest.approx(sum(moved) / len(moved))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_the_change_is_a_distance_and_knows_no_unit(seed: int, unit: float) -> None:
    before, after, scale = said(seed)
    third = said(seed + 1)[0]
    found = multi_quantile_change(before, after, scale)
    assert multi_quantile_change(before, before, scale) == 0
    assert multi_quantile_change(after, before, scale) == pytest.approx(found)
    assert multi_quantile_change(before * unit, after * unit, scale * unit) == pytest.approx(found)
    by_way = multi_quantile_change(before, third, scale) + multi_quantile_change(third, after, scale)
    assert found <= by_way + 1e-9


def test_rows_of_several_lengths_are_refused_and_none_say_nothing() -> None:
    before, after, scale = said(0)
    with pytest.raises(SchemaError, match="expected the same rows"):
        multi_quantile_change(before, after[1:], scale)
    assert np.isnan(multi_quantile_change(before[:0], after[:0], scale[:0]))


def test_a_usual_move_is_the_mean_difference_of_successive_periods() -> None:
    sold = {"a": [1.0, 4.0, 2.0], "b": [3.0, 3.0, 3.0], "c": [0.0, 0.0, 0.0], "d": [5.0]}
    sales = pl.DataFrame(
        [
            (name, date(2025, 1, 1) + timedelta(days=day), units)
            for name, all_ in sold.items()
            for day, units in enumerate(all_)
        ],
        schema={"series_id": pl.String, "period_on": pl.Date, "units": pl.Float64},
        orient="row",
    )
    found = dict(usual_moves(sales.sample(fraction=1, shuffle=True, seed=1)).iter_rows())
    # b never moved: a hundredth of its mean; c sold nothing: the mean of the others; d is no move either.
    assert found == pytest.approx({"a": 2.5, "b": 0.03, "d": 0.05, "c": (2.5 + 0.03 + 0.05) / 3})
