"""The quantile network: learns what is planted, answers the same bytes, never crosses, leaves torch as it was."""

import dataclasses
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platform_assets.errors import ConfigurationError, CorruptModelError, EmptyFrameError, SchemaError
from platform_assets.science import formats, network
from platform_assets.science.constant import Constant
from platform_assets.science.fitting import FitSettings
from platform_assets.science.network_inputs import Encoding
from platform_assets.science.tasks import QUANTILES

FEATURES = ("level", "mean_28", "recent_units", "target_weekday", "is_holiday", "age_days")
SETTINGS = FitSettings(FEATURES, "units", QUANTILES.outputs, QUANTILES.levels, seed=3)


def planted(count: int, seed: int) -> pl.DataFrame:
    """Demand follows the level, doubles on Saturdays, and follows what the last weeks did on top."""
    random = np.random.default_rng(seed)
    level = np.exp(random.normal(0.5, 1.0, count))
    weekday = random.integers(1, 8, count)
    swing = random.uniform(0.3, 3.0, count)
    recent = random.poisson(level[:, None] * swing[:, None], (count, 56)).astype(np.float32)
    units = random.poisson(level * swing * np.where(weekday == 6, 2.0, 1.0)).astype(float)
    return pl.DataFrame(
        {
            "level": level,
            "mean_28": np.where(random.random(count) < 0.1, np.nan, level * random.uniform(0.8, 1.2, count)),
            "recent_units": pl.Series(recent, dtype=pl.Array(pl.Float32, 56)).arr.to_list(),
            "target_weekday": weekday,
            "is_holiday": random.random(count) < 0.05,
            "age_days": random.integers(1, 700, count).astype(float),
            "units": units,
            "rate": level * swing * np.where(weekday == 6, 2.0, 1.0),
        }
    ).with_columns(pl.col("mean_28").fill_nan(None))


TRAINING, LATER = planted(2_500, 0), planted(1_500, 1)


@pytest.fixture(scope="module")
def fitted() -> network.QuantileNetwork:
    return network.fit(TRAINING, SETTINGS)


def loss(model, rows: pl.DataFrame) -> float:
    return float(QUANTILES.loss(rows["units"], model.predict(rows)).mean())  # pyright: ignore[reportArgumentType]


def test_it_learns_what_is_planted(fitted: network.QuantileNetwork):
    """The truth's own quantiles lose about .63 of a constant's loss less; a network without the sequence cannot see swings."""
    constant = loss(Constant.fit(TRAINING, SETTINGS), LATER)
    dense_only = network.fit(
        TRAINING,
        FitSettings(tuple(f for f in FEATURES if f != "recent_units"), "units", QUANTILES.outputs, QUANTILES.levels),
    )
    assert loss(fitted, LATER) < 0.55 * constant
    assert loss(fitted, LATER) < 0.85 * loss(dense_only, LATER)


def test_answers_are_valid_and_quantiles_that_are_zero_are_exactly_zero(fitted: network.QuantileNetwork):
    """A hair above zero would count every period without a sale as below the quantile."""
    answers = fitted.predict(LATER)
    QUANTILES.validate(answers, LATER.height)
    assert (answers["q015"] == 0).mean() > 0.3  # pyright: ignore[reportOperatorIssue]
    assert (answers.filter(LATER["rate"] < 0.6)["q250"] == 0).mean() > 0.9  # pyright: ignore[reportOperatorIssue]


def test_the_same_training_gives_the_same_bytes_and_another_seed_others(fitted: network.QuantileNetwork):
    assert network.fit(TRAINING, SETTINGS).files() == fitted.files()
    few = TRAINING[:300]
    assert (
        network.fit(few, SETTINGS).files()
        != network.fit(few, FitSettings(FEATURES, "units", QUANTILES.outputs, QUANTILES.levels, seed=4)).files()
    )


def test_files_round_trip_to_the_same_bytes_of_predictions(fitted: network.QuantileNetwork):
    loaded = formats.load("quantile-network/1", fitted.files())
    assert loaded.predict(LATER).equals(fitted.predict(LATER))
    assert loaded.files() == fitted.files()


def test_a_row_is_answered_alike_alone_and_among_others(fitted: network.QuantileNetwork):
    together = fitted.predict(LATER[:50])
    alone = pl.concat([fitted.predict(LATER[index]) for index in range(50)])
    assert together.equals(alone)
    assert fitted.predict(LATER.select(reversed(LATER.columns))[:50]).equals(together)  # columns go by name
    assert fitted.predict(LATER[:0]).schema == together.schema


def test_torch_is_left_as_it_was():
    import torch

    torch.set_num_threads(2)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    try:
        network.fit(TRAINING[:100], SETTINGS)
        assert torch.get_num_threads() == 2
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.equal(torch.rand(3), expected)
    finally:
        torch.set_num_threads(1)


def test_the_global_random_state_does_not_count():
    import torch

    torch.manual_seed(1)
    one = network.fit(TRAINING[:100], SETTINGS).files()
    torch.manual_seed(2)
    assert network.fit(TRAINING[:100], SETTINGS).files() == one


cells = st.one_of(st.none(), st.floats(-1e9, 1e9), st.sampled_from([float("nan"), float("inf"), -float("inf"), 0.0]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            cells,
            cells,
            st.one_of(st.none(), st.lists(cells, max_size=60)),
            st.one_of(st.none(), st.integers(-3, 12)),
            st.one_of(st.none(), st.booleans()),
            cells,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_row_gets_valid_quantiles(fitted: network.QuantileNetwork, rows: list[tuple]):
    types = {
        "level": pl.Float64,
        "mean_28": pl.Float64,
        "recent_units": pl.List(pl.Float32),
        "target_weekday": pl.Int64,
        "is_holiday": pl.Boolean,
        "age_days": pl.Float64,
    }
    frame = pl.DataFrame(rows, schema=types, orient="row")
    QUANTILES.validate(fitted.predict(frame), len(rows))


@pytest.mark.parametrize("features", [("age_days",), ("recent_units",), ("level",)])
def test_it_works_with_whatever_features_there_are(features: tuple[str, ...]):
    model = network.fit(TRAINING[:200], FitSettings(features, "units", ("q500", "q990"), (0.5, 0.99)))
    assert loss_of_two(model) < float("inf")


def loss_of_two(model: network.QuantileNetwork) -> float:
    answers = model.predict(LATER)
    assert (answers["q500"] <= answers["q990"]).all()
    return float(answers["q990"].sum())


def test_rows_without_a_label_are_left_out():
    unlabelled = TRAINING[:100].with_columns(units=pl.lit(None, dtype=pl.Float64))
    rows = pl.concat([TRAINING[:200], unlabelled])
    assert network.fit(rows, SETTINGS).files() == network.fit(TRAINING[:200], SETTINGS).files()
    with pytest.raises(EmptyFrameError, match="`units`"):
        network.fit(unlabelled, SETTINGS)


def test_a_source_that_sold_nothing_is_forecast_to_sell_nothing():
    model = network.fit(TRAINING[:200].with_columns(units=pl.lit(0.0)), SETTINGS)
    assert model.predict(LATER).to_numpy().max() < 0.3


def test_progress_is_told():
    lines: list[str] = []
    network.fit(
        TRAINING[:500], FitSettings(FEATURES, "units", QUANTILES.outputs, QUANTILES.levels, progress=lines.append)
    )
    assert lines
    assert "loss" in lines[0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"parameters": {"epoch": 3}}, "unknown parameters epoch.*\n.*known: hidden"),
        ({"parameters": {"rate": -1.0}}, "out of bounds: rate"),
        ({"parameters": {"dropout": 1.0}}, "out of bounds: dropout"),
        ({"outputs": ("probability",), "levels": ()}, "ascending levels"),
        ({"outputs": ("a", "b"), "levels": (0.9, 0.1)}, "ascending levels"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict, expected: str):
    import re

    with pytest.raises(ConfigurationError, match=re.compile(expected, re.DOTALL)):
        network.fit(TRAINING[:50], dataclasses.replace(SETTINGS, **changes))


def test_a_missing_column_is_named(fitted: network.QuantileNetwork):
    with pytest.raises(SchemaError, match="age_days"):
        fitted.predict(LATER.drop("age_days"))
    with pytest.raises(SchemaError, match="label `units`"):
        network.fit(TRAINING.drop("units"), SETTINGS)


@pytest.mark.parametrize("damage", ["no weights", "cut", "other shape", "no JSON", "no key"])
def test_damaged_files_do_not_load(fitted: network.QuantileNetwork, damage: str):
    files = fitted.files()
    config = json.loads(files[network.CONFIG])
    match damage:
        case "no weights":
            del files[network.WEIGHTS]
        case "cut":
            files[network.WEIGHTS] = files[network.WEIGHTS][:1000]
        case "other shape":
            config["recipe"]["hidden"] = 64
            files[network.CONFIG] = json.dumps(config).encode()
        case "no JSON":
            files[network.CONFIG] = b"{"
        case "no key":
            del config["encoding"]
            files[network.CONFIG] = json.dumps(config).encode()
    with pytest.raises(CorruptModelError):
        formats.load("quantile-network/1", files)


def test_the_convolution_is_one():
    """The two layers that read weeks, against torch's own convolutions."""
    import torch

    encoding = Encoding((), "recent_units", 56, None, 1.0, 1.0)
    recipe = network.Recipe(channels=4)
    module = network._network(encoding, recipe, 3)
    recent = torch.rand(5, 56, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first = torch.conv1d(recent[:, None], module.week.weight[:, None], module.week.bias, stride=7)
        first = torch.nn.functional.silu(first)  # (rows, channels, weeks)
        kernel = module.around.weight.unflatten(1, (3, 4)).permute(0, 2, 1)  # (out, in, 3)
        second = torch.nn.functional.silu(torch.conv1d(first, kernel, module.around.bias, padding=1))
        summary = torch.nn.functional.silu(module.summary((first + second).transpose(1, 2).flatten(1)))
        raw = module.eval().head(module.body(summary))
        expected = torch.cat([raw[:, :1], torch.nn.functional.softplus(raw[:, 1:])], 1).cumsum(1)
        torch.testing.assert_close(module(torch.zeros(5, 0), recent), expected)


def test_a_gpu_fits_the_same_kind_of_model(fitted: network.QuantileNetwork):
    if network.available_device() == "cpu":
        pytest.skip("no GPU on this machine")
    on_gpu = network.fit(TRAINING, dataclasses.replace(SETTINGS, device="cuda"))
    assert loss(on_gpu, LATER) == pytest.approx(loss(fitted, LATER), rel=0.05)
