"""A second training is equal only where rows, weights and predictions are; else the gap and its causes are named."""

import dataclasses
from datetime import UTC, datetime

import polars as pl
import pytest

from platform_assets.errors import ModelError
from platform_assets.science.constant import Constant
from platform_assets.science.manifest import Code, Manifest, fit_of
from platform_assets.science.reproduction import reproduction

CUT = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = pl.DataFrame({"x": [1.0, 2.0], "units": [0.0, 4.0]})
MODEL = Constant({"q500": 1.0, "q990": 4.0})
OTHER = Constant({"q500": 1.0, "q990": 3.5})


def manifest(model: Constant = MODEL, rows: pl.DataFrame = ROWS, threads: int = 1) -> Manifest:
    fit = fit_of(model, rows, CUT)
    return Manifest(
        model="demand", format="constant/1", task="quantiles", reason="test", created_at=CUT, tables={}, views={},
        code=Code("1" * 64, "2" * 64, "3" * 64), image="local", platform="test", features=("x",), label="units",
        outputs=("q500", "q990"), levels=(0.5, 0.99), parameters={}, seed=0, threads=threads, device="cpu",
        shipped=fit, evaluation=fit,
    )  # fmt: skip


def test_the_same_is_equal():
    answer = reproduction(manifest(), manifest(), MODEL.predict(ROWS), MODEL.predict(ROWS))
    assert answer.is_equal
    assert answer.largest_difference == 0.0
    assert answer.verdict.startswith("equal")


def test_another_model_differs_by_its_largest_gap_and_names_the_cause():
    answer = reproduction(manifest(), manifest(OTHER, threads=2), MODEL.predict(ROWS), OTHER.predict(ROWS))
    assert not answer.is_equal
    assert answer.are_rows_equal
    assert answer.verdict == "differs: weights; predictions; threads: 1 -> 2; largest difference of a prediction 0.5"


def test_other_rows_differ_even_where_the_model_is_the_same():
    more = pl.concat([ROWS, ROWS])
    answer = reproduction(manifest(), manifest(rows=more), MODEL.predict(ROWS), MODEL.predict(ROWS))
    assert (answer.are_rows_equal, answer.are_weights_equal) == (False, True)
    assert "training rows (2 against 4)" in answer.verdict


def test_frames_of_other_shapes_cannot_be_compared():
    with pytest.raises(ModelError, match="cannot be compared"):
        reproduction(manifest(), manifest(), MODEL.predict(ROWS), MODEL.predict(ROWS[:1]))


def test_a_forged_hash_is_not_equal():
    forged = dataclasses.replace(manifest(OTHER), shipped=manifest().shipped)
    assert not reproduction(manifest(), forged, MODEL.predict(ROWS), OTHER.predict(ROWS)).is_equal
