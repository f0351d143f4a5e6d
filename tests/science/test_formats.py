"""Formats: what is named loads, what is not or is torn does not."""

import importlib

import polars as pl
import pytest

from platform_assets.errors import CorruptModelError, EmptyFrameError, ModelError
from platform_assets.science import formats
from platform_assets.science.constant import Constant
from platform_assets.science.fitting import FitSettings

ROWS = pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "units": [0.0, 0.0, 4.0, None]})
QUANTILES = FitSettings(features=("x",), label="units", outputs=("q500", "q990"), levels=(0.5, 0.99))


def test_a_constant_answers_the_labels_quantiles():
    model = Constant.fit(ROWS, QUANTILES)
    assert model.predict(ROWS[:2]).to_dict(as_series=False) == {"q500": [0.0, 0.0], "q990": [4.0, 4.0]}


def test_a_constant_answers_the_mean_where_there_are_no_levels():
    model = Constant.fit(pl.DataFrame({"y": [1.0, 0.0, 0.0, 1.0]}), FitSettings((), "y", ("probability",)))
    assert model.predict(ROWS[:1]).to_dict(as_series=False) == {"probability": [0.5]}


def test_a_constant_needs_labels():
    with pytest.raises(EmptyFrameError, match="`units`"):
        Constant.fit(ROWS[3:], QUANTILES)


def test_files_round_trip():
    model = Constant.fit(ROWS, QUANTILES)
    loaded = formats.load("constant/1", model.files())
    assert loaded.predict(ROWS).equals(model.predict(ROWS))
    assert loaded.files() == model.files()


@pytest.mark.parametrize("format", ["pickle", "", "lightgbm-quantiles/2", "os.system"])
def test_an_unknown_format_is_refused(format: str):
    with pytest.raises(ModelError, match="unknown; known: constant/1"):
        formats.load(format, {})


@pytest.mark.parametrize(
    "files", [{}, {"constant.json": b"{"}, {"constant.json": b"[1]"}, {"constant.json": b'{"a": null}'}]
)
def test_files_of_another_shape_are_corrupt(files: dict[str, bytes]):
    with pytest.raises((CorruptModelError, ModelError)):
        formats.load("constant/1", files)


def test_weights_hash_leaves_lightgbms_parameters_out():
    one, four = (
        b"tree\nversion=v4\n\nTree=0\nleaf_value=1 2\n\nend of trees\n\nparameters:\n[num_threads: %d]\nend of parameters\n\npandas_categorical:null\n"
        % count
        for count in (1, 4)
    )
    assert formats.weights_hash({"q": one}) == formats.weights_hash({"q": four})
    assert formats.weights_hash({"q": one}) != formats.weights_hash({"q": one.replace(b"1 2", b"1 3")})
    assert formats.weights_hash({"q": b"x" + one}) != formats.weights_hash({"q": b"x" + four})  # only LightGBM's text


def test_every_named_format_has_its_class():
    """A manifest that names a format must find a class that says the same name."""
    for format, (module, name) in formats._HOMES.items():
        assert getattr(importlib.import_module(module), name).format == format
