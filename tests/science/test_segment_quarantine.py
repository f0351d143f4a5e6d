"""The record of quarantined periods, what it makes unknown in sales, and that it holds every retraining back."""

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from platform_assets.science import unknown
from platform_assets.science.faults import Fault, Statement
from platform_assets.science.retraining import PastRetraining, decide
from platform_assets.science.retraining_evidence import Quarantined, RetrainingEvidence, Signal
from platform_assets.science.retraining_policy import RetrainingPolicy
from platform_assets.science.sales import SALES, latest
from platform_assets.science.segment_quarantine import DETECTOR, News, news, spells, statements

ONE = date(2024, 3, 4)
NOW = datetime(2024, 4, 1, tzinfo=UTC)


def day(number: int) -> date:
    return ONE + timedelta(days=number)


def end(number: int) -> datetime:
    on = day(number + 1)
    return datetime(on.year, on.month, on.day, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    id: int
    segment: str
    first_on: date
    last_on: date | None
    action: str
    reason: str = "x10"
    who: str = DETECTOR
    evidence: dict[str, Any] = field(default_factory=dict)
    at: datetime = NOW


def fault(segment: str, number: int, factor: float = 10.0) -> Fault:
    return Fault(segment, day(number), "units", factor, end(number))


def test_what_is_found_day_by_day_is_one_spell() -> None:
    entries: list[Row] = []
    delivered = {day(n): end(n) for n in range(10)}
    for number in range(3):
        for one in news([fault("a", n) for n in range(number + 1)], entries, delivered, 1):
            entries.append(Row(len(entries), one.segment, one.first_on, one.last_on, one.action, one.reason, at=one.at))
    assert [(e.first_on, e.last_on, e.action) for e in entries] == [(day(n), day(n), "found") for n in range(3)]
    (spell,) = spells(entries)
    assert (spell.name, spell.status, spell.found_at) == ("a from 2024-03-04 to 2024-03-06", "standing", end(0))
    assert news([fault("a", n) for n in range(3)], entries, delivered, 1) == []  # the same again says nothing new


def test_a_mended_delivery_and_a_lift() -> None:
    entries = [Row(1, "a", day(0), day(3), "found"), Row(2, "b", day(0), day(1), "found")]
    (cleared,) = news(
        [fault("a", n) for n in range(4)] + [fault("b", 1)], entries, {day(n): end(n) for n in range(4)}, 1
    )
    assert (cleared.segment, cleared.first_on, cleared.action) == ("b", day(0), "cleared")
    told = [*entries, Row(3, "b", day(0), day(1), "cleared"), Row(4, "", day(0), day(9), "lifted", who="ann")]
    assert [(one.segment, one.status) for one in spells(told[:3])] == [
        ("a", "standing"),
        ("b", "mended by another delivery"),
    ]
    assert [one.status for one in spells(told)] == ["lifted", "lifted"]
    assert next(one.status for one in spells([*entries, replace(told[3], first_on=day(2))])) == "lifted in part"
    assert statements(told) == [Statement("", day(0), day(9), False, NOW)]
    assert news([], told, {day(n): end(n) for n in range(4)}, 1) == []  # somebody speaks for it


def test_what_was_found_in_a_row_is_told_once() -> None:
    (one,) = news([fault("a", n, 9.0 + n) for n in range(3)], [], {}, 1)
    assert isinstance(one, News)
    assert one.reason == "units are 9 times what they were, beside the other segments (first day; 3 in a row)"
    assert one.evidence["factors"] == {"2024-03-04": 9.0, "2024-03-05": 10.0, "2024-03-06": 11.0}


# Sales


def sold(rows: list[tuple[str, int, float]], known: datetime | None = None) -> pl.DataFrame:
    full = [
        {"series_id": series, "period_on": day(n), "event_at": end(n), "known_at": known or end(n), "units": units, "price": 2.0, "lines": 1}
        for series, n, units in rows
    ]  # fmt: skip
    return pl.DataFrame(full, schema=SALES).sort("period_on", "series_id")


WORLD = sold([(f"{store}/p", n, 5.0 + n) for store in "ab" for n in range(6)] + [("a/q", 0, 1.0), ("a/q", 5, 1.0)])
ENDS = WORLD.group_by("period_on").agg(delivered_at=pl.col("event_at").max())
NOBODY = pl.DataFrame(schema={"series_id": pl.String, "born_on": pl.Date})


def revised(old: pl.DataFrame, found: list[Fault], said: list[Statement], new: pl.DataFrame = WORLD) -> pl.DataFrame:
    return unknown.revisions(old, new, ENDS, found=found, statements=said, born=NOBODY, position=0)


def test_what_is_found_on_arrival_is_unknown_from_the_first_with_or_without_lines() -> None:
    table = revised(WORLD.clear(), [fault("a", 2)], [])
    hidden = table.filter(pl.col("units").is_null())
    assert hidden.select("series_id", "known_at").rows() == [("a/p", end(2)), ("a/q", end(2))]
    assert_frame_equal(table.filter(pl.col("units").is_not_null()), WORLD.filter(pl.col("units") != 7.0).vstack(
        WORLD.filter(pl.col("units") == 7.0, pl.col("series_id") == "b/p")).sort("period_on", "series_id"))  # fmt: skip
    assert_frame_equal(revised(table, [fault("a", 2)], []), table)


def test_said_by_hand_it_is_a_revision_and_a_lift_is_another() -> None:
    first = revised(WORLD.clear(), [], [])
    assert_frame_equal(first, WORLD)
    add = Statement("a", day(1), day(2), True, NOW)
    masked = revised(first, [], [add])
    assert_frame_equal(masked.filter(pl.col("known_at") < NOW), WORLD)
    assert latest(masked).filter(pl.col("units").is_null()).select("series_id", "period_on").rows() == [
        ("a/p", day(1)), ("a/q", day(1)), ("a/p", day(2)), ("a/q", day(2)),
    ]  # fmt: skip
    lift = Statement("", day(2), None, False, NOW + timedelta(days=1))
    lifted = revised(masked, [], [add, lift])
    assert_frame_equal(lifted.filter(pl.col("known_at") <= NOW), masked)
    back = {row[:2]: row[2] for row in latest(lifted).select("series_id", "period_on", "units").rows()}
    assert (back["a/p", day(2)], back["a/q", day(2)], back["a/p", day(1)]) == (7.0, 0.0, None)
    for table in (first, masked, lifted):  # whatever stood there before, the record alone decides
        assert_frame_equal(revised(table, [], [add, lift]), lifted)
    assert_frame_equal(revised(WORLD.clear(), [], [add, lift]), lifted)


def test_a_false_alarm_that_is_lifted_gives_the_values_back() -> None:
    found = [fault("a", 2)]
    kept = revised(revised(WORLD.clear(), found, []), found, [Statement("a", day(2), day(2), False, NOW)])
    assert kept.filter(period_on=day(2), series_id="a/p").select("units", "known_at").rows() == [
        (None, end(2)),
        (7.0, NOW),
    ]


# Retraining

CAUSES = st.lists(
    st.sampled_from([
        {"requests": ("r1",)}, {"signals": (Signal("drift", "7", "2024-03-01", 3.0, 0.0),)},
        {"signals": (Signal("error", "7", "2024-03-02", 3.0, 0.0),)}, {"code": "b", "trained_code": "a"},
        {"trained_until": NOW - timedelta(days=90), "rows_since_training": 10**6}, {"champion_version": None},
    ]), max_size=4,
)  # fmt: skip
POLICIES = st.sampled_from(
    [{}, {"when": ["drift", "error", "code", {"staleness": 28}, {"new_data": {"rows": 5}}], "cooldown_days": 0}]
)
UNREPAIRED = st.lists(
    st.builds(Quarantined, st.sampled_from(["a from x", "b from y"]), st.just("found: x10"), st.just("sales and features")),
    min_size=1, max_size=3,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(CAUSES, POLICIES, UNREPAIRED, st.integers(0, 60))
def test_a_quarantine_always_wins(
    causes: list[dict[str, Any]], policy: dict[str, Any], unrepaired: list[Quarantined], age: int
) -> None:
    evidence = RetrainingEvidence(now=NOW, champion_version="7")
    for change in causes:
        evidence = replace(evidence, **change)
    rules = RetrainingPolicy.from_mapping(policy)
    past = [PastRetraining("schedule", "1", NOW - timedelta(days=age))]
    held = decide(replace(evidence, quarantined=tuple(unrepaired)), rules, past)
    assert not held.retrain
    for one in unrepaired:
        assert any(one.name in said and "waits until sales and features" in said for said in held.reasons_against)
    assert decide(replace(evidence, quarantined=tuple(unrepaired[::-1])), rules, past) == held
    free = decide(evidence, rules, past)  # repaired: it goes on by itself, with the causes that it had
    assert set(free.causes) == set(held.causes)
    assert not free.retrain or "fires" in free.state[0]


@pytest.mark.parametrize("request_", [(), ("r1",)])
def test_a_request_by_hand_waits_and_is_heard_then(request_: tuple[str, ...]) -> None:
    evidence = RetrainingEvidence(now=NOW, champion_version="7", requests=request_)
    held = replace(
        evidence, quarantined=(Quarantined("a from 2024-03-04 to 2024-03-10", "found: x10", "sales and features"),)
    )
    rules = RetrainingPolicy.from_mapping({})
    assert not decide(held, rules).retrain
    told = "a from 2024-03-04 to 2024-03-10 is under quarantine: found: x10; waits until sales and features have been rebuilt"
    assert told in decide(held, rules).reasons_against
    assert decide(evidence, rules).retrain == bool(request_)
