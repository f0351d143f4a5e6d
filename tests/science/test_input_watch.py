"""The rows issued last against past issues, drawn alike: verdicts of drift and of faults, and named reference windows."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from platform_assets.errors import ConfigurationError
from platform_assets.science import input_watch, reference_window
from platform_assets.science.feature_drift import DRIFT_SCHEMA
from platform_assets.science.input_watch import Samples
from platform_assets.science.reference_window import MonitoringSettings
from platform_assets.science.skew import Finding

DAY = date(2025, 3, 1)


def drifted(*q_values: float) -> pl.DataFrame:
    rows = [
        {"feature": f"f{at}", "statistic": 0.1, "p_value": q, "q_value": q, "has_drifted": q < 0.01}
        for at, q in enumerate(q_values)
    ]
    return pl.DataFrame(rows, schema=DRIFT_SCHEMA)


@pytest.mark.parametrize(
    ("q_values", "tolerated", "passed", "told"),
    [
        ((0.5, 0.2), 0, True, "0 of 2 features have left their range; nearest to leaving it: f1, f0"),
        ((0.5, 0.001), 0, False, "1 of 2 features have left their range: f1"),
        ((0.002, 0.001), 0, False, "2 of 2 features have left their range: f1, f0"),
        ((0.5, 0.001), 1, True, "1 of 2 features have left their range: f1"),
        ((float("nan"), 0.5), 0, True, "0 of 1 features have left their range; nearest to leaving it: f1"),
        ((float("nan"), float("nan")), 0, True, "too few past occasions to say what is usual"),
        ((), 0, True, "no feature is left to compare"),
    ],
)
def test_the_drift_check_names_the_worst_features(
    q_values: tuple[float, ...], tolerated: int, passed: bool, told: str
) -> None:
    found = input_watch.judge_inputs(drifted(*q_values), champion="7", as_of=DAY, tolerated=tolerated)
    assert found.passed == passed
    assert found.about == told


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
    found = input_watch.input_drift(training, horizons, ["mean_28", "price", "recent"])
    assert found["feature"].to_list() == ["mean_28", "price"]  # lists are no numbers
    assert not found["has_drifted"].any()
    moved = pl.concat([issues(random, 1, 80, shift=3.0)] * 28)
    found = input_watch.input_drift(training, moved, ["mean_28", "price"])
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
    found = input_watch.input_drift(training, issued, ["mean_28"], weights=weights)
    assert found["has_drifted"].sum() == drifted


def chain(seed: int, judged: int) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """A training set and issues after it of 45 stores that sell what they always sold, four horizons each."""
    random = np.random.default_rng(seed)
    level, start = random.lognormal(sigma=0.7, size=45), datetime(2024, 1, 1, tzinfo=UTC)

    def issue(week: int) -> pl.DataFrame:
        known = {f"mean_{weeks}": level * np.exp(0.1 / weeks * random.normal(size=45)) for weeks in (4, 13, 26, 52)}
        rows = pl.DataFrame({"series_id": [f"s{number:02d}" for number in range(45)], **known})
        return rows.join(pl.DataFrame({"horizon_days": [7, 14, 21, 28]}), how="cross").with_columns(
            issued_at=pl.lit(start + timedelta(weeks=week))
        )

    def drawn() -> np.ndarray:  # as the training set is: twice each store or not, and one of its horizons
        places = 4 * np.tile(np.arange(45), 2) + random.integers(0, 4, size=90)
        return np.unique(places[random.random(90) < 0.8])

    training = pl.concat(issue(week)[drawn()] for week in range(130))
    return training, [issue(week) for week in range(130, 130 + judged)]


@pytest.mark.parametrize("seed", [2, 12, 15, 18, 24, 27])
def test_few_stores_that_sell_as_ever_raise_no_lasting_alarm(seed: int) -> None:
    """Each day's rows were drawn by the same numbers, so that the same 33 of 45 stores stood for all of them.

    Where that draw lay far off, as in these worlds, the check failed from the first day on, for as long as the champion
    lived: of 120 such worlds 25 had a p below 0.05 in nearly each week.
    """
    training, issues_after = chain(seed, 4)
    told = [input_watch.input_drift(training, one, ["mean_52"])["p_value"].item() for one in issues_after]
    assert min(told) > 0.05


def test_a_day_is_drawn_alike_whenever_it_is_asked_and_another_day_otherwise() -> None:
    training, (monday, next_monday) = chain(0, 2)
    key = ["series_id", "horizon_days"]
    drawn, again, later = (input_watch.samples(training, one) for one in (monday, monday, next_monday))
    assert all(one.equals(other) for one, other in zip(drawn.draws, again.draws, strict=True))
    rows = [{*draw.select(key).iter_rows()} for draw in (*drawn.draws, *later.draws)]
    assert len({frozenset(one) for one in rows}) == len(rows) == 2 * input_watch.DRAWS
    assert drawn.pooled.height == sum(draw.height for draw in drawn.draws)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_draw_has_as_many_rows_as_a_past_occasion(weighted: bool) -> None:
    """Rows drawn twice count once in the training set; the draw had a seventh fewer, and so lay farther off."""
    training, issues_after = chain(1, 20)
    usual = training.group_by("issued_at").len()["len"].median()
    weights = issues_after[0].select("series_id", weight=pl.col("mean_52").sqrt()).unique() if weighted else None
    heights = [
        draw.height for one in issues_after for draw in input_watch.samples(training, one, weights=weights).draws
    ]
    assert np.mean(heights) == pytest.approx(usual, rel=0.03)


def test_a_training_set_of_small_issues_is_not_judged_but_does_not_break() -> None:
    random = np.random.default_rng(1)
    found = input_watch.input_drift(issues(random, 5, 3), issues(random, 1, 3), ["mean_28"])
    assert not found["has_drifted"].any()


def test_where_all_issues_are_small_a_draw_is_as_small() -> None:
    """Fifty rows were compared with occasions of fourteen, whose distances are twice as large."""
    random = np.random.default_rng(4)
    training, issued = issues(random, 60, 14), issues(random, 1, 80)
    drawn = input_watch.samples(training, issued)
    assert drawn.reference.height == training.height
    assert np.mean([draw.height for draw in drawn.draws]) == pytest.approx(14, abs=4)


def test_a_model_that_reads_the_calendar_only_has_no_inputs_to_drift() -> None:
    """Its monitoring failed each time: nothing was left of its features to be compared."""
    rows = pl.DataFrame({"series_id": ["a"], "issued_at": [date(2025, 1, 1)]})
    found = input_watch.judge_inputs(input_watch.input_drift(rows, rows, []), champion="1", as_of=date(2025, 1, 1))
    assert (found.passed, found.is_judged, found.figures) == (True, False, {"features judged": 0.0})


# --- faults --------------------------------------------------------------------------------------------------------


def watched(random: np.random.Generator, days: int) -> pl.DataFrame:
    rows = issues(random, days, 80)
    return rows.with_columns(
        shop=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("a")).otherwise(pl.lit("b")),
        target_on=pl.lit(DAY),
    )


READS = ["mean_28", "price", "shop"]


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda rows: rows, []),
        (lambda rows: rows.drop("price"), [("column missing", "price")]),
        (lambda rows: rows.with_columns(pl.col("price").cast(pl.String)), [("column retyped", "price")]),
        (lambda rows: rows.with_columns(shop=pl.lit("c")), [("new category", "shop")]),
        (lambda rows: rows.with_columns(price=pl.lit(None, dtype=pl.Float64)), [("more nulls", "price")]),
        (lambda rows: pl.concat([rows, rows.head(1)]), [("duplicate key", "issued rows (series_id, issued_at, target_on)")]),
    ],
)  # fmt: skip
def test_each_fault_of_the_issued_rows_is_named_and_fails_the_check(break_it: object, told: list) -> None:
    random = np.random.default_rng(9)
    issued = break_it(watched(random, 1))  # pyright: ignore[reportCallIssue]
    drawn = Samples(watched(random, 20), (issued,))
    found = input_watch.input_faults(drawn, issued, READS)
    assert [(finding.kind, finding.where) for finding in found] == told
    verdict = input_watch.judge_faults(found, champion="7", as_of=DAY)
    assert verdict.passed == (not told)
    assert verdict.figures == {kind: 1.0 for kind, _ in told}
    for kind, where in told:
        assert f"{kind}: {where}" in verdict.about


def test_a_feature_that_the_definition_reads_more_is_told_and_fails_nothing() -> None:
    random = np.random.default_rng(10)
    issued = watched(random, 1).with_columns(age=pl.lit(1.0))
    found = input_watch.input_faults(Samples(watched(random, 20), (issued,)), issued, READS, defined=[*READS, "age"])
    assert [finding.told for finding in found] == ["column added: age: Float64, expected none"]
    assert input_watch.judge_faults(found, champion="7", as_of=DAY).passed


def test_many_faults_are_counted_and_the_first_are_told() -> None:
    found = [Finding("more nulls", f"f{at}", "90%", "1%") for at in range(5)]
    verdict = input_watch.judge_faults(found, champion="7", as_of=DAY)
    assert (verdict.statistic, verdict.figures) == (5.0, {"more nulls": 5.0})
    assert verdict.about.endswith("; and 2 more")


def test_a_fault_is_no_drift() -> None:
    """A feed gone missing, or text where numbers were, would ask for a retraining that learns it."""
    random = np.random.default_rng(11)
    issued = watched(random, 1).with_columns(pl.col("mean_28").cast(pl.String), price=pl.lit(None, dtype=pl.Float64))
    found = input_watch.input_drift(watched(random, 20), issued, READS)
    assert found["feature"].to_list() == ["price", "shop"]
    assert not found["has_drifted"].any()


# --- reference windows -----------------------------------------------------------------------------------------------


def test_the_windows_lie_where_their_names_say() -> None:
    first, last = reference_window.window_of("last_year", DAY, 28)
    assert (last - first).days + 1 == reference_window.WINDOW_DAYS
    middle = first + (last - first) / 2
    assert (DAY - middle).days == 364
    assert middle.weekday() == DAY.weekday()
    first, last = reference_window.window_of("previous", DAY, 28)
    assert (DAY - last).days == 28  # the targets of its last issue have come
    assert (last - first).days + 1 == reference_window.WINDOW_DAYS


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"reference": "last_week"}, "expected one of training, last_year, previous"),
        ({"refrence": "training"}, "refrence"),
    ],
)
def test_settings_that_nobody_knows_are_refused(mapping: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        MonitoringSettings.from_mapping(mapping)


def test_the_training_set_is_the_reference_where_nothing_is_said() -> None:
    assert MonitoringSettings.from_mapping({}).reference == "training"
