"""Standings against a loop, alarms and their beginnings, and what the own history says of a rate."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest

from platform_assets.science import calibration, streams
from platform_assets.science.tasks import TASKS

FIRST = date(2025, 1, 1)
LAST = FIRST + timedelta(days=83)  # of the reference
SIGNAL = streams.UPPER_COVERAGE
FLOOR = calibration.FLOORS[SIGNAL]


def stream(values: np.ndarray, rows: float = 1000.0, signal: str = SIGNAL) -> pl.DataFrame:
    days = [FIRST + timedelta(days=day) for day in range(len(values))]
    return pl.DataFrame(
        {"day": days, "signal": [signal] * len(values), "value": values, "rows": [rows] * len(values)},
        schema=streams.SCHEMA,
    )


def test_a_statistic_is_the_distance_over_the_spread_of_whole_windows() -> None:
    values = np.random.default_rng(0).normal(0.1, 3 * FLOOR, size=100)
    found = calibration.standings(stream(values), [SIGNAL], reference_until=LAST)[0]
    past = values[6:84]  # the first six windows would reach back before the reference
    spread = 1.4826 * np.median(np.abs(past - np.median(past)))
    assert found.usual == pytest.approx(np.median(past))
    assert found.statistic == pytest.approx(np.abs(values[93:] - np.median(past)).max() / spread)


def test_a_quiet_backtest_has_the_floor_as_its_spread() -> None:
    found = calibration.standings(stream(np.r_[np.zeros(84), np.full(10, 2 * FLOOR)]), [SIGNAL], reference_until=LAST)
    assert found[0].statistic == pytest.approx(2.0)


def test_a_thin_window_may_stray_further() -> None:
    thin = stream(np.r_[np.zeros(84), np.full(10, 2 * FLOOR)]).with_columns(
        rows=pl.when(pl.col("day") > LAST).then(250.0).otherwise(1000.0)
    )
    assert calibration.standings(thin, [SIGNAL], reference_until=LAST)[0].statistic == pytest.approx(1.0)


def test_loss_that_falls_is_no_alarm() -> None:
    better = stream(np.r_[np.zeros(84), np.full(60, -9.0)], signal=streams.OVER_BASELINE)
    assert not calibration.standings(better, [streams.OVER_BASELINE], reference_until=LAST)[0].has_alarmed
    worse = better.with_columns(value=-pl.col("value"))
    assert calibration.standings(worse, [streams.OVER_BASELINE], reference_until=LAST)[0].has_alarmed


LIMIT = calibration.limit_of(SIGNAL, 84) * FLOOR


@pytest.mark.parametrize(
    ("beyond", "days", "since"),
    [
        ((), 30, None),
        (range(20, 30), 30, 20),
        (range(10, 12), 30, None),  # over for long
        (range(20, 22), 27, 20),  # holds a week, so that who looks weekly sees it
        (range(20, 22), 29, None),
        ((5, 20, 24), 30, 20),  # a pause of less than a week is none
        ((0,), 1, 0),
    ],
)
def test_an_alarm_has_a_beginning_and_holds_a_week(beyond: tuple[int, ...], days: int, since: int | None) -> None:
    now = np.zeros(days)
    now[[day for day in beyond if day < days]] = 1.5 * LIMIT
    found = calibration.standings(stream(np.r_[np.zeros(84), now]), [SIGNAL], reference_until=LAST)[0]
    expected = None if since is None else LAST + timedelta(days=1 + since)
    assert found.since == expected


@pytest.mark.parametrize(("days", "is_judged"), [(6, False), (7, True), (84, True)])
def test_too_short_a_backtest_judges_nothing(days: int, is_judged: bool) -> None:
    until = FIRST + timedelta(days=days - 1)
    found = calibration.standings(stream(np.zeros(days + 10)), [SIGNAL], reference_until=until)
    assert bool(found) == is_judged


@pytest.mark.parametrize(("days", "at"), [(7, 0), (13, 0), (14, 1), (83, 3), (84, 4), (900, 5)])
def test_a_limit_is_that_of_the_longest_backtest_that_is_no_longer(days: int, at: int) -> None:
    assert calibration.limit_of(SIGNAL, days) == calibration.LIMITS[SIGNAL][at]
    assert calibration.limit_of(SIGNAL, 6) == float("inf")


def test_every_default_signal_has_limits_and_a_floor() -> None:
    for task in TASKS.values():
        for name in calibration.default_signals(task):
            assert len(calibration.LIMITS[name]) == len(calibration.LENGTHS)
            assert calibration.FLOORS[name] > 0


@pytest.mark.parametrize(("bursts", "alarms"), [((), 0), ((40,), 1), ((10, 40, 70), 3)])
def test_the_own_rate_counts_spans_that_the_rest_would_call_an_alarm(bursts: tuple[int, ...], alarms: int) -> None:
    values = np.zeros(90)
    for at in bursts:
        values[at : at + 3] = 50 * FLOOR
    found = calibration.own_rate(stream(values[:84]), [SIGNAL], reference_until=LAST)
    assert found is not None
    exact = binomtest(alarms, 3).proportion_ci(0.95, "exact")
    assert (found.alarms, found.spans) == (alarms, 3)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_one_span_has_no_rate() -> None:
    until = FIRST + timedelta(days=40)
    assert calibration.own_rate(stream(np.zeros(60)), [SIGNAL], reference_until=until) is None
