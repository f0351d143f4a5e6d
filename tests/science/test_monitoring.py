"""Losses per day against a loop over rows, and the verdicts of the two checks."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.errors import SchemaError
from platform_assets.science import monitoring, streams
from platform_assets.science.tasks import TASKS

QUANTILES, PROBABILITY = TASKS["quantiles"], TASKS["probability"]
DAY = date(2025, 3, 1)


def forecasts(rows: list[tuple[int, float | None]], widths: list[float]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of (day, label) and quantiles 0, w, 2w, ... of each."""
    keys = pl.DataFrame(
        {"target_on": [DAY + timedelta(days=day) for day, _ in rows], "units": [label for _, label in rows]},
        schema={"target_on": pl.Date, "units": pl.Float64},
    )
    said = {name: [width * at for width in widths] for at, name in enumerate(QUANTILES.outputs)}
    return keys, pl.DataFrame(said)


def test_losses_per_day_are_those_of_a_loop_over_rows() -> None:
    rows, said = forecasts([(1, 3.0), (0, 0.0), (1, 20.0), (2, None)], [1.0, 2.0, 1.5, 1.0])
    _, baseline = forecasts([(0, 0.0)] * 4, [2.0, 2.0, 2.0, 2.0])
    found = monitoring.daily_losses(rows, said, baseline, QUANTILES, label="units")

    def pinball(label: float, quantiles: tuple[float, ...]) -> float:
        pairs = zip(QUANTILES.levels, quantiles, strict=True)
        return sum(max(level * (label - q), (level - 1) * (label - q)) for level, q in pairs)

    expected = []
    for day, places in ((0, [1]), (1, [0, 2])):
        losses = [[pinball(rows["units"][at], frame.row(at)) for at in places] for frame in (said, baseline)]
        labels = [rows["units"][at] for at in places]
        inside = [said.row(at)[0] <= rows["units"][at] <= said.row(at)[-1] for at in places]
        bias = np.mean([label - said["q500"][at] for at, label in zip(places, labels, strict=True)])
        expected.append(
            (
                DAY + timedelta(days=day),
                len(places),
                sum(losses[0]),
                sum(losses[1]),
                float(bias),
                float(np.mean(inside)),
            )
        )
    schema = {"day": pl.Date, "rows": pl.UInt32, "loss": pl.Float64, "baseline_loss": pl.Float64, "bias": pl.Float64}
    assert_frame_equal(found, pl.DataFrame(expected, schema={**schema, "inside": pl.Float64}, orient="row"))


def test_rows_that_the_baseline_says_nothing_about_count_for_neither() -> None:
    """Sums over different rows would make the ratio a matter of which rows the baseline skipped."""
    rows, said = forecasts([(0, 1.0), (0, 9.0)], [1.0, 1.0])
    baseline = said.with_columns(q500=pl.Series([2.0, None]))
    found = monitoring.daily_losses(rows, said, baseline, QUANTILES, label="units")
    assert found["rows"].to_list() == [1]
    assert found["loss"][0] == found["baseline_loss"][0]


def test_a_probability_has_no_interval() -> None:
    rows = pl.DataFrame({"target_on": [DAY, DAY], "is_dormant": [0.0, 1.0]})
    said = pl.DataFrame({"probability": [0.1, 0.7]})
    found = monitoring.daily_losses(rows, said, said, PROBABILITY, label="is_dormant")
    assert found["inside"].to_list() == [None]
    assert found["bias"][0] == pytest.approx(0.1)


def test_frames_of_other_lengths_are_refused() -> None:
    rows, said = forecasts([(0, 1.0), (0, 9.0)], [1.0, 1.0])
    with pytest.raises(SchemaError, match="2 rows, 2 predictions and 1 of the baseline"):
        monitoring.daily_losses(rows, said, said.head(1), QUANTILES, label="units")


def results(ratios: list[float], covered: float = 1.0) -> pl.DataFrame:
    """Daily sums of 400 rows: losses over the baseline's, and quantiles that hold `covered` of what they promise."""
    days = [DAY + timedelta(days=at) for at in range(len(ratios))]
    below = {
        f"below {name}": [400.0 * level * (covered if at >= 84 else 1.0) for at in range(len(ratios))]
        for name, level in zip(QUANTILES.outputs, QUANTILES.levels, strict=True)
    }
    schema = {"day": pl.Date, "loss": pl.Float64, **dict.fromkeys(below, pl.Float64)}
    return pl.DataFrame({"day": days, "loss": ratios, **below}, schema=schema).with_columns(
        rows=pl.lit(400), baseline_loss=pl.lit(1.0)
    )


@pytest.mark.parametrize(
    ("since", "covered", "passed", "is_judged"),
    [
        ([0.8] * 40, 1.0, True, True),
        ([1.2] * 40, 1.0, False, True),
        ([0.8] * 40, 0.7, False, True),
        ([1.2] * 3, 1.0, True, True),  # too short to say so
        ([], 1.0, True, False),
    ],
)
def test_the_error_check_says_what_it_compared(
    since: list[float], covered: float, passed: bool, is_judged: bool
) -> None:
    """And names the signals that alarm, since when, each statistic and its limit."""
    last = DAY + timedelta(days=83)
    found = monitoring.judge_errors(
        results([0.8] * 84 + since, covered), QUANTILES, reference_until=last, champion="7", as_of=last
    )
    assert (found.passed, found.is_judged) == (passed, is_judged)
    assert found.metadata["champion"] == "7"
    assert found.metadata["as_of"] == last.isoformat()
    assert set(found.metadata) >= {"statistic", "threshold", "about"}
    assert all(np.isfinite(value) for value in found.metadata.values() if isinstance(value, float))
    assert (found.statistic > found.threshold) == (not passed)
    assert ("usually" in found.about) == (not passed)
    if is_judged:
        assert found.figures["the same in the backtest"] == pytest.approx(0.8)
        assert "0 of 3 spans" in found.about
        assert "too few to promise a rate" in found.about
    if not passed:
        name = streams.OVER_BASELINE if covered == 1.0 else streams.UPPER_COVERAGE
        assert f"{name} " in found.about
        assert "since 2025-0" in found.about


def test_a_hard_time_for_the_baseline_too_is_no_error() -> None:
    """Christmas costs every forecast more: only the loss over a baseline's says something about the model."""
    last = DAY + timedelta(days=83)
    harder = results([0.8] * 140).with_columns(
        pl.when(pl.col("day") > last).then(pl.col(name) * 5.0).otherwise(pl.col(name))
        for name in ("loss", "baseline_loss")
    )
    assert monitoring.judge_errors(harder, QUANTILES, reference_until=last, champion="7", as_of=last).passed


@pytest.mark.parametrize("step", [1, 7])
def test_weekly_periods_and_closed_days_are_windows_of_as_many_days(step: int) -> None:
    """Counted in rows, 28 days of a weekly source would be 28 weeks."""
    rows = results([0.8] * 126 + [1.3] * 63).gather_every(step)
    rows = rows if step == 7 else rows.filter(pl.col("day").dt.weekday() != 6)
    until = DAY + timedelta(days=125)
    found = monitoring.judge_errors(
        rows.select("day", "rows", "loss", "baseline_loss"), QUANTILES, reference_until=until, champion="7", as_of=until
    )
    assert not found.passed
    assert found.figures["loss over the baseline's"] == pytest.approx(1.3)


def test_nothing_judged_is_nothing_wrong() -> None:
    found = monitoring.judge_errors(results([]), QUANTILES, reference_until=DAY, champion="7", as_of=DAY)
    assert found.passed
    assert not found.is_judged
