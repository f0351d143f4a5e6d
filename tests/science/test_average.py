"""An average of models: a naive mean row by row, files that hold its members whole, and refusals."""

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from platform_assets.errors import ConfigurationError, CorruptModelError, ModelError
from platform_assets.science import formats
from platform_assets.science.average import Average
from platform_assets.science.constant import Constant
from platform_assets.science.tasks import QUANTILES

ROWS = pl.DataFrame({"x": [1.0, 2.0]})


def constants(*answers: dict[str, float]) -> dict[str, Constant]:
    return {f"m{number}": Constant(answer) for number, answer in enumerate(answers)}


def test_it_answers_the_weighted_mean() -> None:
    members = constants({"q500": 0.0, "q990": 8.0}, {"q500": 4.0, "q990": 10.0})
    said = Average(members, {"m0": 0.25, "m1": 0.75}).predict(ROWS)
    assert said.to_dict(as_series=False) == {"q500": [3.0, 3.0], "q990": [9.5, 9.5]}


def test_columns_are_read_by_name() -> None:
    members = constants({"q500": 0.0, "q990": 8.0}, {"q990": 10.0, "q500": 4.0})
    assert Average(members, {"m0": 0.5, "m1": 0.5}).predict(ROWS[:1]).row(0, named=True) == {"q500": 2.0, "q990": 9.0}


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.floats(0, 1e6), min_size=6, max_size=6).map(sorted),
        min_size=1,
        max_size=4,
    ),
    st.data(),
)
def test_quantiles_that_do_not_cross_stay_so(answers: list[list[float]], data: st.DataObject) -> None:
    shares = data.draw(st.lists(st.floats(0.01, 1), min_size=len(answers), max_size=len(answers)))
    members = constants(*(dict(zip(QUANTILES.outputs, answer, strict=True)) for answer in answers))
    weights = {name: share / sum(shares) for name, share in zip(members, shares, strict=True)}
    said = Average(members, weights).predict(ROWS)
    QUANTILES.validate(said, ROWS.height)
    for place, value in enumerate(said.row(0)):
        assert value == pytest.approx(sum(weights[f"m{n}"] * answer[place] for n, answer in enumerate(answers)))


def test_no_rows_give_no_rows() -> None:
    said = Average(constants({"probability": 0.5}), {"m0": 1.0}).predict(ROWS[:0])
    assert said.schema == {"probability": pl.Float64}
    assert said.is_empty()


def test_files_hold_the_members_and_round_trip() -> None:
    nested = Average(constants({"q500": 1.0}, {"q500": 2.0}), {"m0": 0.5, "m1": 0.5})
    model = Average({"one": Constant({"q500": 4.0}), "two": nested}, {"one": 0.1, "two": 0.9})
    files = model.files()
    assert set(files) == {"average.json", "one.constant.json", *(f"two.{name}" for name in nested.files())}
    loaded = formats.load("average/1", files)
    assert_frame_equal(loaded.predict(ROWS), model.predict(ROWS), check_exact=True)
    assert loaded.files() == files


@pytest.mark.parametrize("missing", ["average.json", "m1.constant.json"])
def test_a_missing_file_is_told(missing: str) -> None:
    files = Average(constants({"q500": 1.0}, {"q500": 2.0}), {"m0": 0.5, "m1": 0.5}).files()
    del files[missing]
    with pytest.raises(CorruptModelError):
        formats.load("average/1", files)


def test_a_member_of_an_unknown_format_is_refused() -> None:
    files = Average(constants({"q500": 1.0}), {"m0": 1.0}).files()
    files["average.json"] = json.dumps({"m0": {"format": "pickle", "weight": 1.0}}).encode()
    with pytest.raises(ModelError, match="unknown"):
        formats.load("average/1", files)


@pytest.mark.parametrize(
    "weights", [{}, {"m0": 1.0}, {"m0": 0.5, "m1": 0.6}, {"m0": -0.5, "m1": 1.5}, {"m0": 0.5, "other": 0.5}]
)
def test_weights_that_are_no_shares_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="weights"):
        Average(constants({"q500": 1.0}, {"q500": 2.0}), weights)


@pytest.mark.parametrize("name", ["", "a.b", "../a"])
def test_a_name_that_would_blur_files_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="plain names"):
        Average({name: Constant({"q500": 1.0})}, {name: 1.0})
