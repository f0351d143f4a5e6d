"""Which rows each of the two fits learns from: what the choice says, counted back from its own cut."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from platform_assets import names
from platform_assets.components import training_set
from platform_assets.components.drawing import IS_TRIAL, ROW_KEY, fit_rows_of, to_fit_on
from platform_assets.components.training_choice import FACT, Drawn, chosen, drawn, tag_of, told
from platform_assets.errors import ConfigurationError
from platform_assets.science.demand.masks import Mask
from platform_assets.science.demand.sampling import live
from platform_assets.science.train_on import DENSE, EVENLY, TrainOn
from resources.tables import Tables

SPEC: Any = SimpleNamespace(
    name="demand", label="units", horizon_days=7, rows=4000, rows_per_series=250, seed=3, retraining={}
)
SOURCE: Any = SimpleNamespace(period_days=1)
FIRST_ON, DAYS = date(2024, 1, 1), 300
LAST_AT = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=DAYS)
CHOICES = st.builds(
    TrainOn,
    window_days=st.none() | st.integers(20, DAYS + 50),
    recent_days=st.integers(1, 90),
    recent_density=st.sampled_from([1.0, 2.0, 7.0, 20.0]),
)


@cache
def sales() -> pl.LazyFrame:
    """Twenty series that sell every day, so that every day of history is drawn alike."""
    days = [FIRST_ON + timedelta(days=n) for n in range(DAYS)]
    rows = pl.DataFrame({"series_id": [f"s{n:02d}" for n in range(20)]}).join(
        pl.DataFrame({"period_on": days}), how="cross"
    )
    end = (pl.col("period_on") + timedelta(days=1)).cast(pl.Datetime("us", "UTC"))
    return rows.with_columns(units=2.0, event_at=end, known_at=end).lazy()


def rows_of(how: Drawn, days_before: int = 56) -> pl.DataFrame:
    return to_fit_on(SPEC, SOURCE, sales(), how, LAST_AT - timedelta(days=days_before))


@settings(max_examples=25, deadline=None)
@given(CHOICES, st.integers(30, 120))
def test_each_fit_gets_what_it_would_have_been_given_at_its_cut(choice: TrainOn, days_before: int) -> None:
    """The fit that is judged is drawn as production would have drawn it when the window opened: the choice of then."""
    cut, how = LAST_AT - timedelta(days=days_before), Drawn(choice)
    drawn = rows_of(how, days_before)
    assert drawn.select(ROW_KEY).is_unique().all()
    shipped = drawn.filter(pl.col("purpose") == "fit").select(ROW_KEY)
    assert_frame_equal(shipped.sort(ROW_KEY), fit_rows_of(SPEC, SOURCE, sales(), how).select(ROW_KEY).sort(ROW_KEY))
    if choice.is_even:
        assert drawn[IS_TRIAL].all()
        return
    trial = drawn.filter(pl.col(IS_TRIAL)).select(ROW_KEY).sort(ROW_KEY)
    then = fit_rows_of(SPEC, SOURCE, sales().filter(pl.col("known_at") <= cut), how).select(ROW_KEY).sort(ROW_KEY)
    assert_frame_equal(trial, then)
    assert (trial["issued_at"] < cut).all()
    if choice.window_days is not None:
        assert (shipped["issued_at"] > LAST_AT - timedelta(days=choice.window_days)).all()
        assert (trial["issued_at"] > cut - timedelta(days=choice.window_days)).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(20, 90), st.sampled_from([2.0, 4.0, 7.0]))
def test_recent_days_get_their_share(recent_days: int, density: float) -> None:
    """As many rows of a recent day as of `density` earlier ones, in both fits."""
    drawn = rows_of(Drawn(TrainOn(recent_days=recent_days, recent_density=density)), days_before=60)
    for rows, until in (
        (drawn.filter(pl.col("purpose") == "fit"), LAST_AT),
        (drawn.filter(pl.col(IS_TRIAL)), LAST_AT - timedelta(days=60)),
    ):
        alive = live(sales().filter(pl.col("known_at") <= until))
        # Of the last days only such targets can be drawn as have come; they are left out here.
        since, end = until - timedelta(days=recent_days), until - timedelta(days=8)
        is_recent, is_earlier = pl.col("issued_at").is_between(since, end, "right"), pl.col("issued_at") <= since
        rate = [rows.filter(which).height / alive.filter(which).height for which in (is_recent, is_earlier)]
        assert rate[0] / rate[1] == pytest.approx(density, rel=0.25)


def test_masked_forecasts_are_in_neither_fit() -> None:
    mask = Mask(LAST_AT - timedelta(days=100), LAST_AT - timedelta(days=20), "s0")
    for choice in (EVENLY, DENSE):
        assert rows_of(Drawn(choice, (mask,))).filter(mask.covers()).is_empty()
        assert not rows_of(Drawn(choice)).filter(mask.covers()).is_empty()
    assert told([mask]) == "2024-07-19 00:00 to 2024-10-07 00:00, series s0..."


def test_a_runs_tag_comes_before_the_policy() -> None:
    spec: Any = SimpleNamespace(retraining={"train_on": {"window_days": 400}})
    assert chosen(spec, {}) == TrainOn(400)
    assert chosen(spec, {names.TAG_TRAIN_ON: tag_of(DENSE)}) == DENSE
    with pytest.raises(ConfigurationError, match=r"unknown key `perennial/train_on\.density`"):
        chosen(spec, {names.TAG_TRAIN_ON: '{"density": 3}'})
    with pytest.raises(ConfigurationError, match="is 'dense', expected JSON"):
        chosen(spec, {names.TAG_TRAIN_ON: "dense"})


def test_a_training_set_keeps_how_it_was_drawn_and_gives_each_fit_its_rows(tmp_path: Any) -> None:
    """A set of before this was kept has one kind of rows, of all history."""
    tables, table, how = Tables(str(tmp_path)), "demand/training_set", Drawn(DENSE, (Mask(LAST_AT, None, "s1"),))
    drawn_rows = rows_of(how)
    known = (pl.col("target_on") + timedelta(days=1)).cast(pl.Datetime("us", "UTC"))
    frame = drawn_rows.with_columns(units=1.0, label_known_at=known)
    tables.replace(table, frame, facts={FACT: how.to_json()})
    tables.replace(table, frame.filter(pl.col("purpose") == "fit").drop(IS_TRIAL))
    assert drawn(tables, table, 0) == how
    assert drawn(tables, table, 1) == Drawn(EVENLY)
    found = training_set.read_training_set(SPEC, tables, 0)
    for kind, which in (("shipped", pl.col("purpose") == "fit"), ("evaluation", pl.col(IS_TRIAL))):
        assert_frame_equal(found.rows_of(kind).select(ROW_KEY), drawn_rows.filter(which).select(ROW_KEY).sort(ROW_KEY))
        assert IS_TRIAL not in found.rows_of(kind).columns
    before = training_set.read_training_set(SPEC, tables, 1)
    assert before.trial is before.fit
