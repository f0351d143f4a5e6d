"""Hashes see every change of content and no change of layout."""

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_assets.errors import CorruptModelError, EmptyFrameError, ModelError
from platform_assets.science.fingerprint import check_files, content_hash, file_hashes, files_hash, probe

FRAME = pl.DataFrame(
    {
        "series_id": ["a/b", None, "", "ä"],
        "units": [1.5, None, 0.0, float("nan")],
        "recent": pl.Series([[1.0, 2.0], [], None, [None]], dtype=pl.List(pl.Float32)),
        "on": [date(2024, 1, 1), None, date(2024, 1, 3), date(2024, 1, 4)],
        "at": [datetime(2024, 1, 1, tzinfo=UTC)] * 3 + [None],
        "is_open": [True, False, None, True],
        "nested": [{"a": 1, "b": "x"}, {"a": None, "b": "y"}, {"a": 3, "b": None}, {"a": 4, "b": "z"}],
        "nothing": [None] * 4,
    }
)


def test_chunks_and_slices_do_not_count():
    halves = pl.concat([FRAME[:2], FRAME[2:]], rechunk=False)
    longer = pl.concat([FRAME, FRAME])[4:]
    assert content_hash(halves) == content_hash(FRAME) == content_hash(longer) == content_hash(FRAME.clone())


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(FRAME.reverse(), id="row order"),
        pytest.param(FRAME.select(reversed(FRAME.columns)), id="column order"),
        pytest.param(FRAME[:3], id="a row less"),
        pytest.param(FRAME.drop("nothing"), id="a column less"),
        pytest.param(FRAME.rename({"units": "sales"}), id="a name"),
        pytest.param(FRAME.with_columns(pl.col("units").cast(pl.Float32)), id="a type"),
        pytest.param(FRAME.with_columns(pl.col("units").fill_null(0.0)), id="null is not zero"),
        pytest.param(FRAME.with_columns(pl.col("units").fill_nan(None)), id="null is not NaN"),
        pytest.param(FRAME.with_columns(pl.col("series_id").fill_null("")), id="null is not an empty text"),
        pytest.param(FRAME.with_columns(pl.col("recent").fill_null([])), id="null is not an empty list"),
        pytest.param(
            FRAME.with_columns(pl.Series("recent", [[1.0], [2.0], None, [None]], dtype=pl.List(pl.Float32))),
            id="list borders",
        ),
        pytest.param(FRAME.with_columns(pl.Series("series_id", ["a", None, "/b", "ä"])), id="text borders"),
        pytest.param(FRAME.with_columns(pl.col("at").dt.convert_time_zone("Europe/Paris")), id="a zone"),
        pytest.param(FRAME.with_columns(pl.col("nested").struct.with_fields(pl.field("a") + 1)), id="inside a struct"),
    ],
)
def test_every_change_of_content_counts(changed: pl.DataFrame):
    assert content_hash(changed) != content_hash(FRAME)


def test_the_hash_is_the_same_tomorrow():
    """A manifest written by one release is compared by the next: the hash of a frame is part of the format."""
    frame = pl.DataFrame({"a": [1.0, None], "b": ["x", "y"], "c": [[1, 2], []]})
    assert content_hash(frame) == "86a3f3cb849fe2fe1d32f59cfbd663a8fd0e4e89a8c0264b9b544617ef40e069"


@given(
    st.lists(st.lists(st.one_of(st.none(), st.integers(-3, 3)), max_size=3), max_size=4),
    st.lists(st.lists(st.one_of(st.none(), st.integers(-3, 3)), max_size=3), max_size=4),
)
def test_lists_hash_equal_only_if_equal(left: list[list[int | None]], right: list[list[int | None]]):
    hashes = [content_hash(pl.DataFrame({"a": pl.Series(one, dtype=pl.List(pl.Int64))})) for one in (left, right)]
    assert (hashes[0] == hashes[1]) == (left == right)


@given(
    st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=4),
    st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=4),
)
def test_texts_hash_equal_only_if_equal(left: list[str | None], right: list[str | None]):
    hashes = [content_hash(pl.DataFrame({"a": pl.Series(one, dtype=pl.String)})) for one in (left, right)]
    assert (hashes[0] == hashes[1]) == (left == right)


def test_an_unknown_type_is_refused():
    with pytest.raises(ModelError, match="`blob`"):
        content_hash(pl.DataFrame({"blob": [b"x"]}))


def test_files_hash_counts_names_and_contents_not_their_order():
    assert files_hash({"a": b"1", "b": b"2"}) == files_hash({"b": b"2", "a": b"1"})
    assert files_hash({"a": b"1", "b": b"2"}) != files_hash({"a": b"2", "b": b"1"})
    assert files_hash({"a": b"1"}) != files_hash({"a": b"1", "b": b""})


def test_check_files_names_each_wrong_file():
    expected = file_hashes({"kept": b"1", "altered": b"2", "gone": b"3"})
    check_files({"kept": b"1", "altered": b"2", "gone": b"3"}, expected, where="demand@1")
    with pytest.raises(
        CorruptModelError, match=r"demand@1.*added: not in the manifest, altered: altered, gone: missing"
    ):
        check_files({"kept": b"1", "altered": b"x", "added": b""}, expected, where="demand@1")


@pytest.mark.parametrize(("height", "size", "expected"), [(5, 10, [0, 1, 2, 3, 4]), (10, 4, [0, 3, 6, 9]), (7, 1, [0])])
def test_probe_takes_even_steps(height: int, size: int, expected: list[int]):
    assert probe(pl.DataFrame({"row": range(height)}), size)["row"].to_list() == expected


def test_probe_needs_rows():
    with pytest.raises(EmptyFrameError):
        probe(pl.DataFrame({"row": []}))
