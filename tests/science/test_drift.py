"""Drift statistics against scipy and naive loops, their properties, and their false alarms."""

import warnings
from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from platform_assets.errors import EmptyFrameError, SchemaError
from platform_assets.science import distances, drift

NUMBERS = st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-3, 3).map(float))
SAMPLES = st.lists(NUMBERS, min_size=1, max_size=40)


def floats(values: Sequence[float | None]) -> pl.Series:
    return pl.Series("x", values, dtype=pl.Float64)


def naive_psi(expected: Sequence[float | None], observed: Sequence[float | None], bins: int) -> float:
    """Counts bin by bin, nulls in a bin of their own."""
    known = sorted(v for v in expected if v is not None)
    edges = sorted(set(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]))) if known else []

    def share(values: Sequence[float | None], number: int) -> float:
        low = edges[number - 1] if number else -np.inf
        high = edges[number] if number < len(edges) else np.inf
        return max(sum(v is not None and low < v <= high for v in values) / len(values), distances.EMPTY_SHARE)

    def null_share(values: Sequence[float | None]) -> float:
        return max(sum(v is None for v in values) / len(values), distances.EMPTY_SHARE)

    pairs = [(share(expected, n), share(observed, n)) for n in range(len(edges) + 1)]
    pairs.append((null_share(expected), null_share(observed)))
    return sum((after - before) * np.log(after / before) for before, after in pairs)


@settings(max_examples=100, deadline=None)
@given(SAMPLES, SAMPLES, st.integers(2, 12))
def test_stability_index_is_what_a_naive_loop_gives(expected: list, observed: list, bins: int) -> None:
    found = drift.population_stability(floats(expected), floats(observed), bins=bins)
    assert found == pytest.approx(naive_psi(expected, observed, bins), abs=1e-9)
    assert found >= 0


@settings(max_examples=50, deadline=None)
@given(SAMPLES, st.randoms(), st.integers(1, 3))
def test_equal_distributions_have_index_and_distance_zero(values: list, random: object, copies: int) -> None:
    again = values * copies
    random.shuffle(again)  # pyright: ignore[reportAttributeAccessIssue]
    assert drift.population_stability(floats(values), floats(again)) == pytest.approx(0, abs=1e-12)
    assert drift.kolmogorov_smirnov(floats(values), floats(again)) == pytest.approx(0, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(SAMPLES, SAMPLES)
def test_distance_is_scipys_with_nulls_below_all(first: list, second: list) -> None:
    from scipy.stats import ks_2samp

    low, other = ([-1e9 if value is None else value for value in values] for values in (first, second))
    found = drift.kolmogorov_smirnov(floats(first), floats(second))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its p-value, for tiny samples
        expected = ks_2samp(low, other, method="asymp").statistic  # pyright: ignore[reportAttributeAccessIssue]
    assert found == pytest.approx(expected, abs=1e-12)
    assert found == pytest.approx(drift.kolmogorov_smirnov(floats(second), floats(first)), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), NUMBERS), min_size=1, max_size=60))
def test_distances_by_occasion_are_those_taken_one_by_one(rows: list) -> None:
    frame = pl.DataFrame(rows, schema={"day": pl.Int64, "x": pl.Float64}, orient="row")
    pooled = np.sort(drift._filled(frame["x"]))
    found = drift._distances(pooled, drift._filled(frame["x"]), frame["day"].to_numpy())
    expected = [
        drift.kolmogorov_smirnov(frame["x"], frame.filter(pl.col("day") == day)["x"])
        for day in frame["day"].unique().sort()
    ]
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("empty_side", [0, 1])
def test_an_empty_sample_is_refused(empty_side: int) -> None:
    sides = [floats([1.0]), floats([1.0])]
    sides[empty_side] = floats([])
    with pytest.raises(EmptyFrameError, match="`x`"):
        drift.population_stability(*sides)
    with pytest.raises(EmptyFrameError, match="`x`"):
        drift.kolmogorov_smirnov(*sides)


@pytest.mark.parametrize(("rows", "others"), [(2000, 500), (400, 4000)])
def test_the_calibrated_threshold_is_exceeded_as_often_as_it_says(rows: int, others: int) -> None:
    """PSI > .1 or .2 means nothing without the sample sizes: for 100 rows half of all nulls exceed .1."""
    random = np.random.default_rng(1)
    limit = drift.stability_threshold(rows, others, alpha=0.1)
    trials = 300
    indices = [
        drift.population_stability(floats(random.normal(size=rows)), floats(random.normal(size=others)))  # pyright: ignore
        for _ in range(trials)
    ]
    exceeded = np.mean(np.array(indices) > limit)
    assert 0.1 - 4 * np.sqrt(0.09 / trials) < exceeded < 0.1 + 4 * np.sqrt(0.09 / trials)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjusted_p_values_are_scipys(p_values: list[float]) -> None:
    from scipy.stats import false_discovery_control

    found = drift.benjamini_hochberg(np.array(p_values))
    assert found == pytest.approx(false_discovery_control(p_values), abs=1e-12)


def test_an_untested_feature_neither_has_nor_costs_a_p_value() -> None:
    found = drift.benjamini_hochberg(np.array([0.01, np.nan, 0.02]))
    assert found[[0, 2]] == pytest.approx([0.02, 0.02])
    assert np.isnan(found[1])


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
        plain += drift.feature_drift(reference, today, ["a", "b", "c"])["has_drifted"].any()
        judged += drift.feature_drift(reference, today, ["a", "b", "c"], window="day")["has_drifted"].any()
    assert plain > 40
    assert judged <= 4


def test_a_shifted_feature_is_found_among_steady_ones() -> None:
    random = np.random.default_rng(3)
    reference = occasions(random, 60, 100, shared_sd=0.1)
    today = occasions(random, 1, 100, shared_sd=0.1).with_columns(pl.col("b") + 1.0)
    for window in (None, "day"):
        found = drift.feature_drift(reference, today, ["a", "b", "c"], window=window)
        assert found.filter("has_drifted")["feature"].to_list() == ["b"]
        assert found.schema == pl.Schema(drift.DRIFT_SCHEMA)


def test_a_feature_that_did_not_exist_at_first_is_judged_by_the_time_since() -> None:
    """A look-back of a year is null in the first one; counted in, half of all occasions were far from the other half."""
    random = np.random.default_rng(6)
    reference = occasions(random, 80, 100, shared_sd=0.3)
    reference = reference.with_columns(a=pl.when(pl.col("day") >= 40).then("a"))
    today = occasions(random, 1, 100, shared_sd=0.3)
    for shift, has_drifted in ((0.0, False), (3.0, True)):
        found = drift.feature_drift(reference, today.with_columns(pl.col("a") + shift), ["a"], window="day")
        assert found["has_drifted"].item() == has_drifted
    gone = drift.feature_drift(reference, today.with_columns(a=pl.lit(None, dtype=pl.Float64)), ["a"], window="day")
    assert gone["has_drifted"].item()


def test_too_few_occasions_say_nothing() -> None:
    random = np.random.default_rng(4)
    reference = occasions(random, drift.LEAST_WINDOWS - 1, 100, shared_sd=0.0)
    today = occasions(random, 1, 100, shared_sd=0.0).with_columns(pl.col("b") + 9.0)
    found = drift.feature_drift(reference, today, ["a", "b"], window="day")
    assert found["p_value"].is_nan().all()
    assert not found["has_drifted"].any()


def test_the_order_of_rows_and_features_means_nothing() -> None:
    random = np.random.default_rng(5)
    reference, today = occasions(random, 20, 50, shared_sd=0.2), occasions(random, 1, 50, shared_sd=0.2)
    found = drift.feature_drift(reference, today, ["a", "b", "c"], window="day")
    shuffled = drift.feature_drift(
        reference.sample(fraction=1, shuffle=True, seed=1), today.reverse(), ["c", "a", "b"], window="day"
    )
    assert_frame_equal(found, shuffled.sort("feature"))


def test_missing_columns_are_named() -> None:
    frame = pl.DataFrame({"a": [1.0]})
    with pytest.raises(SchemaError, match=r"current rows lack \['b'\]"):
        drift.feature_drift(frame.with_columns(b=pl.lit(1.0)), frame, ["a", "b"])


# --- errors --------------------------------------------------------------------------------------------------------

FIRST = date(2025, 1, 1)


def losses(ratios: Sequence[float], *, baseline: float = 100.0) -> pl.DataFrame:
    days = [FIRST + timedelta(days=number) for number in range(len(ratios))]
    return pl.DataFrame({"day": days, "loss": [baseline * r for r in ratios], "baseline_loss": [baseline] * len(days)})


def test_a_loss_that_rises_with_the_baselines_is_no_drift() -> None:
    """Christmas costs every forecast more: only the loss over a baseline's says something about the model."""
    usual = losses([0.9] * 84)
    harder = losses([0.9] * 40, baseline=500.0).with_columns(pl.col("day") + pl.duration(days=84))
    found = drift.error_drift(pl.concat([usual, harder]), reference_until=FIRST + timedelta(days=83))
    assert found.is_judged
    assert not found.has_drifted
    assert found.relative == pytest.approx(0.9)


def test_a_loss_that_rises_alone_is_drift_from_the_first_alarming_window_on() -> None:
    ratios = [0.9] * 84 + [0.9] * 30 + [1.3] * 30
    found = drift.error_drift(losses(ratios), reference_until=FIRST + timedelta(days=83))
    assert found.has_drifted
    assert found.relative == pytest.approx(1.3)
    # The 28-day mean passes .9 x exp(5 x .02) = .995 on the 7th bad day: (21 x .9 + 7 x 1.3) / 28 = 1.0.
    assert found.onset_on == FIRST + timedelta(days=84 + 30 + 6)


def test_weekly_periods_and_closed_days_are_windows_of_as_many_days() -> None:
    """Counted in rows, 28 days of a weekly source would be 28 weeks."""
    for step in (1, 7):
        rows = losses([0.9] * 120 + [1.3] * 60).gather_every(step).filter(pl.col("day").dt.weekday() != 6)
        found = drift.error_drift(rows, reference_until=FIRST + timedelta(days=100))
        assert found.has_drifted
        assert found.relative == pytest.approx(1.3)


@pytest.mark.parametrize(("reference", "since"), [(30, 40), (84, 27)])
def test_too_short_a_reference_or_present_is_not_judged(reference: int, since: int) -> None:
    found = drift.error_drift(
        losses([0.9] * reference + [5.0] * since), reference_until=FIRST + timedelta(days=reference - 1)
    )
    assert not found.is_judged
    assert not found.has_drifted


@settings(max_examples=30, deadline=None)
@given(st.floats(0.2, 5.0), st.lists(st.floats(0.5, 1.5), min_size=80, max_size=120))
def test_the_verdict_does_not_depend_on_the_unit_of_the_loss(scale: float, ratios: list[float]) -> None:
    until = FIRST + timedelta(days=49)
    plain = drift.error_drift(losses(ratios), reference_until=until)
    scaled = drift.error_drift(losses(ratios, baseline=100.0 * scale), reference_until=until)
    assert scaled.has_drifted == plain.has_drifted
    assert scaled.statistic == pytest.approx(plain.statistic, abs=1e-6)
