"""Losses per day against a loop over rows, and the verdicts of the two checks."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.errors import SchemaError
from platform_assets.science import monitoring
from platform_assets.science.feature_drift import DRIFT_SCHEMA
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


def drifted(*q_values: float) -> pl.DataFrame:
    rows = [
        {"feature": f"f{at}", "statistic": 0.1, "p_value": q, "q_value": q, "has_drifted": q < 0.01}
        for at, q in enumerate(q_values)
    ]
    return pl.DataFrame(rows, schema=DRIFT_SCHEMA)


@pytest.mark.parametrize(
    ("q_values", "tolerated", "passed", "told"),
    [
        ((0.5, 0.2), 0, True, "0 of 2 features have left their range"),
        ((0.5, 0.001), 0, False, "1 of 2 features have left their range: f1"),
        ((0.002, 0.001), 0, False, "2 of 2 features have left their range: f1, f0"),
        ((0.5, 0.001), 1, True, "1 of 2 features"),
        ((float("nan"), float("nan")), 0, True, "too few past occasions"),
    ],
)
def test_the_drift_check_names_the_worst_features(
    q_values: tuple[float, ...], tolerated: int, passed: bool, told: str
) -> None:
    found = monitoring.judge_inputs(drifted(*q_values), champion="7", as_of=DAY, tolerated=tolerated)
    assert found.passed == passed
    assert told in found.about


def issues(random: np.random.Generator, days: int, rows: int, *, shift: float = 0.0) -> pl.DataFrame:
    at = np.repeat(np.arange(days), rows)
    values = random.normal(size=(days * rows, 2)) + 0.3 * random.normal(size=(days, 2))[at]
    start = datetime(2025, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "series_id": [f"s{number % rows}" for number in range(days * rows)],
            "issued_at": [start + timedelta(days=int(day)) for day in at],
            "mean_28": values[:, 0],
            "price": values[:, 1] + shift,
            "recent": [[1.0, 2.0]] * (days * rows),
        }
    )


def test_issued_rows_are_thinned_to_one_per_series_and_judged_among_past_issues() -> None:
    """28 horizons of a series are one row of its features, 28 times: counted as 28, everything drifts."""
    random = np.random.default_rng(0)
    training = issues(random, 60, 80)
    one = issues(random, 1, 80)
    horizons = pl.concat([one] * 28)
    found = monitoring.input_drift(training, horizons, ["mean_28", "price", "recent"])
    assert found["feature"].to_list() == ["mean_28", "price"]  # lists are no numbers
    assert not found["has_drifted"].any()
    moved = pl.concat([issues(random, 1, 80, shift=3.0)] * 28)
    found = monitoring.input_drift(training, moved, ["mean_28", "price"])
    assert found.filter("has_drifted")["feature"].to_list() == ["price"]


@pytest.mark.parametrize(("is_weighted", "drifted"), [(True, 0), (False, 1)])
def test_issued_rows_are_drawn_as_the_training_set_was(is_weighted: bool, drifted: int) -> None:
    """The training set holds more rows of large series; issued rows of all series alike looked like a fall in demand.

    The first champion's check failed on the very data that it was trained on, and two retrainings were launched.
    """
    random = np.random.default_rng(3)
    volume = np.exp(random.normal(0.0, 1.5, size=300))
    names, start = np.array([f"s{number}" for number in range(300)]), datetime(2025, 1, 1, tzinfo=UTC)

    def issue(day: int, drawn: np.ndarray) -> pl.DataFrame:
        mean = volume[drawn] * np.exp(0.1 * random.normal(size=drawn.size) + 0.1 * np.sin(day))
        return pl.DataFrame({"series_id": names[drawn], "issued_at": start + timedelta(days=day), "mean_28": mean})

    share = np.sqrt(volume) / np.sqrt(volume).sum()
    training = pl.concat([issue(day, random.choice(300, size=170, p=share)) for day in range(60)])
    issued = issue(61, np.repeat(np.arange(300), 28))
    weights = pl.DataFrame({"series_id": names, "weight": np.sqrt(volume)}) if is_weighted else None
    found = monitoring.input_drift(training, issued, ["mean_28"], weights=weights)
    assert found["has_drifted"].sum() == drifted


def test_a_training_set_of_small_issues_is_not_judged_but_does_not_break() -> None:
    random = np.random.default_rng(1)
    found = monitoring.input_drift(issues(random, 5, 3), issues(random, 1, 3), ["mean_28"])
    assert not found["has_drifted"].any()


def test_a_model_that_reads_the_calendar_only_has_no_inputs_to_drift() -> None:
    """Its monitoring failed each time: nothing was left of its features to be compared."""
    rows = pl.DataFrame({"series_id": ["a"], "issued_at": [date(2025, 1, 1)]})
    found = monitoring.judge_inputs(monitoring.input_drift(rows, rows, []), champion="1", as_of=date(2025, 1, 1))
    assert (found.passed, found.is_judged, found.figures) == (True, False, {"features judged": 0.0})
