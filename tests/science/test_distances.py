"""Two-sample statistics against scipy's, and against naive loops where scipy has none."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from platform_assets.errors import EmptyFrameError, SchemaError
from platform_assets.science import distances
from platform_assets.science.sorted_reference import Current, Reference

numbers = st.one_of(
    st.integers(-3, 3).map(float),  # ties
    st.floats(-1e6, 1e6),
    st.floats(allow_nan=False, width=64),  # both infinities, denormal numbers
    st.sampled_from([0.0, -0.0, 1e-300, -1e-300, 1e300]),
)
samples = st.lists(numbers, min_size=1, max_size=60)


def pair(first: list[float], second: list[float]) -> tuple[Reference, Current]:
    reference = Reference.of(pl.Series("price", first, dtype=pl.Float64))
    return reference, Current.of(pl.Series("price", second, dtype=pl.Float64), reference)


def naive_distance(first: list[float], second: list[float]) -> float:
    """Every value, both functions."""
    return max(
        abs(sum(a <= x for a in first) / len(first) - sum(b <= x for b in second) / len(second)) for x in first + second
    )


@settings(max_examples=200, deadline=None)
@given(samples, samples)
def test_kolmogorov_smirnov_is_the_greatest_gap_at_any_value(first: list[float], second: list[float]) -> None:
    assert distances.kolmogorov_smirnov(*pair(first, second)) == pytest.approx(naive_distance(first, second), abs=1e-12)


@pytest.mark.parametrize("law", ["normal", "heavy tail", "counts", "one value", "mixed"])
@pytest.mark.parametrize("moved", [0.0, 0.3])
def test_large_samples_agree_with_scipy(law: str, moved: float) -> None:
    """As many rows as a grid has cells, so that cells are opened and closed in earnest."""
    draws = np.random.default_rng(5)
    make = {
        "normal": lambda n: draws.normal(size=n),
        "heavy tail": lambda n: draws.standard_cauchy(n) * np.exp(3 * draws.normal(size=n)),
        "counts": lambda n: draws.poisson(2, n).astype(float),
        "one value": np.zeros,
        "mixed": lambda n: np.where(draws.random(n) < 0.7, 0.0, draws.lognormal(2, 3, n)),
    }[law]
    first, second = make(80_000), make(50_000) + moved
    reference, current = pair(list(first), list(second))
    found: Any = stats.ks_2samp(first, second, method="asymp")
    assert distances.kolmogorov_smirnov(reference, current) == pytest.approx(found.statistic, abs=1e-12)
    if law != "heavy tail":  # whose mean distance is the sum of a few values of 1e10
        moved_by = stats.wasserstein_distance(first, second)
        assert distances.wasserstein(reference, current) == pytest.approx(moved_by, rel=1e-9, abs=1e-12)
    told = distances.kolmogorov_smirnov_p(found.statistic, first.size, second.size)
    assert told == pytest.approx(found.pvalue, rel=1e-3, abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=40), st.lists(st.floats(-50, 50), min_size=1, max_size=40))
@example([0.0, 0.0, 9.0, 8.464271181790686, 0.25, -1.0], [0.0])  # a value a hair outside its cell
def test_wasserstein_agrees_with_scipy(first: list[float], second: list[float]) -> None:
    wanted = stats.wasserstein_distance(first, second)
    assert distances.wasserstein(*pair(first, second)) == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.one_of(st.none(), numbers), min_size=1, max_size=60).filter(lambda v: any(x is not None for x in v)),
    st.lists(st.one_of(st.none(), numbers), min_size=1, max_size=60).filter(lambda v: any(x is not None for x in v)),
)
@example([-0.0, 0.0], [0.0])
@example([0.0, float("inf")], [0.0])
def test_binned_statistics_agree_with_counts_by_hand(first: list[float | None], second: list[float | None]) -> None:
    """Bins are (lower, upper] quantiles of the reference, and rows without a value are one more."""
    reference = Reference.of(pl.Series("price", first, dtype=pl.Float64))
    current = Current.of(pl.Series("price", second, dtype=pl.Float64), reference)
    edges = [-np.inf, *reference.edges(4), np.inf]

    def shares(values: list[float | None]) -> list[float]:
        counts = [0] * (len(edges) - 1) + [0]
        for value in values:
            if value is None:
                counts[-1] += 1
            else:
                place = sum(value > edge for edge in edges[1:-1])
                counts[place] += 1
        return [count / len(values) for count in counts]

    before, after = distances.binned(reference, current, 4)
    assert list(before) == pytest.approx(shares(first))
    assert list(after) == pytest.approx(shares(second))
    floor = distances.EMPTY_SHARE
    index = sum(
        (max(b, floor) - max(a, floor)) * np.log(max(b, floor) / max(a, floor))
        for a, b in zip(shares(first), shares(second), strict=True)
    )
    assert distances.stability_index(reference, current, bins=4) == pytest.approx(index, abs=1e-12)
    wanted = jensenshannon(shares(first), shares(second), base=2) ** 2
    assert distances.jensen_shannon(reference, current, bins=4) == pytest.approx(np.nan_to_num(wanted), abs=1e-9)


@pytest.mark.parametrize(("rows", "others"), [(2000, 500), (400, 4000)])
def test_the_threshold_of_independent_rows_is_exceeded_as_often_as_it_says(rows: int, others: int) -> None:
    """PSI > .1 or .2 means nothing without the sample sizes: for 100 rows half of all nulls exceed .1."""
    random = np.random.default_rng(1)
    limit = distances.stability_threshold(rows, others, alpha=0.1)
    trials = 200
    indices = [
        distances.stability_index(*pair(list(random.normal(size=rows)), list(random.normal(size=others))))
        for _ in range(trials)
    ]
    exceeded = np.mean(np.array(indices) > limit)
    assert 0.1 - 4 * np.sqrt(0.09 / trials) < exceeded < 0.1 + 4 * np.sqrt(0.09 / trials)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from(["tea", "mug", "lamp", None]), min_size=1, max_size=50),
    st.lists(st.sampled_from(["tea", "mug", "bag", None]), min_size=1, max_size=50),
)
def test_chi_square_agrees_with_scipy_and_names_what_is_new(first: list[str | None], second: list[str | None]) -> None:
    found = distances.chi_square(pl.Series("kind", first, dtype=pl.String), pl.Series("kind", second, dtype=pl.String))
    kinds = sorted({str(value) for value in first + second})
    table = [[sum(str(value) == kind for value in values) for kind in kinds] for values in (first, second)]
    if len(kinds) > 1:
        wanted: Any = stats.chi2_contingency(table, correction=False)
        assert (found.statistic, found.p_value) == pytest.approx((wanted.statistic, wanted.pvalue), abs=1e-9)
    else:
        assert (found.statistic, found.p_value) == (0.0, 1.0)
    assert dict(found.new) == {
        kind: sum(str(value) == kind for value in second)
        for kind in kinds
        if not any(str(value) == kind for value in first) and any(str(value) == kind for value in second)
    }


def test_whole_numbers_as_categories_keep_null_apart_from_zero() -> None:
    found = distances.chi_square(pl.Series("code", [0, 0, 1]), pl.Series("code", [0, None, None]))
    assert dict(found.new) == {"None": 2}


def test_missing_values_are_counted_apart() -> None:
    reference = Reference.of(pl.Series("price", [1.0, None, float("nan"), 2.0]))
    assert (reference.missing, reference.missing_share) == (2, 0.5)
    assert list(reference.values) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("column", "error", "told"),
    [
        (pl.Series("price", [], dtype=pl.Float64), EmptyFrameError, "`price` has no value in 0 rows"),
        (pl.Series("price", [None, float("nan")]), EmptyFrameError, "`price` has no value in 2 rows"),
        (pl.Series("shop", ["a"]), SchemaError, "`shop` is String, expected numbers"),
    ],
)
def test_what_cannot_be_compared_is_refused(column: pl.Series, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        Reference.of(column)
    with pytest.raises(error, match=told):
        Current.of(column, Reference.of(pl.Series("price", [1.0])))
