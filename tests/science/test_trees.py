"""Boosted trees as fitted models: exact files, no aborts, no crossing, and better than a constant."""

import json
from dataclasses import replace
from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.defs.models.demand import train as demand
from platform_assets.defs.models.dormant import train as dormant
from platform_assets.errors import ConfigurationError, CorruptModelError, EmptyFrameError, SchemaError
from platform_assets.science import formats
from platform_assets.science.constant import Constant
from platform_assets.science.fitting import FitSettings
from platform_assets.science.trees import TreeQuantiles

FEATURES = ("mean_28", "signal", "is_holiday", "target_weekday", "level")
LEVELS = (0.015, 0.25, 0.5, 0.75, 0.95, 0.99)
OUTPUTS = ("q015", "q250", "q500", "q750", "q950", "q990")


def planted(rows: int = 2000, seed: int = 0) -> pl.DataFrame:
    """Demand of series of all sizes that doubles with `signal` and on holidays."""
    rng = np.random.default_rng(seed)
    level = rng.lognormal(0, 1.5, rows)
    signal, is_holiday = rng.random(rows), rng.random(rows) < 0.2
    units = rng.poisson(level * (1 + signal) * (1 + is_holiday) * 3).astype(float)
    return pl.DataFrame(
        {
            "series_id": [f"s{n % 40}" for n in range(rows)],
            "level": level,
            "mean_28": np.where(rng.random(rows) < 0.1, np.nan, level * rng.uniform(0.8, 1.2, rows)),
            "signal": signal,
            "is_holiday": is_holiday,
            "target_weekday": rng.integers(1, 8, rows),
            "units": units,
            "is_dormant": (rng.random(rows) < 0.1 + 0.8 * signal).astype(float),
        }
    ).with_columns(pl.col("mean_28").fill_nan(None))


def quantile_settings(threads: int = 1, **parameters: Any) -> FitSettings:
    small = {"rounds": 25, "first_rounds": 10, "bins": 31}
    return FitSettings(FEATURES, "units", OUTPUTS, LEVELS, small | parameters, threads=threads)


def probability_settings(**parameters: Any) -> FitSettings:
    return FitSettings(
        FEATURES, "is_dormant", ("probability",), (), {"rounds": 60, "learning_rate": 0.15, "bins": 31} | parameters
    )


@pytest.fixture(scope="module")
def model() -> TreeQuantiles:
    return demand.fit_trees(planted(), quantile_settings())


def test_going_on_keeps_the_trees_and_adds_further_ones_from_what_they_leave() -> None:
    before = demand.fit_trees(planted(), quantile_settings(power=1.0))
    changed = planted(seed=5).with_columns(pl.col("units") * 3)
    settings = quantile_settings(power=1.0, further_rounds=9)
    after = demand.fit_trees(changed, replace(settings, start=before))
    again = demand.fit_trees(changed, replace(settings, start=before, threads=2))
    assert after.files() == again.files()
    for output in OUTPUTS:
        old, new = (lgb.Booster(model_str=one.text(output)) for one in (before, after))
        assert (old.num_trees(), new.num_trees()) == (25, 34)
        matrix = np.random.default_rng(0).normal(size=(50, old.num_feature()))
        np.testing.assert_allclose(new.predict(matrix, num_iteration=25), old.predict(matrix), rtol=1e-9)
    assert pinball(changed, after.predict(changed)) < 0.8 * pinball(changed, before.predict(changed))
    loaded = formats.load(after.format, after.files())
    assert_frame_equal(loaded.predict(changed), after.predict(changed), check_exact=True)


def test_it_goes_on_only_from_trees_of_its_own_design() -> None:
    before = demand.fit_trees(planted(), quantile_settings())
    for other in (
        replace(quantile_settings(), features=FEATURES[:4], start=before),
        replace(quantile_settings(power=1.0), start=before),
        replace(quantile_settings(), outputs=OUTPUTS[:5], levels=LEVELS[:5], start=before),
        replace(quantile_settings(), start=Constant(dict.fromkeys(OUTPUTS, 1.0))),
    ):
        with pytest.raises(ConfigurationError, match="of another kind, or reads or answers other columns"):
            demand.fit_trees(planted(), other)


def pinball(rows: pl.DataFrame, predictions: pl.DataFrame) -> float:
    label = rows["units"].to_numpy()
    return float(
        sum(
            np.mean(np.maximum(a * (label - q), (a - 1) * (label - q)))
            for a, q in zip(LEVELS, predictions.to_numpy().T, strict=True)
        )
    )


def test_planted_signal_beats_a_constant_by_far(model: TreeQuantiles) -> None:
    unseen = planted(seed=1)
    constant = Constant.fit(planted(), quantile_settings())
    assert pinball(unseen, model.predict(unseen)) < 0.5 * pinball(unseen, constant.predict(unseen))


def test_probability_finds_the_signal() -> None:
    unseen = planted(seed=1)
    model = dormant.fit(planted(), probability_settings())
    answers = model.predict(unseen)
    assert answers.schema == {"probability": pl.Float64}
    assert answers["probability"].is_between(0, 1, closed="none").all()
    low = answers.filter(unseen["signal"] < 0.2)["probability"].mean()
    high = answers.filter(unseen["signal"] > 0.8)["probability"].mean()
    assert (low, high) == (pytest.approx(0.18, abs=0.1), pytest.approx(0.82, abs=0.1))


def test_quantiles_never_cross_and_are_never_negative_or_null(model: TreeQuantiles) -> None:
    answers = model.predict(planted(seed=2))
    assert answers.columns == list(OUTPUTS)
    assert answers.null_count().sum_horizontal().item() == 0
    matrix = answers.to_numpy()
    assert np.isfinite(matrix).all()
    assert (np.diff(matrix, axis=1) >= 0).all()
    assert (matrix >= 0).all()


def test_demand_is_measured_by_the_level(model: TreeQuantiles) -> None:
    """A series eight times the size has eight times the quantiles; fitted on one level, no tree can split on it."""
    rows = planted(300, seed=3)
    settings = FitSettings(FEATURES, "units", OUTPUTS, LEVELS, {"rounds": 25, "first_rounds": 10, "bins": 31})
    trees = demand.fit_trees(planted().with_columns(level=pl.lit(2.0)), settings)
    large = rows.with_columns(pl.col("level") * 8.0, pl.col("mean_28") * 8.0)
    np.testing.assert_allclose(trees.predict(large).to_numpy(), 8.0 * trees.predict(rows).to_numpy(), rtol=1e-9)


def test_same_rows_same_bytes_whatever_the_threads(model: TreeQuantiles) -> None:
    again = demand.fit_trees(planted(), quantile_settings(threads=2))
    assert again.files() == model.files()
    assert again.predict(planted(seed=4)).equals(model.predict(planted(seed=4)))


def test_the_seed_matters() -> None:
    settings = quantile_settings()
    other = FitSettings(**(vars(settings) | {"seed": 1}))
    assert demand.fit_trees(planted(), other).files() != demand.fit_trees(planted(), settings).files()


@pytest.mark.parametrize("kind", ["quantiles", "probability"])
def test_files_are_text_and_round_trip(kind: str, model: TreeQuantiles) -> None:
    fitted = model if kind == "quantiles" else dormant.fit(planted(), probability_settings())
    files = fitted.files()
    assert all(content.decode().isprintable() or "\n" in content.decode() for content in files.values())
    assert not any(b"num_threads" in content or b"/" in content for content in files.values())
    loaded = formats.load(fitted.format, files)
    assert loaded.files() == files
    assert loaded.predict(planted(seed=5)).equals(fitted.predict(planted(seed=5)))


def test_columns_are_read_by_name_not_by_place(model: TreeQuantiles) -> None:
    """LightGBM reads polars columns by position and is silently wrong when they are reordered."""
    rows = planted(seed=6)
    shuffled = rows.select("target_weekday", "units", "level", "is_holiday", "series_id", "signal", "mean_28")
    assert model.predict(shuffled).equals(model.predict(rows))


@pytest.mark.parametrize(
    "wrong",
    [
        pl.lit("a").alias("signal"),
        pl.lit("a").cast(pl.Categorical).alias("signal"),
        pl.lit(0).cast(pl.Datetime("us")).alias("signal"),
        pl.concat_list("signal").alias("signal"),
    ],
)
def test_columns_that_would_abort_the_process_are_refused(model: TreeQuantiles, wrong: pl.Expr) -> None:
    with pytest.raises(SchemaError, match="signal is"):
        model.predict(planted(20).with_columns(wrong))


def test_missing_columns_are_named(model: TreeQuantiles) -> None:
    with pytest.raises(SchemaError, match="signal"):
        model.predict(planted(20).drop("signal"))
    with pytest.raises(SchemaError, match="level"):
        model.predict(planted(20).drop("level"))


def test_integers_for_floats_and_nulls_for_all_are_fine(model: TreeQuantiles) -> None:
    rows = planted(20).with_columns(pl.lit(1).alias("signal"), pl.lit(None, dtype=pl.Float64).alias("mean_28"))
    assert model.predict(rows).null_count().sum_horizontal().item() == 0


def test_no_rows_give_no_rows(model: TreeQuantiles) -> None:
    assert model.predict(planted(20).clear()).shape == (0, 6)


@pytest.mark.parametrize("damage", [lambda text: text[: len(text) // 2], lambda text: b"", lambda text: b"junk" + text])
def test_damaged_text_is_refused_before_lightgbm_sees_it(model: TreeQuantiles, damage: Any) -> None:
    files = model.files()
    with pytest.raises(CorruptModelError, match="q500"):
        formats.load(model.format, files | {"q500.txt": damage(files["q500.txt"])})


def test_a_tiny_frame_trains() -> None:
    assert demand.fit_trees(planted(8), quantile_settings()).predict(planted(3)).shape == (3, 6)
    assert dormant.fit(planted(8), probability_settings()).predict(planted(3)).shape == (3, 1)


def test_a_label_of_one_value_trains() -> None:
    rows = planted(200).with_columns(units=pl.lit(0.0), is_dormant=pl.lit(1.0))
    assert demand.fit_trees(rows, quantile_settings()).predict(rows).to_numpy().max() == 0.0
    assert dormant.fit(rows, probability_settings()).predict(rows)["probability"].min() > 0.9


def test_rows_without_a_label_do_not_count() -> None:
    rows = planted(600)
    holes = pl.concat([rows, planted(200, seed=9).with_columns(units=pl.lit(None, dtype=pl.Float64))])
    assert demand.fit_trees(holes, quantile_settings()).files() == demand.fit_trees(rows, quantile_settings()).files()
    with pytest.raises(EmptyFrameError, match="units"):
        demand.fit_trees(rows.with_columns(units=pl.lit(None, dtype=pl.Float64)), quantile_settings())


def test_a_misspelt_parameter_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"learning_rat are unknown; known: .*learning_rate"):
        demand.fit_trees(planted(50), quantile_settings(learning_rat=0.1))


def test_gains_name_the_feature_that_matters() -> None:
    model = dormant.fit(planted(), probability_settings())
    gains = model.gains()
    assert next(iter(gains)) == "signal"
    assert sum(gains.values()) == pytest.approx(1)


def test_progress_names_every_output() -> None:
    lines: list[str] = []
    settings = FitSettings(**(vars(quantile_settings(rounds=2)) | {"progress": lines.append}))
    demand.fit_trees(planted(200), settings)
    assert [line.split(":")[0] for line in lines] == ["expected_root", "sale", *OUTPUTS]


def test_a_version_without_foundations_still_loads() -> None:
    """Versions that were written before trees could stand on others have no such key; they answer as they did."""
    trees = dormant.fit(planted(), probability_settings())
    files = trees.files()
    meta = json.loads(files["model.json"])
    del meta["foundations"]
    old = formats.load(trees.format, {**files, "model.json": json.dumps(meta).encode()})
    assert_frame_equal(old.predict(planted(seed=4)), trees.predict(planted(seed=4)), check_exact=True)
