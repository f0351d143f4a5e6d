"""Outlooks: how wide the interval is, what is compared with what, and what an estimate follows and what it cannot see."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_assets.science import outlook
from platform_assets.science.outlook import Scored
from platform_assets.science.tasks import QUANTILES
from tests.science.forecasts import FIRST, HORIZON, world

LIVE = FIRST + timedelta(days=3 * HORIZON)
NOTHING = pl.DataFrame(schema=outlook.OUTCOMES)


def estimated(tested: Scored, ahead: Scored, lived: Scored | None = None) -> outlook.Outlook:
    none = tested.part(np.zeros(tested.loss.size, dtype=np.bool_))
    return outlook.outlook(tested, lived or none, NOTHING, ahead.rows, ahead.said, QUANTILES)


def lived_through(seed: int, *, shocks: float, factor: float = 1.0, size: float = 1.0) -> pl.DataFrame:
    """The four weeks after a backtest of twelve: each estimate and what came, losses times `factor`."""
    tested = world(seed, count=5040, shocks=shocks)
    ahead = world(seed + 5000, count=1680, issues=1, first=LIVE, shocks=shocks, size=size)
    kept = estimated(tested, ahead).estimates
    came = Scored(ahead.rows, ahead.said, ahead.label, ahead.loss * factor)
    return outlook.compared(kept, came, known_until=LIVE + timedelta(days=HORIZON))


def test_weeks_without_drift_lie_in_the_interval_as_often_as_it_says() -> None:
    """Where weeks are independent, though counted as fewer, more often than promised: the price of not trusting them."""
    inside = pl.concat([lived_through(seed, shocks=0.15) for seed in range(40)])["is_inside"]
    assert inside.len() == 160
    assert 0.88 <= inside.to_numpy().mean() <= 0.995


def test_an_estimate_follows_a_shift_of_inputs_and_is_blind_to_another_answer_of_demand() -> None:
    """Three times the sizes are in the forecasts; twice the errors of the same forecasts only labels can tell."""
    quiet, moved, changed = (
        pl.concat([lived_through(seed, shocks=0.1, **how) for seed in range(10)])
        for how in ({}, {"size": 3.0}, {"factor": 2.0})
    )
    assert (moved["expected"].to_numpy().mean() / quiet["expected"].to_numpy().mean()) == pytest.approx(3.0, rel=0.1)
    assert moved["is_inside"].to_numpy().mean() >= 0.85
    assert changed["is_inside"].to_numpy().mean() <= 0.1
    assert (changed["realized"] > changed["high"]).to_numpy().mean() >= 0.9


def test_few_weeks_promise_no_interval_and_say_so() -> None:
    tested, ahead = world(1, count=5040), world(2, count=1680, issues=1, first=LIVE)
    short = tested.part(tested.rows["issued_at"].to_numpy() == tested.rows["issued_at"].to_numpy()[0])
    found = estimated(short, ahead)
    assert found.weeks == 4
    assert found.estimates["low"].null_count() == found.estimates.height == HORIZON
    assert "Estimates of 4 past weeks are known, 7 are needed: no interval is promised" in outlook.about(
        found.estimates
    )
    assert all(low is None for _, low, _ in outlook.spans(found.estimates).values())
    whole = estimated(tested, ahead)
    assert whole.weeks == 12
    assert "takes them for 4 independent ones" in outlook.about(whole.estimates)


def test_without_a_backtest_or_without_forecasts_nothing_is_said() -> None:
    tested, ahead = world(1, count=5040), world(2, count=1680, issues=1, first=LIVE)
    none = tested.part(np.zeros(tested.loss.size, dtype=np.bool_))
    for found in (estimated(none, ahead), estimated(tested, none)):
        assert found.estimates.is_empty()
        assert outlook.spans(found.estimates) == {}
        assert "Nothing is estimated" in outlook.about(found.estimates)
        assert outlook.coming(found.estimates).is_empty()


@given(
    st.lists(st.floats(0.001, 1.0), min_size=outlook.LEAST_WEEKS, max_size=60),
    st.floats(0.1, 10.0),
)
def test_larger_errors_widen_the_interval_in_proportion_and_more_weeks_narrow_it(
    errors: list[float], by: float
) -> None:
    squares = np.array(errors) ** 2
    half = outlook.half_width(squares)
    assert half is not None
    assert half >= 1.64 * np.sqrt(squares.mean())
    assert outlook.half_width(squares * by**2) == pytest.approx(half * by)
    twice = outlook.half_width(np.r_[squares, squares])
    assert twice is not None
    assert twice < half
    assert outlook.half_width(squares[: outlook.LEAST_WEEKS - 1]) is None


def test_a_week_is_compared_on_its_known_rows_once_it_has_passed() -> None:
    """A closed day has no labels; a feed that is late has them for fewer than half of the rows, which says nothing yet."""
    tested, ahead = world(1, count=5040), world(2, count=1680, issues=1, first=LIVE)
    kept = estimated(tested, ahead).estimates
    target = ahead.rows["target_on"].to_numpy()

    def days(first: int, last: int) -> np.ndarray:
        return (target >= np.datetime64(LIVE + timedelta(days=first))) & (
            target <= np.datetime64(LIVE + timedelta(days=last))
        )

    known = ahead.part(days(0, 4) | days(6, 6) | days(7, 9) | days(14, 20))
    found = outlook.compared(kept, known, known_until=LIVE + timedelta(days=19))
    assert found["week"].to_list() == [1], "of the second week three days are known, the third has not passed"
    week = ahead.part(days(0, 4) | days(6, 6))
    assert found["rows"].item() == week.loss.size
    assert found["realized"].item() == pytest.approx(week.loss.mean())
    wanted = kept.filter(pl.col("target_on").is_in(week.rows["target_on"].unique().to_list()))["expected"].mean()
    assert found["expected"].item() == pytest.approx(wanted)
    assert found["low"].item() < found["expected"].item() < found["high"].item()


def test_coverage_counts_calendar_weeks_not_issues() -> None:
    """Issues of each day forecast the same week again and again: seven of them are one week that was missed."""

    def outcome(day: int, is_inside: bool) -> dict[str, object]:
        last_on = date(2025, 3, 9) + timedelta(days=day)
        return {"last_on": last_on, "low": 1.0, "is_inside": is_inside}

    rows = [outcome(0, True), *(outcome(7, False) for _ in range(7)), outcome(14, True), outcome(21, True)]
    assert outlook.coverage(pl.DataFrame(rows)) == (0.75, 4)
    share, weeks = outlook.coverage(NOTHING)
    assert np.isnan(share)
    assert weeks == 0
