"""Segments judged as wholes: what comes to all is the world, what comes to one at once is its feed."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.science.faults import Fault, Statement, find, segment_of, totals

START, DAYS = date(2024, 1, 1), 60
ONSET = START + timedelta(days=40)
NAMES = ("a", "b", "c", "d")
TEN = {"units": 10.0}
Change = dict[tuple[str, int], dict[str, float]]


def at(on: date) -> datetime:
    return datetime(on.year, on.month, on.day, tzinfo=UTC) + timedelta(days=1)


def sales(change: Change, *, seed: int = 0, names: tuple[str, ...] = NAMES, days: int = DAYS) -> pl.DataFrame:
    """Twenty products in each store; a change multiplies a store's units, lines or series of a day."""
    rng = np.random.default_rng(seed)
    rows = []
    for day in range(days):
        on = START + timedelta(days=day)
        busy = (0.8, 0.8, 0.9, 1.0, 1.3, 1.6, 0.7)[on.weekday()]
        for store, name in enumerate(names):
            told = change.get((name, day), {})
            for product in range(20):
                units = float(rng.poisson(busy * (3 + store)))
                lines = max(1, int(units * 0.8))
                if told.get("series", 1.0) > 0:
                    units, lines = units * told.get("units", 1.0), lines * told.get("lines", 1.0)
                    rows.append((f"{name}/p{product}", on, at(on), units, int(lines), max(1, int(lines / told.get("lines", 1.0)))))  # fmt: skip
    schema = {
        "series_id": pl.String, "period_on": pl.Date, "known_at": pl.Datetime("us", "UTC"), "units": pl.Float64,
        "lines": pl.Int64, "tickets": pl.Int64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def found(change: Change, **options: int) -> list[tuple[str, int, str]]:
    sums = totals(sales(change, **options), 0)  # pyright: ignore[reportArgumentType]
    return [(one.segment, (one.period_on - START).days, one.kind) for one in find(sums.clear(), sums)]


def over(names: str, days: range, what: dict[str, float]) -> Change:
    return {(name, day): what for name in names for day in days}


SPELL = range(40, 50)
TABLE: list[tuple[str, Change, list[tuple[str, str]]]] = [
    ("a sound world", {}, []),
    ("ten times in one store, from the first day on", over("b", SPELL, TEN), [("b", "units")]),
    ("a tenth in one store", over("c", SPELL, {"units": 0.1}), [("c", "units")]),
    ("dozens for units", over("d", SPELL, {"units": 12.0}), [("d", "units")]),
    ("a promotion that doubles one store", over("b", SPELL, {"units": 2.0}), []),
    ("an anniversary: three times", over("b", range(40, 42), {"units": 3.0}), []),
    ("a step for all", over("abcd", range(40, 60), {"units": 1.5}), []),
    ("Christmas: all sell four times as much", over("abcd", SPELL, {"units": 4.0}), []),
    ("all but one are ten times: those who left their past", over("abc", range(40, 41), {"units": 10.0}), []),
    ("lines twice in all", over("abcd", SPELL, {"lines": 2.0, "units": 2.0}), [(name, "repeats") for name in "abcd"]),
    ("lines twice in one", over("a", SPELL, {"lines": 2.0, "units": 2.0}), [("a", "repeats")]),
    ("no feed of one", over("d", SPELL, {"series": 0.0}), [("d", "silence")]),
    ("all closed but one: no gap of theirs", over("abc", range(40, 41), {"series": 0.0}), []),
    ("closed each Monday since it opened", over("a", range(0, 60, 7), {"series": 0.0}), []),
]


@pytest.mark.parametrize(("change", "expected"), [case[1:] for case in TABLE], ids=[case[0] for case in TABLE])
def test_truth_table(change: Change, expected: list[tuple[str, str]]) -> None:
    days = sorted({day for _, day in change})
    assert found(change) == sorted((name, day, kind) for name, kind in expected for day in days)


def test_a_long_fault_is_found_to_its_last_day() -> None:
    """Its own known past lies before it, the others' last days within it: both are compared on the days of the former."""
    assert found(over("b", range(40, 85), TEN), days=90) == [("b", day, "units") for day in range(40, 85)]


@pytest.mark.parametrize("factor", [10.0, 0.1])
@pytest.mark.parametrize("seed", range(6))
def test_a_store_that_varies_much_is_found_by_days_in_a_row(seed: int, factor: float) -> None:
    """No day of it lies six deviations off; believed for weeks, the wrong sums would be the usual ones and the right ones wrong."""
    noise = np.exp(0.45 * np.random.default_rng(seed).normal(size=DAYS))
    level = np.where(np.isin(np.arange(DAYS), SPELL), factor, 1.0)
    days = [
        day for _, day, _ in found({("d", day): {"units": noise[day] * level[day]} for day in range(DAYS)}, seed=seed)
    ]
    assert set(range(SPELL.start + 3, SPELL.stop)) <= {*days} <= {*SPELL}


def test_who_comes_back_to_what_was_usual_before_is_not_at_fault() -> None:
    """A store that grew day by day to six times, such as a resort's, and loses it at once at the season's end."""
    days, level = 150, np.ones(150)
    level[60:90], level[90:115] = np.linspace(1.0, 6.0, 30), 6.0
    change = {("b", day): {"units": float(level[day])} for day in range(days)}
    assert found(change, days=days) == []
    wrong = found(change | over("b", range(146, 149), {"units": 20.0}), days=days)
    assert wrong == [("b", day, "units") for day in range(146, 149)]


@pytest.mark.parametrize(
    ("believed", "spell"),
    [(range(3), range(100, 110)), (range(7), range(60, 70)), (range(60, 63), range(98, 108))],
    ids=["before anything could be judged", "an opening week", "lifted by hand, five weeks before"],
)
def test_a_few_wrong_days_that_are_believed_hide_no_later_fault(believed: range, spell: range) -> None:
    sums = totals(sales(over("b", believed, TEN) | over("b", spell, TEN), days=130), 0)
    first, last = (START + timedelta(days=day) for day in (believed[0], believed[-1]))
    said = Statement("b", first, last, is_unknown=False, at=at(START))
    wrong = find(sums.clear(), sums, statements=[said])
    assert {(one.period_on - START).days for one in wrong if one.segment == "b"} == {*spell}
    assert {one.segment for one in wrong} == {"b"}


def test_two_stores_tell_which_one() -> None:
    sums = totals(sales(over("a", SPELL, TEN), names=("a", "b")), 0)
    assert {one.segment for one in find(sums.clear(), sums)} == {"a"}


def test_who_is_wrong_is_told_first_and_the_others_are_not_compared_with_it() -> None:
    """Of three stores the first sells 40% on a day on which the second's sums are by a hundred: beside that one it is a tenth."""
    change: Change = {("a", 43): {"units": 0.4}, ("b", 43): {"units": 100.0}}
    assert found(change, names=("a", "b", "c")) == [("b", 43, "units")]  # pyright: ignore[reportArgumentType]


def test_a_chain_without_segments_is_judged_by_its_receipts_alone() -> None:
    for change, expected in ((over("abcd", SPELL, TEN), 0), (over("abcd", SPELL, {"lines": 2.0, "units": 2.0}), 10)):
        sums = totals(sales(change), None)
        assert len(find(sums.clear(), sums)) == expected


def test_an_opening_and_a_closing_store() -> None:
    """A new store is judged when it has a past; one that is gone for good is doubted for three months, then believed."""
    opens = over("c", range(45), {"series": 0.0})
    assert found(opens) == []
    gone = [day for _, day, _ in found(over("c", range(60, 240), {"series": 0.0}), days=240)]
    assert gone == list(range(60, gone[-1] + 1))
    assert 80 < len(gone) < 130


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.6, 1.0, 1.5, 3.0, 8.0]), st.sampled_from(NAMES), st.booleans())
def test_a_change_of_all_hides_and_makes_no_fault(seed: int, level: float, store: str, is_faulty: bool) -> None:
    world = over("abcd", range(40, 50), {"units": level})
    if is_faulty:
        world |= over(store, range(40, 50), {"units": level * 10})
    expected = [(store, day, "units") for day in range(40, 50)] if is_faulty else []
    assert found(world, seed=seed) == expected


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**6), st.integers(30, 58))
def test_increments_say_what_a_bulk_run_says(seed: int, cut: int) -> None:
    """What was found before stands in sales as unknown; the rest is judged on it."""
    sold = sales(over("b", range(33, 52), TEN) | over("d", range(44, 47), {"series": 0.0}), seed=seed)
    whole = find(totals(sold, 0).clear(), totals(sold, 0))
    on = START + timedelta(days=cut)
    early = sold.filter(pl.col("period_on") < on)
    first = find(totals(early, 0).clear(), totals(early, 0))
    doubted = {(one.segment, one.period_on) for one in first}
    is_doubted = pl.struct(segment_of(0).alias("s"), "period_on").map_elements(
        lambda row: (row["s"], row["period_on"]) in doubted, return_dtype=pl.Boolean
    )
    nothing = [pl.when(~is_doubted).then(pl.col(name)).alias(name) for name in ("units", "lines", "tickets")]
    silent = pl.concat([early.head(1).with_columns(
        series_id=pl.lit(f"{name}/p0"), period_on=pl.lit(day), known_at=pl.lit(at(day), dtype=pl.Datetime("us", "UTC")), units=pl.lit(None, dtype=pl.Float64),
        lines=pl.lit(None, dtype=pl.Int64), tickets=pl.lit(None, dtype=pl.Int64),
    ) for name, day in sorted(doubted) if name == "d"] or [early.clear()])  # fmt: skip
    standing = pl.concat([early.with_columns(nothing), silent])
    second = find(totals(standing, 0), totals(sold.filter(pl.col("period_on") >= on), 0))
    assert first + second == sorted(first + second, key=lambda one: (one in second, one))
    assert sorted(first + second) == whole


def test_the_last_statement_counts() -> None:
    sold = sales(over("b", SPELL, TEN))
    sums = totals(sold, 0)
    lifted = Statement("b", ONSET, ONSET + timedelta(days=3), False, at(START))
    days = [(one.period_on - START).days for one in find(sums.clear(), sums, statements=[lifted])]
    assert days == list(range(44, 50))
    again = Statement("", ONSET, None, True, at(ONSET))
    assert find(sums.clear(), sums, statements=[lifted, again]) == []  # somebody speaks for all of it


def test_what_it_says() -> None:
    said: Callable[..., Fault] = lambda kind, factor: Fault("b", ONSET, kind, factor, at(ONSET))  # noqa: E731
    assert "9.87 times" in said("units", 9.8654).told
    assert "twice" not in said("repeats", 2.0).told
    assert said("silence", 0.0).told == "no lines, where a usual period has many"
