"""The point-in-time join against a naive loop, and what it refuses."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from platform_assets.errors import PointInTimeError
from platform_assets.science import as_of_search
from platform_assets.science.point_in_time import EVERYTHING_KNOWN, View, join, join_and_count, locate

TIME = pl.Datetime("us", "UTC")
# The last Sunday of March and of October: the hours around which clocks in London jump.
SPRING, AUTUMN = datetime(2024, 3, 31, tzinfo=UTC), datetime(2024, 10, 27, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def ask(
    entity: dict[str, Any], rows: list[dict[str, Any]], keys: list[str], ttl: timedelta | None, as_of: datetime | None
) -> int:
    """Position of the entity row's value by reading the rule aloud: filter, then the greatest."""
    best, greatest = -1, None
    for position, row in enumerate(rows):
        known = row["event_at"] if row["known_at"] is None else row["known_at"]
        if any(entity[key] is None or entity[key] != row[key] for key in keys):
            continue
        if row["event_at"] is None or entity["t"] is None or row["event_at"] > entity["t"]:
            continue
        if known > (entity["t"] if as_of is None else as_of):
            continue
        if greatest is None or (row["event_at"], known, position) > greatest:
            best, greatest = position, (row["event_at"], known, position)
    if best >= 0 and ttl is not None and rows[best]["event_at"] < entity["t"] - ttl:
        return -1
    return best


instants = st.one_of(
    st.integers(0, 6).map(lambda hours: SPRING + timedelta(hours=hours)),
    st.integers(0, 3).map(lambda hours: AUTUMN + timedelta(hours=hours)),
    st.integers(-2, 2).map(lambda n: SPRING + timedelta(hours=3) + n * MICROSECOND),
)
maybe = st.one_of(instants, instants, instants, st.none())
key = st.one_of(st.sampled_from(["a", "b", "c/d"]), st.sampled_from(["a", "b"]), st.none())
view_row = st.fixed_dictionaries({"k": key, "m": st.integers(0, 1), "event_at": maybe, "known_at": maybe})
entity_row = st.fixed_dictionaries({"k": key, "m": st.integers(0, 1), "t": maybe})
ttls = st.sampled_from([None, timedelta(0), timedelta(hours=1), timedelta(hours=3), timedelta(days=400), MICROSECOND])
view_rows = st.lists(view_row, max_size=12)


def as_written(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows in the order of an append log: by when they became known."""
    never = datetime.max.replace(tzinfo=UTC)
    return sorted(rows, key=lambda row: max(row["event_at"] or never, row["known_at"] or row["event_at"] or never))


worlds = st.tuples(
    st.lists(entity_row, max_size=8),
    st.one_of(view_rows, view_rows.map(as_written)),
    ttls,
    st.sampled_from([["k"], ["k", "m"], ["m"], []]),
    st.one_of(st.none(), st.none(), instants, st.just(EVERYTHING_KNOWN)),
)
ENTITY = {"k": pl.String, "m": pl.Int64, "t": TIME}
ROW = {"k": pl.String, "m": pl.Int64, "event_at": TIME, "known_at": TIME}


def check_against_the_loop(world: tuple[Any, ...]) -> None:
    entity_rows, rows, ttl, keys, as_of = world
    entities = pl.DataFrame(entity_rows, schema=ENTITY)
    frame = pl.DataFrame(rows, schema=ROW).with_row_index("position").cast({"position": pl.Int64})
    view = View("v", frame, keys, ["position"], ttl=ttl)
    wanted = [ask(entity, rows, keys, ttl, as_of) for entity in entity_rows]
    expected = entities.with_columns(
        pl.Series("position", [None if w < 0 else w for w in wanted], dtype=pl.Int64),
    )
    assert_frame_equal(join(entities, [view], at="t", as_of=as_of), expected)
    again = View("v", frame.lazy(), keys, ["position"], ttl=ttl, is_rereadable=True)
    assert_frame_equal(join(entities.lazy(), [again], at="t", as_of=as_of).collect(), expected)
    assert locate(entities, view, at="t", as_of=as_of).position.tolist() == wanted


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds)
def test_join_equals_a_naive_loop(world: tuple[Any, ...]) -> None:
    check_against_the_loop(world)


@pytest.mark.long
@settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds)
def test_join_equals_a_naive_loop_on_many_worlds(world: tuple[Any, ...]) -> None:
    check_against_the_loop(world)


@settings(max_examples=60, deadline=None)
@given(worlds)
def test_ranks_stand_in_for_times_that_do_not_fit_beside_the_key(world: tuple[Any, ...]) -> None:
    limit = as_of_search.PACK_LIMIT
    as_of_search.PACK_LIMIT = 1  # type: ignore[misc]
    try:
        check_against_the_loop(world)
    finally:
        as_of_search.PACK_LIMIT = limit  # type: ignore[misc]


@settings(max_examples=100, deadline=None)
@given(worlds, st.integers(1, 4))
def test_a_large_view_is_searched_a_range_of_keys_at_a_time(world: tuple[Any, ...], rows: int) -> None:
    at_once = as_of_search.ROWS_AT_ONCE
    as_of_search.ROWS_AT_ONCE = rows  # type: ignore[misc]
    try:
        check_against_the_loop(world)
    finally:
        as_of_search.ROWS_AT_ONCE = at_once  # type: ignore[misc]


def test_times_that_differ_by_less_than_fits_beside_the_position_are_sorted_too() -> None:
    """40,000 rows of 16 bits, 4,000 keys of 12 and times of 44 are ten bits too many: what is cut off decides last."""
    rng = np.random.default_rng(0)
    code = np.append(rng.integers(0, 4000, 40_000), [0, 3999])
    t = np.append(rng.integers(0, 3, 40_000) * 10**9 + rng.integers(0, 2000, 40_000), [0, 2**44 - 2])
    order, needles = as_of_search.sharpen(code, t)
    assert order is not None
    assert needles.packed is not None
    ranked = np.lexsort((t, code))
    for found, wanted in ((needles.code, code), (needles.t, t), (code[order], code), (t[order], t)):
        assert (found == wanted[ranked]).all()


@settings(max_examples=80, deadline=None)
@given(worlds, instants, st.integers(0, 2**32))
def test_perturbing_the_future_changes_nothing(world: tuple[Any, ...], cut: datetime, seed: int) -> None:
    """Rows that happen or become known after the cut are dropped, moved later and doubled: earlier answers stay."""
    entity_rows, rows, ttl, keys, _ = world
    rng = np.random.default_rng(seed)

    def is_future(row: dict[str, Any]) -> bool:
        times = [time for time in (row["event_at"], row["known_at"]) if time is not None]
        return bool(times) and max(times) > cut

    def perturbed(row: dict[str, Any]) -> list[dict[str, Any]]:
        later = cut + timedelta(hours=int(rng.integers(1, 90)))
        return [[], [row, row], [{**row, "known_at": later, "value": -1.0}], [{**row, "event_at": later}]][
            int(rng.integers(0, 4))
        ]

    stamped = [{**row, "value": float(n)} for n, row in enumerate(rows)]
    other = [copy for row in stamped for copy in (perturbed(row) if is_future(row) else [row])]
    entities = pl.DataFrame([e for e in entity_rows if e["t"] is None or e["t"] <= cut], schema=ENTITY)
    schema = {**ROW, "value": pl.Float64}
    answers = [
        join(entities, [View("v", pl.DataFrame(past, schema=schema), keys, ["value"], ttl=ttl)], at="t")
        for past in (stamped, other)
    ]
    assert_frame_equal(*answers)


def hour(n: float) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=n)


def at_hours(*hours: float, **columns: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({"t": [hour(h) for h in hours], **columns}, schema_overrides={"t": TIME})


def values(*rows: tuple[Any, float | None, float | None, Any]) -> pl.DataFrame:
    """Rows of (key, event hour, known hour, value)."""
    return pl.DataFrame(
        [{"k": k, "event_at": None if e is None else hour(e), "known_at": None if c is None else hour(c), "x": x}
         for k, e, c, x in rows],
        schema_overrides={"event_at": TIME, "known_at": TIME},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "asked", "expected", "why"),
    [
        ([("a", 1, 1, 1), ("a", 1, 5, 2)], [0, 1, 4, 5, 9], [None, 1, 1, 2, 2], "a correction counts from when it is known"),
        ([("a", 1, 5, 1), ("a", 2, 2, 2)], [1, 2, 5], [None, 2, 2], "a late value of an older event never comes back"),
        ([("a", 1, 9, 1), ("a", 2, 3, 2), ("a", 3, 4, 3)], [3, 4, 9], [2, 3, 3], "the greatest event that is known"),
        ([("a", 5, 1, 1)], [1, 4, 5], [None, None, 1], "known before it happens: still only when it happens"),
        ([("a", 1, None, 1)], [0, 1], [None, 1], "a null known-at time is the event time"),
        ([("a", 1, 2, 1), ("a", 1, 2, 2)], [2], [2], "the last row of the frame wins a tie of both times"),
        ([("a", 1, 3, 2), ("a", 1, 2, 1)], [2, 3], [1, 2], "known-at decides before the position does"),
    ],
)  # fmt: skip
def test_the_greatest_row_known_at_the_time_wins(
    rows: list[Any], asked: list[float], expected: list[Any], why: str
) -> None:
    entities = at_hours(*asked, k=["a"] * len(asked))
    joined = join(entities, [View("v", values(*rows), ["k"], ["x"])], at="t")
    assert joined["x"].to_list() == expected, why


def test_ttl_edge_is_inclusive_and_elapsed_time() -> None:
    """24 hours over the night in which London's clocks jump are 24 hours."""
    london = ZoneInfo("Europe/London")
    event = datetime(2024, 3, 30, 12, tzinfo=london)
    next_noon = datetime(2024, 3, 31, 12, tzinfo=london)  # 23 hours later
    frame = pl.DataFrame({"event_at": [event], "known_at": [event], "x": [1.0]})
    edge = event.astimezone(UTC) + timedelta(hours=24)
    entities = pl.DataFrame({"t": [next_noon.astimezone(UTC), edge, edge + MICROSECOND]})
    joined = join(entities, [View("v", frame, [], ["x"], ttl=timedelta(hours=24))], at="t")
    assert joined["x"].to_list() == [1.0, 1.0, None]


def test_rows_are_conserved_in_order_with_unknown_and_doubled_entities() -> None:
    entities = at_hours(3, 1, 3, 2, 3, k=["b", "a", "b", "nobody", None], note=[5, 4, 3, 2, 1])
    joined = join(entities, [View("v", values(("a", 1, 1, 1), ("b", 2, 2, 2)), ["k"], ["x"])], at="t")
    assert_frame_equal(joined.drop("x"), entities)
    assert joined["x"].to_list() == [2, 1, 2, None, None]


def test_views_with_composite_renamed_and_no_keys_join_in_one_call() -> None:
    pair = pl.DataFrame({"shop": [1, 1], "sku": ["x", "y"], "event_at": [hour(1)] * 2, "n": [1, 2]})
    world = pl.DataFrame({"event_at": [hour(0), hour(2)], "n": [7, 8]})
    entities = at_hours(1, 2, store=[1, 1], sku=["y", "x"])
    joined = join(
        entities.lazy(),
        [
            View("pair", pair, {"shop": "store", "sku": "sku"}, {"n": "count"}, known_at=None),
            View("world", world.lazy(), [], ["n"], known_at=None),
        ],
        at="t",
        full_feature_names=True,
    ).collect()
    assert joined.columns == ["t", "store", "sku", "pair__count", "world__n"]
    assert joined["pair__count"].to_list() == [2, 1]
    assert joined["world__n"].to_list() == [7, 8]


@pytest.mark.parametrize(
    ("asked", "offered"),
    [(pl.Int32, pl.Int64), (pl.UInt8, pl.Int64), (pl.Categorical, pl.String), (pl.Date, pl.Date), (pl.Boolean, pl.Boolean)],
)  # fmt: skip
def test_keys_of_kindred_types_match(asked: Any, offered: Any) -> None:
    raw: list[Any] = ["1", "0"] if asked == pl.Categorical else [1, 0]
    rows = values((None, 1, 1, 10), (None, 1, 1, 20)).with_columns(pl.Series("k", raw).cast(offered))
    entities = at_hours(1, 1).with_columns(pl.Series("k", raw[::-1]).cast(asked))
    assert join(entities, [View("v", rows, ["k"], ["x"])], at="t")["x"].to_list() == [20, 10]


def test_lists_structs_and_nan_arrive_as_they_are() -> None:
    rows = values(("a", 1, 1, 0), ("a", 2, 2, 0)).with_columns(
        recent=pl.Series([[1.0, None], []], dtype=pl.List(pl.Float32)),
        offer=pl.Series([{"p": 1, "q": "x"}, None], dtype=pl.Struct({"p": pl.Int64, "q": pl.String})),
        ratio=pl.Series([float("nan"), None], dtype=pl.Float64),
    )
    features = ["recent", "offer", "ratio"]
    joined = join(at_hours(0, 1, 2, k=["a"] * 3), [View("v", rows, ["k"], features)], at="t")
    assert joined["recent"].to_list() == [None, [1.0, None], []]
    assert joined["offer"].to_list() == [None, {"p": 1, "q": "x"}, None]
    assert joined["ratio"].is_nan().to_list() == [None, True, None]
    assert joined.select(features).schema == rows.select(features).schema


def test_as_of_knows_later_corrections_but_no_later_events() -> None:
    rows = values(("a", 1, 1, 1), ("a", 1, 5, 2), ("a", 3, 3, 3))
    entities = at_hours(2, k=["a"])
    view = View("v", rows, ["k"], ["x"])
    answers = [join(entities, [view], at="t", as_of=a)["x"].item() for a in (None, hour(4), hour(5), EVERYTHING_KNOWN)]
    assert answers == [1, 1, 2, 2]
    assert join_and_count(entities, [view], at="t", as_of=EVERYTHING_KNOWN)[1] == {"v": 1}


def test_an_empty_view_and_no_entity_rows_keep_the_schema() -> None:
    empty = values(("a", 1, 1, 1)).clear()
    view = View("v", empty.with_columns(recent=pl.lit(None, pl.List(pl.Float32))), ["k"], ["x", "recent"])
    joined = join(at_hours(1, k=["a"]), [view], at="t")
    assert joined.select("x", "recent").rows() == [(None, None)]
    assert join(at_hours(k=[]).cast({"k": pl.String}), [view], at="t").schema == joined.schema


NAIVE = at_hours(1, k=["a"]).with_columns(pl.col("t").dt.replace_time_zone(None))


@pytest.mark.parametrize(
    ("entities", "view", "says"),
    [
        (NAIVE, View("v", values(("a", 1, 1, 1)), ["k"], ["x"]), "entity rows: `t` has no time zone"),
        (at_hours(1, k=["a"]), View("v", values(("a", 1, 1, 1)).with_columns(pl.col("known_at").dt.replace_time_zone(None)), ["k"], ["x"]), "view `v`: `known_at` has no time zone"),
        (at_hours(1, k=["a"]), View("v", values(("a", 1, 1, 1)).with_columns(event_at=pl.lit("2024-01-01")), ["k"], ["x"]), "`event_at` is String"),
        (at_hours(1, k=["a"]), View("v", values(("a", 1, 1, 1)), ["k"], ["y"]), "view `v`: column `y` is missing; columns: k, event_at, known_at, x"),
        (at_hours(1), View("v", values(("a", 1, 1, 1)), ["k"], ["x"]), "the entity rows lack `k`"),
        (at_hours(1, k=[1]), View("v", values(("a", 1, 1, 1)), ["k"], ["x"]), "key `k` is String, entity column `k` is Int64"),
        (at_hours(1, k=["a"], x=[1]), View("v", values(("a", 1, 1, 1)), ["k"], ["x"]), "column `x` comes from view `v` and from the entity rows"),
        (pl.DataFrame({"k": ["a"]}), View("v", values(("a", 1, 1, 1)), ["k"], ["x"]), "column `t` is missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused_by_name(entities: pl.DataFrame, view: View, says: str) -> None:
    with pytest.raises(PointInTimeError) as error:
        join(entities, [view], at="t")
    assert says in str(error.value)


def test_only_files_that_can_matter_are_read(tmp_path: Path) -> None:
    """The data of a later month are broken, and nobody notices: its statistics say that nothing in it had happened."""
    for month, first in enumerate((0, 24 * 31)):
        frame = pl.DataFrame({"k": ["a"] * 2, "event_at": [hour(first), hour(first + 1)], "x": [month, month]})
        frame.write_parquet(tmp_path / f"{month}.parquet")
    later = tmp_path / "1.parquet"
    content = bytearray(later.read_bytes())
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[4:footer] = bytes(footer - 4)
    later.write_bytes(content)
    with pytest.raises(pl.exceptions.ComputeError):
        pl.scan_parquet(tmp_path).collect()
    view = View("v", pl.scan_parquet(tmp_path), ["k"], ["x"], known_at=None, is_rereadable=True)
    assert join(at_hours(24, k=["a"]), [view], at="t")["x"].to_list() == [0]


def test_only_columns_and_row_groups_that_can_matter_are_read(tmp_path: Path) -> None:
    """Zeros stand where another feature, and the rows of a later month, were: reading either would fail."""
    file = tmp_path / "view.parquet"
    frame = pl.DataFrame(
        {"k": ["a"] * 4, "event_at": [hour(h) for h in (0, 1, 744, 745)], "x": [0, 1, 2, 3], "y": [4, 5, 6, 7]}
    )
    frame.write_parquet(file, row_group_size=2)
    content = bytearray(file.read_bytes())
    groups = pq.ParquetFile(file).metadata
    broken = [(0, "y"), *((1, name) for name in frame.columns)]
    for group, name in broken:
        chunk = groups.row_group(group).column(frame.columns.index(name))
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        content[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    file.write_bytes(content)
    view = View("v", pl.scan_parquet(file), ["k"], ["x"], known_at=None, is_rereadable=True)
    assert join(at_hours(24, k=["a"]), [view], at="t")["x"].to_list() == [1]
    for unread in (pl.scan_parquet(file).select("y").head(1), pl.scan_parquet(file).select("x")):
        with pytest.raises(pl.exceptions.ComputeError):
            unread.collect()


def test_a_naive_as_of_is_refused() -> None:
    with pytest.raises(PointInTimeError, match="has no time zone"):
        join(
            at_hours(1, k=["a"]), [View("v", values(("a", 1, 1, 1)), ["k"], ["x"])], at="t", as_of=datetime(2024, 1, 1)
        )


def test_row_groups_of_other_keys_are_not_read(tmp_path: Path) -> None:
    """A table sorted by key: zeros stand where the keys below and above those asked for were."""
    file = tmp_path / "view.parquet"
    pl.DataFrame({"k": [1, 1, 5, 6, 9, 9], "event_at": [hour(0)] * 6, "x": range(6)}).write_parquet(
        file, row_group_size=2
    )
    content = bytearray(file.read_bytes())
    groups = pq.ParquetFile(file).metadata
    for group, name in ((g, n) for g in (0, 2) for n in range(3)):
        chunk = groups.row_group(group).column(name)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        content[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    file.write_bytes(content)
    view = View("v", pl.scan_parquet(file), ["k"], ["x"], known_at=None, is_rereadable=True)
    assert join(at_hours(1, 1, 1, k=[6, None, 5]), [view], at="t")["x"].to_list() == [3, None, 2]
