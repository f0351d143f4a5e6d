"""Errors over a baseline's: what is drift of the model, and what only a hard time."""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.science import drift

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
