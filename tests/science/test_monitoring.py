"""Losses per day against a loop over rows, and the verdicts of the two checks."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.errors import SchemaError
from platform_assets.science import monitoring
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


def losses(ratios: list[float]) -> pl.DataFrame:
    days = [DAY + timedelta(days=at) for at in range(len(ratios))]
    return pl.DataFrame({"day": days, "loss": ratios, "baseline_loss": [1.0] * len(ratios)})


@pytest.mark.parametrize(
    ("since", "passed", "is_judged"),
    [([0.8] * 40, True, True), ([1.2] * 40, False, True), ([1.2] * 20, True, False), ([], True, False)],
)
def test_the_error_check_says_what_it_compared(since: list[float], passed: bool, is_judged: bool) -> None:
    last = DAY + timedelta(days=83)
    found = monitoring.judge_errors(losses([0.8] * 84 + since), reference_until=last, champion="7", as_of=last)
    assert (found.passed, found.is_judged) == (passed, is_judged)
    assert found.metadata["champion"] == "7"
    assert found.metadata["as_of"] == last.isoformat()
    assert set(found.metadata) >= {"statistic", "threshold", "about"}
    assert all(np.isfinite(value) for value in found.metadata.values() if isinstance(value, float))
    assert ("0.800 in the backtest" in found.about) == is_judged
