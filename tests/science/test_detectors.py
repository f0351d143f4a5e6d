"""Paths of the detectors against naive loops, and first alarms against those of river 0.26.1."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_assets.science import detectors

VALUES = st.lists(st.floats(-5, 5), min_size=0, max_size=60).map(np.array)


def changed(seed: int) -> np.ndarray:
    """150 days, the mean rising after 80 by 0, .5, 1 or 1.5 as the seed has it."""
    values = np.random.default_rng(seed).normal(size=150)
    values[80:] += (seed % 4) * 0.5
    return values


@given(VALUES)
def test_a_cumulative_sum_is_the_greatest_sum_of_any_last_days(values: np.ndarray) -> None:
    """Page's recursion equals the largest sum over all windows that end today, either way."""
    path = detectors.cusum(values, allowance=0.5)
    for day in range(values.size):
        ends = [values[begin : day + 1] for begin in range(day + 1)]
        greatest = max(
            0.0, *(float((part - 0.5).sum()) for part in ends), *(float((-part - 0.5).sum()) for part in ends)
        )
        assert path[day] == pytest.approx(greatest, abs=1e-9)


def naive_adwin(values: np.ndarray, delta: float) -> bool:
    """Whether any cut of the whole window is one at this confidence, by the published inequality."""
    count = values.size
    for cut in range(detectors.LEAST_PART, count - detectors.LEAST_PART + 1):
        first, second = values[:cut], values[cut:]
        sizes = [len(part) - detectors.LEAST_PART + 1 for part in (first, second)]
        harmonic = 1 / sum(1 / size for size in sizes)
        ratio = np.log(2 * np.log(count) / delta)
        allowed = np.sqrt(2 / harmonic * values.var() * ratio) + 2 / (3 * harmonic) * ratio
        if abs(first.mean() - second.mean()) > allowed:
            return True
    return False


@pytest.mark.parametrize("seed", range(8))
def test_an_adaptive_window_is_cut_where_the_inequality_says(seed: int) -> None:
    values = changed(seed)
    path = detectors.adwin(values)
    for delta in (0.2, 0.01, 1e-4):
        for day in (9, 30, 79, 95, 149):
            assert (path[day] > -np.log(delta)) == naive_adwin(values[: day + 1], delta)


# First alarms of river's own classes on `changed(seed)`: PageHinkley(delta=.5, threshold=5 and 20), and
# ADWIN(delta=.2 and .0001, clock=1, max_buckets=1000), which then holds every day as a bucket of its own.
RIVER = [
    (0, (49, None), (None, None)),
    (1, (None, None), (120, None)),
    (2, (90, None), (104, None)),
    (3, (82, 101), (90, 111)),
    (4, (None, None), (None, None)),
    (5, (61, None), (120, None)),
    (6, (93, None), (103, None)),
    (7, (83, 103), (88, 109)),
]


@pytest.mark.parametrize(("seed", "hinkley", "adaptive"), RIVER)
def test_first_alarms_are_those_of_river(
    seed: int, hinkley: tuple[int | None, int | None], adaptive: tuple[int | None, int | None]
) -> None:
    values = changed(seed)
    path = detectors.page_hinkley(values, allowance=0.5)
    assert (detectors.first_alarm(path, 5.0), detectors.first_alarm(path, 20.0)) == hinkley
    path = detectors.adwin(values)
    assert tuple(detectors.first_alarm(path, -np.log(delta)) for delta in (0.2, 1e-4)) == adaptive


@given(VALUES, st.integers(0, 60))
def test_a_day_without_an_observation_changes_nothing(values: np.ndarray, at: int) -> None:
    at = min(at, values.size)
    for detector in (detectors.cusum, detectors.page_hinkley, detectors.adwin):
        with_gap = detector(np.insert(values, at, np.nan))
        assert np.array_equal(np.delete(with_gap, at), detector(values))


@given(VALUES, st.floats(0, 20), st.floats(0, 20))
def test_a_higher_limit_alarms_no_sooner(values: np.ndarray, one: float, other: float) -> None:
    path = detectors.cusum(values)
    low, high = sorted((one, other))
    late = detectors.first_alarm(path, high)
    if late is not None:
        soon = detectors.first_alarm(path, low)
        assert soon is not None
        assert soon <= late
