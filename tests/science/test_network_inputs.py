"""What a network reads, against a naive loop over rows."""

import math

import numpy as np
import polars as pl
import pytest

from platform_assets.errors import SchemaError
from platform_assets.science.network_inputs import LARGEST, Encoding

ROWS = pl.DataFrame(
    {
        "level": [2.0, 0.5, None, 4.0],
        "mean_28": [4.0, 0.0, 1.0, None],  # in units: read over the level
        "age_days": [10.0, 20.0, 30.0, 500.0],  # not in units
        "never_known": pl.Series([None] * 4, dtype=pl.Float64),
        "always_one": [1, 1, 1, 1],
        "is_holiday": [True, False, None, True],
        "target_weekday": [1, 7, None, 3],
        "recent_units": pl.Series([[1.0, 2.0], [], None, [float(n) for n in range(9)]], dtype=pl.List(pl.Float32)),
        "units": [1.0, 0.0, 2.0, 3.0],
    }
)
FEATURES = tuple(name for name in ROWS.columns if name != "units")
ENCODING = Encoding.learn(ROWS, FEATURES, "units")
SCALES = [2.0, 0.5, 2.0, 4.0]  # a null level is the training rows' median


def naive(name: str, in_units: bool) -> list[float | None]:
    values = [
        None if value is None else float(value) / (scale if in_units else 1.0)
        for value, scale in zip(ROWS[name], SCALES, strict=True)
    ]
    logs = [None if value is None else math.copysign(math.log1p(abs(value)), value) for value in values]
    known = [value for value in logs if value is not None]
    mean = sum(known) / len(known)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in known) / len(known))
    return [0.0 if value is None else (value - mean) / deviation for value in logs]


def test_scales_are_the_level_and_never_smaller_than_in_training():
    assert ENCODING.scales(ROWS).tolist() == SCALES
    others = ROWS[:1].with_columns(level=pl.Series([1e-9]))
    assert ENCODING.scales(others).tolist() == [0.5]
    assert ENCODING.scales(others.with_columns(level=pl.lit(float("inf")))).tolist() == [2.0]


@pytest.mark.parametrize(
    ("place", "name", "in_units"),
    [(0, "level", False), (2, "mean_28", True), (4, "age_days", False), (7, "is_holiday", False)],
)
def test_numbers_equal_the_naive_loop(place: int, name: str, in_units: bool):
    dense = ENCODING.dense(ROWS, np.array(SCALES))
    np.testing.assert_allclose(dense[:, place], naive(name, in_units), rtol=1e-5)


def test_nulls_are_marked_where_training_had_them():
    dense = ENCODING.dense(ROWS, np.array(SCALES))
    assert dense[:, 1].tolist() == [0, 0, 1, 0]  # level
    assert dense[:, 3].tolist() == [0, 0, 0, 1]  # mean_28
    assert [one.has_nulls for one in ENCODING.inputs] == [True, True, False, False, False, True, False]


def test_what_never_varied_says_nothing_later_either():
    later = ROWS.with_columns(never_known=pl.lit(5.0), always_one=pl.lit(1_000))
    np.testing.assert_array_equal(ENCODING.dense(later, np.array(SCALES)), ENCODING.dense(ROWS, np.array(SCALES)))


def test_a_weekday_is_one_of_seven_columns_and_none_where_it_is_null():
    assert ENCODING.width == 9 + 7
    assert ENCODING.dense(ROWS, np.array(SCALES))[:, -7:].tolist() == [
        [1, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0, 0],
    ]


def test_recent_units_are_right_aligned_whole_weeks():
    recent = ENCODING.recent(ROWS, np.array(SCALES))
    assert recent.shape == (4, 14)  # nine periods are two weeks
    np.testing.assert_allclose(recent[0], [0] * 12 + [math.log1p(0.5), math.log1p(1.0)], rtol=1e-6)
    assert not recent[1].any()
    assert not recent[2].any()
    np.testing.assert_allclose(recent[3], [0] * 5 + [math.log1p(n / 4) for n in range(9)], rtol=1e-6)


def test_a_longer_list_than_in_training_keeps_its_newest_periods():
    later = ROWS[:1].with_columns(recent_units=pl.Series([[float(n) for n in range(30)]], dtype=pl.List(pl.Float32)))
    recent = ENCODING.recent(later, np.array([1.0]))
    np.testing.assert_allclose(np.expm1(recent[0]), range(16, 30), rtol=1e-5)


def test_values_beyond_all_training_are_cut_and_those_that_are_no_numbers_are_nulls():
    wild = ROWS.with_columns(age_days=pl.Series([1e300, float("inf"), float("nan"), -1e9]))
    assert ENCODING.dense(wild, np.array(SCALES))[:, 4].tolist() == [LARGEST, 0, 0, -LARGEST]


def test_an_encoding_round_trips():
    assert Encoding.from_json(ENCODING.to_json()) == ENCODING


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (ROWS.drop("age_days"), "features missing: age_days"),
        (ROWS.with_columns(age_days=pl.lit("a")), r"age_days \(String\)"),
        (ROWS.with_columns(second=pl.col("recent_units")), "reads one list feature; found recent_units, second"),
    ],
)
def test_what_a_network_cannot_read_is_named(rows: pl.DataFrame, expected: str):
    features = (*FEATURES, "second") if "second" in rows.columns else FEATURES
    with pytest.raises(SchemaError, match=expected):
        Encoding.learn(rows, features, "units")
