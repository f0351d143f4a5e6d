"""What a backtest's trainings learn from, are judged on and are heard by, on a small world with one store's faulty week."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from platform_assets import backtest_history, backtest_rows
from platform_assets.backtest_fitting import Job, score_each
from platform_assets.backtest_matrix import Matrix, Trainings, matrix_of
from platform_assets.backtest_rows import Weeks, weeks_of
from platform_assets.backtesting import recipe_of
from platform_assets.components.service_features import services
from platform_assets.errors import DataError
from platform_assets.reproduction import spec_of
from platform_assets.science import replay
from platform_assets.science.demand import columns, features, season
from platform_assets.science.demand.masks import Mask
from platform_assets.science.point_in_time import View, join
from platform_assets.science.replay import Training
from platform_assets.science.tasks import TASKS
from platform_assets.science.train_on import DENSE, EVENLY
from resources.artifacts import Artifacts
from resources.compute import ComputeProfiles

FIRST, DAYS, WEEKS, LEAD, ROWS = date(2025, 1, 6), 196, 12, 3, 900
WRONG = [FIRST + timedelta(days=DAYS - 21 + day) for day in range(7)]  # of store_01, found when they arrived
SMALL = {"network_share": 0, "rounds": 2, "first_rounds": 2, "min_leaf_rows": 20}
OFFER = dict.fromkeys(columns.VIEWS["offer"], pl.Float64)


def sales() -> pl.DataFrame:
    draws, rows = np.random.default_rng(5), []
    for store in ("store_01", "store_02"):
        for sku in range(8):
            units = draws.poisson(2 + sku, DAYS)
            for day in range(DAYS):
                on = FIRST + timedelta(days=day)
                is_wrong = store == "store_01" and on in WRONG
                rows.append((f"{store}/sku_{sku}", on, None if is_wrong else float(units[day])))
    frame = pl.DataFrame(rows, schema={"series_id": pl.String, "period_on": pl.Date, "units": pl.Float64}, orient="row")
    ends = pl.col("period_on").dt.offset_by("1d").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return frame.with_columns(
        ends.alias("event_at"),
        ends.alias("known_at"),
        pl.when(pl.col("units").is_not_null()).then(2.5).alias("price"),
        pl.lit(None, dtype=pl.Boolean).alias("is_promoted"),
        pl.lit(None, dtype=pl.Float64).alias("stock"),
        pl.lit(None, dtype=pl.Int64).alias("lines"),
    )


class Kept(dict[str, bytes]):
    """Artifacts in memory."""

    def put(self, key: str, content: bytes) -> None:
        self[key] = content

    def get(self, key: str) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        if key not in self:
            raise DataError(f"{key}: not there")
        return self[key]

    put_frame, get_frame = Artifacts.put_frame, Artifacts.get_frame


@pytest.fixture(scope="module")
def res() -> Any:
    """Resources whose features are the platform's own, computed from these sales."""
    sold = sales().lazy()
    found = {
        "demand_history": features.demand_history(sold),
        "price_history": features.price_history(sold),
        "season": season.season(sold),
    }
    names = {view: [one for one in columns.VIEWS[view] if one != "recent_units"] for view in found}
    views = [View(view, frame.collect(), columns.ENTITY_KEYS[view], names[view]) for view, frame in found.items()]
    assert {*found, "offer"} == {*services()["demand_v1"]}

    def historical(rows: pl.DataFrame, service: str) -> pl.DataFrame:
        offered = [pl.lit(None, dtype=kind).alias(name) for name, kind in OFFER.items()]
        return join(rows, views, at="issued_at").with_columns(offered)

    now = datetime.combine(FIRST + timedelta(days=DAYS), time(), UTC)
    return SimpleNamespace(
        tables=SimpleNamespace(scan=lambda name, version=None: sold),
        clock=SimpleNamespace(now=lambda: now),
        feature_store=SimpleNamespace(historical=historical),
        source=SimpleNamespace(name="shop", period_days=1, holidays=None, timezone="UTC", segment_position=0),
        ledger=SimpleNamespace(quarantines=lambda source: []),
        compute=ComputeProfiles(),
        artifacts=Kept(),
    )


@pytest.fixture(scope="module")
def spec() -> Any:
    small, rows, told = recipe_of(spec_of("demand"), None, is_whole=False)
    assert (rows, small.parameters["network_share"], told[:20]) == (20_000, 0, "at most 20,000 rows,"), "of defs.yaml"
    return replace(small, parameters=SMALL)


@pytest.fixture(scope="module")
def weeks(res: Any, spec: Any) -> Weeks:
    return weeks_of(spec, res, WEEKS, 1000, lambda line: None)


@pytest.fixture(scope="module")
def matrix(res: Any, spec: Any, weeks: Weeks) -> Matrix:
    return matrix_of(
        Trainings(spec, res, weeks, ROWS), print, lead=LEAD, usually=EVENLY, first_look=lambda rough: "rough"
    )


def is_faulty(rows: pl.DataFrame) -> pl.Series:
    is_store = rows["series_id"].str.starts_with("store_01/")
    return is_store & rows["target_on"].is_in(WRONG)


def test_what_was_under_quarantine_is_neither_learned_from_nor_judged_nor_heard(
    res: Any, spec: Any, weeks: Weeks, matrix: Matrix
) -> None:
    judged, trainings = weeks.judge.rows, matrix.trainings
    assert not is_faulty(judged).any()
    of_week = judged.filter(pl.col("target_on").is_in(WRONG))
    assert of_week.height == 7 * 8, "the other store's rows of these days judge"
    for on in (EVENLY, DENSE):
        learned = trainings.rows_of(Training(WEEKS - 1, on))
        assert learned.height > 300
        assert not is_faulty(learned).any()
        assert learned.filter(pl.col("target_on").is_in(WRONG)).height
    first = trainings.results(Training(0, EVENLY))
    days = first.group_by("day", "part").agg(pl.col("rows").sum())
    heard = {(day, part): rows for day, part, rows in days.iter_rows()}
    assert all((day, "store_01") not in heard and heard[day, "store_02"] == 8 for day in WRONG)
    assert heard[WRONG[0] - timedelta(days=1), "store_01"] == 8


def test_never_is_charged_on_what_is_known(spec: Any, weeks: Weeks, matrix: Matrix) -> None:
    """The first training's losses are those of its forecasts of the rows with labels, and the gate compares these."""
    judge, job = weeks.judge, Job(LEAD, weeks.cuts[LEAD])
    scored = replace(judge, spec=spec).score(matrix.trainings.fit, job)
    rows = judge.rows.filter(judge.later(LEAD)).with_columns(lost=scored.loss)
    never = matrix.losses.charged().loss[0]
    assert never.sum() == pytest.approx(rows["lost"].sum())
    place = {series: at for at, series in enumerate(judge.rows["series_id"].unique().sort())}
    for (week_on, series), part in rows.group_by("week_on", "series_id"):
        at = weeks.starts.index(week_on) - LEAD  # pyright: ignore[reportArgumentType]
        assert never[at, place[series]] == pytest.approx(part["lost"].sum())
    of_store = [place[f"store_01/sku_{sku}"] for sku in range(8)]
    wholly = [at for at, on in enumerate(weeks.starts) if {on + timedelta(days=day) for day in range(7)} <= {*WRONG}]
    assert (matrix.losses.loss[0][wholly][:, of_store] == 0).all()


def test_lags_after_the_quarantine_are_those_of_a_world_without_the_figures(weeks: Weeks, spec: Any) -> None:
    after = weeks.judge.rows.filter(pl.col("issued_at").dt.date() == WRONG[-1] + timedelta(days=1))
    level = {
        part: after.filter(pl.col("series_id").str.starts_with(part))["level"] for part in ("store_01", "store_02")
    }
    assert after.height
    assert level["store_01"].mean() == pytest.approx(level["store_02"].mean(), rel=0.15), "no week of zeros in it"


def test_what_was_issued_before_a_quarantine_by_hand_is_left_out(
    res: Any, spec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = datetime.combine(FIRST + timedelta(days=DAYS - 30), time(), UTC)
    mask = Mask(since, since + timedelta(days=9), "store_02/")
    monkeypatch.setattr("platform_assets.components.quarantine_masks.masks_of", lambda *of: [mask])
    masked = weeks_of(spec, res, WEEKS, 1000, lambda line: None)
    for rows in (masked.judge.rows, Trainings(spec, res, masked, ROWS).fit):
        assert rows.height
        assert rows.filter(mask.covers()).is_empty()


def test_the_replayed_error_check_hears_productions_signals(spec: Any, matrix: Matrix) -> None:
    """Not of losses alone: coverage, prices and weekdays are in what it is given."""
    history = backtest_history.history_of(matrix, 1, lambda line: None)
    assert history.results is not None
    assert history.task is TASKS[spec.task]
    heard = replay._results(history, Training(LEAD, EVENLY), LEAD, WEEKS - 1)
    assert {"below q950", "error", "price", "part"} <= {*heard.columns}
    assert heard["day"].min() == matrix.losses.periods[LEAD]
    assert heard["loss"].sum() == pytest.approx(matrix.losses.loss[LEAD][LEAD : WEEKS - 1].sum())
    assert heard["baseline_loss"].sum() == pytest.approx(matrix.losses.baseline[LEAD : WEEKS - 1].sum())


def test_the_quantiles_of_another_version_change_and_ones_own_do_not(matrix: Matrix) -> None:
    old, new = Training(LEAD, EVENLY), Training(LEAD + 2, EVENLY)
    assert matrix.trainings.change(old, new) > 0
    assert matrix.trainings.change(new, new) == 0


def test_a_second_call_trains_nothing_and_few_series_judge_where_few_are_asked(
    res: Any, spec: Any, weeks: Weeks, matrix: Matrix
) -> None:
    told = list[str]()
    again = matrix_of(
        Trainings(spec, res, weeks, ROWS), told.append, lead=LEAD, usually=EVENLY, first_look=lambda rough: "rough"
    )
    assert sum("kept from before" in line for line in told) == WEEKS
    assert told.index("rough") == 3, "after the trainings of every fourth week"
    np.testing.assert_array_equal(again.losses.loss, matrix.losses.loss)
    few = weeks_of(spec, res, WEEKS, 3, lambda line: None)
    assert few.shape == (WEEKS, 3)
    assert {*few.judge.rows["series_id"]} < {*weeks.judge.rows["series_id"]}


@pytest.mark.long
def test_processes_of_their_own_give_the_same(matrix: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [Job(number, matrix.known_at[number]) for number in range(WEEKS)]
    alone = [scored for _, scored in ((job, matrix.trainings.judge.score(matrix.trainings.fit, job)) for job in jobs)]
    monkeypatch.setattr("platform_assets.backtest_fitting.cores", lambda: 2)
    beside = dict(score_each(matrix.trainings.judge, matrix.trainings.fit, jobs))
    for job, one in zip(jobs, alone, strict=True):
        np.testing.assert_array_equal(one.loss, beside[job].loss)
        assert one.results.equals(beside[job].results)


def test_weeks_that_were_closed_throughout_are_passed_over() -> None:
    holidays = [date(2025, 12, 24) + timedelta(days=day) for day in range(12)]
    days = [date(2025, 11, 1) + timedelta(days=day) for day in range(90)]
    found = backtest_rows.origins_of([day for day in days if day not in holidays and day.weekday() != 5], 12)
    november = [(11, 6), (11, 13), (11, 20), (11, 27)]
    assert [(on.month, on.day) for on in found] == [*november, (12, 4), (12, 11), (12, 18), (1, 8), (1, 15), (1, 22)]


def test_which_series_judge_is_no_matter_of_order() -> None:
    names = pl.Series([f"s{at}" for at in range(50)])
    assert backtest_rows._chosen(names, 7) == backtest_rows._chosen(names.reverse(), 7)
