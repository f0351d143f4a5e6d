"""Features judged among their past occasions: against naive loops and scipy, their properties, and their false alarms."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import stats

from platform_assets.errors import EmptyFrameError, SchemaError
from platform_assets.science import distances, feature_drift
from platform_assets.science.sorted_reference import Current, Reference

NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.integers(-3, 3).map(float))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), NUMBERS), min_size=1, max_size=60))
def test_distances_by_occasion_are_those_taken_one_by_one(rows: list) -> None:
    frame = pl.DataFrame(rows, schema={"day": pl.Int64, "x": pl.Float64}, orient="row")
    values = frame["x"].to_numpy() + 0.0
    found = feature_drift._distances(values, frame["day"].to_numpy())
    pooled = Reference.of(frame["x"])
    expected = [
        distances.kolmogorov_smirnov(pooled, Current.of(frame.filter(pl.col("day") == day)["x"], pooled))
        for day in frame["day"].unique().sort()
    ]
    assert found == pytest.approx(expected, abs=1e-12)


def test_every_statistic_of_a_feature_is_the_one_of_scipy() -> None:
    random = np.random.default_rng(7)
    before, now = random.normal(size=3000), 0.1 + random.normal(size=700)
    sold = {"x": before, "kind": random.choice(["tea", "mug", "bag"], 3000)}
    came = {"x": now, "kind": random.choice(["tea", "mug", "lamp"], 700)}
    found = feature_drift.feature_drift(pl.DataFrame(sold), pl.DataFrame(came), ["x", "kind"]).to_dicts()
    ks: Any = stats.ks_2samp(before, now, method="asymp")
    assert (found[0]["statistic"], found[0]["moved"]) == pytest.approx(
        (ks.statistic, stats.wasserstein_distance(before, now)), rel=1e-9
    )
    assert found[0]["p_value"] == pytest.approx(ks.pvalue, rel=0.05)
    kinds = ["bag", "lamp", "mug", "tea"]
    table = [[int((rows["kind"] == kind).sum()) for kind in kinds] for rows in (sold, came)]
    chi: Any = stats.chi2_contingency(table, correction=False)
    assert found[1]["p_value"] == pytest.approx(chi.pvalue, rel=1e-9, abs=1e-300)
    assert found[1]["statistic"] ** 2 * 3000 * 700 / 3700 == pytest.approx(chi.statistic, rel=1e-9)
    assert np.isnan(found[1]["moved"])


def test_several_draws_are_judged_by_the_median_of_their_distances_and_shown_together() -> None:
    random = np.random.default_rng(17)
    shape = {"day": np.repeat(np.arange(20), 80)}
    before = pl.DataFrame({**shape, "x": random.normal(size=1600), "kind": random.choice(["tea", "mug"], 1600)})
    draws = [
        pl.DataFrame({"x": shift + random.normal(size=80), "kind": random.choice(["tea", "mug"], 80)})
        for shift in (0.0, 0.3, 2.0)
    ]
    columns = ["x", "kind"]
    found = feature_drift.feature_drift(before, draws, columns, window="day")
    each = [feature_drift.feature_drift(before, draw, columns, window="day") for draw in draws]
    for name in ("statistic", "p_value"):
        expected = [sorted(one[name][at] for one in each)[1] for at in range(2)]
        assert found[name].to_list() == pytest.approx(expected, rel=1e-12)
    together = feature_drift.feature_drift(before, pl.concat(draws), columns)
    shown = ["feature", "stability_index", "divergence", "moved"]
    assert_frame_equal(found.select(shown), together.select(shown))
    emptied = [draw.with_columns(x=pl.lit(None, dtype=pl.Float64)) for draw in draws[:2]]
    assert np.isnan(feature_drift.feature_drift(before, [*emptied, draws[2]], ["x"], window="day")["p_value"].item())


@pytest.mark.parametrize(("now", "p_value"), [(0.1, 0.13), (0.5, 0.05), (1.0, 0.0)])
def test_nothing_is_rarer_than_it_was_among_past_occasions(now: float, p_value: float) -> None:
    """Of a feature that is nearly always 0 most past distances are equal: what an eighth of them exceed had p 1e-32."""
    past = np.r_[np.full(87, 0.06), np.full(8, 0.1), np.full(5, 0.5)]
    assert feature_drift.unusual(now, past) == pytest.approx(p_value, abs=1e-9)


def test_a_category_whose_share_moves_is_found_among_days_that_differ() -> None:
    """Each day has shares of its own: Pearson's test calls each of them another, the past calls them usual."""
    random = np.random.default_rng(8)

    def day(number: int, share: float) -> pl.DataFrame:
        kinds = random.choice(["tea", "mug", "none"], 200, p=[share, 0.9 - share, 0.1])
        return pl.DataFrame({"day": [number] * 200, "kind": pl.Series(kinds).replace("none", None)})

    reference = pl.concat([day(number, random.uniform(0.4, 0.6)) for number in range(40)])
    for share, has_drifted in ((0.58, False), (0.85, True)):
        today = day(41, share).with_columns(pl.col("kind").cast(pl.Categorical))
        for kept in (reference, reference.with_columns(pl.col("kind").cast(pl.Categorical))):
            found = feature_drift.feature_drift(kept, today, ["kind"], window="day")
            assert found["has_drifted"].item() == has_drifted
        assert feature_drift.feature_drift(reference, today, ["kind"])["p_value"].item() < 0.05


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjusted_p_values_are_scipys(p_values: list[float]) -> None:
    from scipy.stats import false_discovery_control

    found = feature_drift.benjamini_hochberg(np.array(p_values))
    assert found == pytest.approx(false_discovery_control(p_values), abs=1e-12)


def test_an_untested_feature_neither_has_nor_costs_a_p_value() -> None:
    found = feature_drift.benjamini_hochberg(np.array([0.01, np.nan, 0.02]))
    assert found[[0, 2]] == pytest.approx([0.02, 0.02])
    assert np.isnan(found[1])


@pytest.mark.parametrize("side", ["reference", "current"])
def test_no_rows_on_a_side_are_refused(side: str) -> None:
    frames = {name: pl.DataFrame({"x": [1.0, 2.0]}) for name in ("reference", "current")}
    frames[side] = frames[side].clear()
    with pytest.raises(EmptyFrameError, match=f"no {side} rows"):
        feature_drift.feature_drift(frames["reference"], frames["current"], ["x"])


def occasions(random: np.random.Generator, days: int, rows: int, *, shared_sd: float) -> pl.DataFrame:
    """Rows whose values share a daily effect: the dependence that makes plain p-values lie."""
    day = np.repeat(np.arange(days), rows)
    shared = shared_sd * random.normal(size=(days, 3))
    values = random.normal(size=(days * rows, 3)) + shared[day]
    return pl.DataFrame({"day": day, "a": values[:, 0], "b": values[:, 1], "c": values[:, 2]})


def test_a_day_like_the_others_is_no_drift_although_its_rows_resemble_each_other() -> None:
    """With a shared daily effect the asymptotic test calls nearly every day drift; judged among past days, few are."""
    random = np.random.default_rng(2)
    plain = judged = 0
    for _ in range(60):
        reference = occasions(random, 40, 100, shared_sd=0.5)
        today = occasions(random, 1, 100, shared_sd=0.5)
        plain += feature_drift.feature_drift(reference, today, ["a", "b", "c"])["has_drifted"].any()
        judged += feature_drift.feature_drift(reference, today, ["a", "b", "c"], window="day")["has_drifted"].any()
    assert plain > 40
    assert judged <= 4


def test_a_shifted_feature_is_found_among_steady_ones() -> None:
    random = np.random.default_rng(3)
    reference = occasions(random, 60, 100, shared_sd=0.0)
    today = occasions(random, 1, 100, shared_sd=0.0).with_columns(pl.col("b") + 1.0)
    for window in (None, "day"):
        found = feature_drift.feature_drift(reference, today, ["a", "b", "c"], window=window)
        assert found.filter("has_drifted")["feature"].to_list() == ["b"]
        assert found.schema == pl.Schema(feature_drift.DRIFT_SCHEMA)


def test_a_feature_that_did_not_exist_at_first_is_judged_by_the_time_since() -> None:
    """A look-back of a year is null in the first one; counted in, half of all occasions were far from the other half."""
    random = np.random.default_rng(6)
    reference = occasions(random, 80, 100, shared_sd=0.3)
    reference = reference.with_columns(a=pl.when(pl.col("day") >= 40).then("a"))
    today = occasions(random, 1, 100, shared_sd=0.3)
    for shift, has_drifted in ((0.0, False), (3.0, True)):
        found = feature_drift.feature_drift(reference, today.with_columns(pl.col("a") + shift), ["a"], window="day")
        assert found["has_drifted"].item() == has_drifted


@pytest.mark.parametrize("known", [0, 3])
def test_a_feature_that_goes_missing_is_a_fault_and_no_drift(known: int) -> None:
    """Drift asks for a retraining, and a model retrained on a broken feed is broken: `skew` names it instead."""
    random = np.random.default_rng(6)
    reference, today = (occasions(random, days, 100, shared_sd=0.3) for days in (40, 1))
    for nothing in (None, float("nan")):
        gone = today.with_columns(a=pl.when(pl.int_range(pl.len()) < known).then("a").otherwise(nothing))
        found = feature_drift.feature_drift(reference, gone, ["a"], window="day")
        assert np.isnan(found["p_value"].item())
        assert not found["has_drifted"].item()


def test_too_few_occasions_say_nothing() -> None:
    random = np.random.default_rng(4)
    reference = occasions(random, feature_drift.LEAST_WINDOWS - 1, 100, shared_sd=0.0)
    today = occasions(random, 1, 100, shared_sd=0.0).with_columns(pl.col("b") + 9.0)
    found = feature_drift.feature_drift(reference, today, ["a", "b"], window="day")
    assert found["p_value"].is_nan().all()
    assert not found["has_drifted"].any()


def test_the_order_of_rows_and_features_means_nothing() -> None:
    random = np.random.default_rng(5)
    reference, today = occasions(random, 20, 50, shared_sd=0.2), occasions(random, 1, 50, shared_sd=0.2)
    found = feature_drift.feature_drift(reference, today, ["a", "b", "c"], window="day")
    shuffled = feature_drift.feature_drift(
        reference.sample(fraction=1, shuffle=True, seed=1), today.reverse(), ["c", "a", "b"], window="day"
    )
    assert_frame_equal(found, shuffled.sort("feature"))


def test_missing_columns_are_named() -> None:
    frame = pl.DataFrame({"a": [1.0]})
    with pytest.raises(SchemaError, match=r"current rows lack \['b'\]"):
        feature_drift.feature_drift(frame.with_columns(b=pl.lit(1.0)), frame, ["a", "b"])
