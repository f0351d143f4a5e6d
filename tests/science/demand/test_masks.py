"""Rows within a mask are neither learned from nor judged by; all others stay as they are."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from platform_assets.errors import ConfigurationError
from platform_assets.science.demand.masks import Mask, masked, not_in

START = datetime(2025, 3, 1, tzinfo=UTC)
HOURS = st.integers(0, 60)
SERIES = st.sampled_from(["1/a", "1/b", "10/a", "2/a"])


def at(hours: int) -> datetime:
    return START + timedelta(hours=hours)


MASKS = st.lists(
    st.builds(
        lambda since, length, series: Mask(at(since), None if length is None else at(since + length), series),
        HOURS, st.none() | st.integers(1, 30), st.sampled_from(["", "1/", "1", "2/a"]),
    ),
    max_size=4,
)  # fmt: skip
ROWS = st.lists(st.tuples(SERIES, HOURS), max_size=30)


def frame(rows: list[tuple[str, int]]) -> pl.DataFrame:
    return pl.DataFrame(
        {"series_id": [name for name, _ in rows], "issued_at": [at(hours) for _, hours in rows], "n": range(len(rows))},
        schema={"series_id": pl.String, "issued_at": pl.Datetime("us", "UTC"), "n": pl.Int64},
    )


def is_within(mask: Mask, series: str, issued: datetime) -> bool:
    return mask.since <= issued and (mask.until is None or issued < mask.until) and series.startswith(mask.series)


@settings(max_examples=150, deadline=None)
@given(ROWS, MASKS)
def test_what_stays_equals_a_loop(rows: list[tuple[str, int]], masks: list[Mask]) -> None:
    kept = [n for n, (series, hours) in enumerate(rows) if not any(is_within(m, series, at(hours)) for m in masks)]
    assert_frame_equal(masked(frame(rows), masks), frame(rows).filter(pl.col("n").is_in(kept)))


@settings(max_examples=150, deadline=None)
@given(ROWS, MASKS, MASKS)
def test_a_mask_that_another_contains_takes_no_further_row(
    rows: list[tuple[str, int]], masks: list[Mask], others: list[Mask]
) -> None:
    taken = masked(frame(rows), others)
    contained = [mask for mask in masks if mask not in not_in(masks, others)]
    assert_frame_equal(masked(taken, contained), taken)
    assert not_in(masks, masks) == []


@settings(max_examples=50, deadline=None)
@given(MASKS)
def test_it_goes_through_json(masks: list[Mask]) -> None:
    kept = json.loads(json.dumps([mask.to_dict() for mask in masks]))
    assert [Mask.from_dict(raw) for raw in kept] == masks


def test_a_span_without_end_before_its_beginning_or_without_zone() -> None:
    assert masked(frame([("1/a", 5), ("1/a", 4)]), [Mask(at(5))])["n"].to_list() == [1]
    with pytest.raises(ConfigurationError, match="not after"):
        Mask(at(5), at(5))
    with pytest.raises(ConfigurationError, match="no time zone"):
        Mask(datetime(2025, 3, 1))
