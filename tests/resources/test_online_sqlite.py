"""The SQLite store's own format: views that change, rows that lack features, and files in Feast's format."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import polars as pl
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, ValueType
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from feast.types import Float64, Int64, String

from platform_assets.errors import ConfigurationError, FeatureStoreError
from tests.resources.test_online_stores import HOUR, US, Place, T, hand_over, row, served, values, write


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("sqlite", {"path": str(tmp_path / "online.db")})


def repository(folder: Path, features: dict[str, Any], keys: dict[str, ValueType], **online: Any) -> FeatureStore:
    """One view `trips`, which takes pushes."""
    config: dict[str, Any] = {
        "project": "packed",
        "provider": "local",
        "registry": str(folder / "registry.db"),
        "offline_store": {"type": "resources.feast_polars.offline.PolarsOfflineStore"},
        "online_store": {
            "type": "resources.feast_polars.online.MonotoneSqliteOnlineStore",
            "path": str(folder / "online.db"),
            "as_of": T,
            **online,
        },
        "entity_key_serialization_version": 3,
    }
    store = FeatureStore(config=RepoConfig(**config))
    rows = FileSource(name="rows", path=str(folder / "rows.parquet"), timestamp_field="at")
    entities = [Entity(name=name, join_keys=[name], value_type=kind) for name, kind in keys.items()]
    schema = [Field(name=name, dtype=kind) for name, kind in features.items()]
    source = PushSource(name="pushed", batch_source=rows)
    view = FeatureView(name="trips", entities=entities, ttl=timedelta(0), source=source, schema=schema)
    store.apply([*entities, view])
    return store


def push(store: FeatureStore, **columns: list[Any]) -> None:
    frame = pd.DataFrame(columns)
    frame["at"] = pd.Series([T] * len(frame)).astype("datetime64[us, UTC]")
    store.push("pushed", frame)


def answer(store: FeatureStore, features: list[str], **keys: list[Any]) -> dict[str, Any]:
    told = store.get_online_features([f"trips:{name}" for name in features], keys)
    names, statuses = told.proto.metadata.feature_names.val, [list(vector.statuses) for vector in told.proto.results]
    by_name = dict(zip(names, statuses, strict=True))
    return {
        name: list(zip(found, by_name[name], strict=True)) for name, found in told.to_dict().items() if name in features
    }


PRESENT, NOT_FOUND = 1, 3
DRIVER = {"driver": ValueType.INT64}


def test_a_view_that_changes_never_takes_a_value_for_another(tmp_path: Path) -> None:
    """Features that came later, went, or changed their type or place: an old row lacks them until it is written again."""
    store = repository(tmp_path, {"a": Float64, "b": Int64, "c": String}, DRIVER)
    push(store, driver=[1, 2], a=[1.5, 2.5], b=[1, 2], c=["x", "y"])
    store = repository(tmp_path, {"b": Float64, "c": String, "new": Int64, "a": Float64}, DRIVER)
    lacking = [(None, NOT_FOUND)] * 2
    asked = ["new", "a", "c", "b"]
    found = answer(store, asked, driver=[1, 2])
    assert found == {
        "new": lacking, "b": lacking, "a": [(1.5, PRESENT), (2.5, PRESENT)], "c": [("x", PRESENT), ("y", PRESENT)],
    }  # fmt: skip
    push(store, driver=[2], b=[0.5], c=["z"], new=[7], a=[3.5])
    assert answer(store, asked, driver=[1, 2]) == {
        "new": [(None, NOT_FOUND), (7, PRESENT)], "a": [(1.5, PRESENT), (3.5, PRESENT)],
        "c": [("x", PRESENT), ("z", PRESENT)], "b": [(None, NOT_FOUND), (0.5, PRESENT)],
    }  # fmt: skip
    store = repository(tmp_path, {"b": Int64, "c": String}, DRIVER)  # as at first, but for what was written since
    assert answer(store, ["b", "c"], driver=[1, 2]) == {
        "b": [(1, PRESENT), (None, NOT_FOUND)], "c": [("x", PRESENT), ("z", PRESENT)],
    }  # fmt: skip


def key_of(**keys: int) -> EntityKey:
    return EntityKey(join_keys=[*keys], entity_values=[Value(int64_val=value) for value in keys.values()])


def test_features_that_a_row_lacks_stay_as_they_stand(tmp_path: Path) -> None:
    """Feast writes whole rows of a feature view; other callers of its interface need not."""
    store = repository(tmp_path, {"a": Float64, "b": Int64, "c": String}, DRIVER)
    online, view = store._get_provider().online_store, store.get_feature_view("trips")  # pyright: ignore[reportAttributeAccessIssue]
    push(store, driver=[1], a=[1.5], b=[1], c=["x"])
    b, c = {"b": Value(int64_val=2)}, {"c": Value(string_val="new")}
    rows: list[Any] = [
        (key_of(driver=1), b, T + HOUR, None),
        (key_of(driver=2), c, T, None),
        (key_of(driver=1), c, T - HOUR, None),
    ]
    done = []
    online.online_write_batch(store.config, view, rows, done.append)
    assert done == [3]
    assert answer(store, ["a", "b", "c"], driver=[1, 2]) == {
        "a": [(1.5, PRESENT), (None, NOT_FOUND)], "b": [(2, PRESENT), (None, NOT_FOUND)],
        "c": [("x", PRESENT), ("new", PRESENT)],
    }  # fmt: skip
    read = online.online_read(store.config, view, [key_of(driver=2), key_of(driver=1), key_of(driver=9)], ["b"])
    assert read == [(None, None), (T + HOUR, {"b": Value(int64_val=2)}), (None, None)]
    assert online.online_read(store.config, view, [key_of(driver=2)]) == [(T, {"c": Value(string_val="new")})]


@pytest.mark.parametrize("keys", [{}, {"zone": ValueType.STRING, "driver": ValueType.INT64}], ids=["none", "two"])
def test_every_kind_of_key_through_feasts_own_calls(tmp_path: Path, keys: dict[str, ValueType]) -> None:
    """`materialize`, then `write_to_online_store`, which Feast, of a view without entities, does not find again."""
    store = repository(tmp_path, {"a": Float64}, keys)
    held = {"zone": ["n", "s"], "driver": [1, 1]} if keys else {}
    count = 2 if keys else 1
    rows = pl.DataFrame({**held, "a": [1.5, 2.5][:count], "at": [T] * count})
    rows.write_parquet(tmp_path / "rows.parquet")
    store.materialize(T - HOUR, T + HOUR)
    asked = held or {"nothing": [1]}
    assert answer(store, ["a"], **asked)["a"] == [(1.5, PRESENT), (2.5, PRESENT)][:count]
    rows = rows.with_columns(pl.col("a") + 1, at=T + HOUR)
    if keys:
        store.write_to_online_store("trips", rows.to_pandas())
    else:
        rows.write_parquet(tmp_path / "rows.parquet")
        store.materialize(T - HOUR, T + HOUR)
    assert answer(store, ["a"], **asked)["a"] == [(2.5, PRESENT), (3.5, PRESENT)][:count]


def test_more_keys_than_one_statement_takes(place: Place, tmp_path: Path) -> None:
    store = place.open(tmp_path, as_of=T)
    write(store, [row(d, T, float(d)) for d in range(12_000)])
    assert served(store, list(range(12_001)))[-3:] == [values(11_998.0), values(11_999.0), (None, None, None)]


def test_a_removed_views_rows_are_gone_and_teardown_removes_the_file(tmp_path: Path) -> None:
    store = repository(tmp_path, {"a": Float64}, DRIVER)
    push(store, driver=[1], a=[1.5])
    view = store.get_feature_view("trips")
    store.delete_feature_view("trips")
    store._get_provider().update_infra("packed", [view], [], [], [], partial=True)
    store = repository(tmp_path, {"a": Float64}, DRIVER)
    assert answer(store, ["a"], driver=[1])["a"] == [(None, NOT_FOUND)]
    push(store, driver=[1], a=[1.5])
    store.teardown()
    assert not (tmp_path / "online.db").exists()
    store = repository(tmp_path, {"a": Float64}, DRIVER)
    push(store, driver=[1], a=[2.5])
    assert answer(store, ["a"], driver=[1])["a"] == [(2.5, PRESENT)]


ROWS = [row(1, T, 1.0, T + HOUR), row(2, T, None, T), row(3, T + HOUR, 3.0, T + HOUR)]


def in_feasts_format(place: Place, folder: Path) -> None:
    """What Feast's own store makes of them."""
    stock = place.open(folder, stock=True)
    hand_over(stock, ROWS)


@pytest.fixture(params=["UTC", "America/New_York", "Europe/Berlin"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The machine's time zone, for which Feast's SQLite store takes UTC."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.mark.usefixtures("zone")
def test_a_file_in_feasts_format_is_converted_when_it_is_first_read(place: Place, tmp_path: Path) -> None:
    in_feasts_format(place, tmp_path)
    store = place.open(tmp_path, apply=False, as_of=T)
    assert served(store, [1, 2, 3, 4]) == [values(1.0), (None, None, None), values(3.0), (None, None, None)]
    online, view = store._get_provider().online_store, store.get_feature_view("trips")
    (at, held), (_, nulls) = online.online_read(store.config, view, [key_of(driver=d) for d in (3, 2)])
    assert (at, held["rate"]) == (T + HOUR, Value(double_val=3.0))
    assert nulls == {name: Value() for name in ("rate", "name", "recent")}
    write(store, [row(1, T, 5.0, T), row(3, T + HOUR, 6.0)])  # an earlier correction, a tie
    assert [found[0] for found in served(store, [1, 3])] == [1.0, 6.0]


def test_a_file_in_feasts_format_is_converted_by_a_load_and_by_apply(place: Place, tmp_path: Path) -> None:
    for prepared in (lambda: place.open(tmp_path, as_of=T), lambda: place.open(tmp_path, apply=False, as_of=T)):
        in_feasts_format(place, tmp_path)
        store = prepared()
        write(store, [row(1, T, 5.0, T), row(2, T, 6.0, T)])
        assert [found[0] for found in served(store, [1, 2, 3])] == [1.0, 6.0, 3.0]
        store.teardown()


def test_microseconds_that_stood_beside_feasts_columns_are_kept(place: Place, tmp_path: Path) -> None:
    """Where Feast's own writer had been since, its seconds count: `own_ts` differs from `event_ts` then."""
    in_feasts_format(place, tmp_path)
    with closing(sqlite3.connect(place.settings["path"])) as connection, connection:
        (table,) = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '%_trips'").fetchone()
        for column in ("event_rest", "created_rest", "own_ts"):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} INTEGER")
        seconds = int(T.timestamp())
        new = f"event_ts = {seconds}, created_ts = NULL, event_rest = 7, created_rest = 7"
        connection.execute(f"UPDATE {table} SET {new}, own_ts = {seconds} WHERE event_ts < {seconds + 3600}")
    store = place.open(tmp_path, apply=False, as_of=T)
    write(store, [row(1, T + 6 * US, 5.0), row(2, T + 7 * US, 6.0), row(3, T + HOUR - US, 7.0)])
    assert [found[0] for found in served(store, [1, 2, 3])] == [1.0, 6.0, 3.0]


def test_a_conversion_that_fails_leaves_the_file_as_it_was(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resources.feast_polars import sqlite_tables

    in_feasts_format(place, tmp_path)
    store, full = place.open(tmp_path, apply=False, as_of=T), iter([b"one"])
    with monkeypatch.context() as patched:
        patched.setattr(sqlite_tables, "pack_one", lambda _: next(full))
        with pytest.raises(RuntimeError):
            served(store, [1])
    assert served(place.open(tmp_path, stock=True), [1, 3]) == [values(1.0), values(3.0)]
    assert served(store, [1, 3]) == [values(1.0), values(3.0)]


def test_many_open_a_file_in_feasts_format_at_once(place: Place, tmp_path: Path) -> None:
    in_feasts_format(place, tmp_path)
    found: list[Any] = []
    stores = [place.open(tmp_path, apply=False, as_of=T) for _ in range(6)]
    threads = [
        Thread(target=lambda store: found.append(served(store, [1, 3])), args=(s,)) for s in [*stores, stores[0]]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[values(1.0), values(3.0)]] * 7


@pytest.mark.parametrize("setting", ["vector_enabled", "text_search_enabled", "enable_openai_compatible_store"])
def test_searches_are_refused_by_name(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        repository(tmp_path, {"a": Float64}, DRIVER, **{setting: True})


def test_a_file_that_lost_a_schema_says_so(tmp_path: Path) -> None:
    store = repository(tmp_path, {"a": Float64}, DRIVER)
    push(store, driver=[1], a=[1.5])
    with closing(sqlite3.connect(tmp_path / "online.db")) as connection, connection:
        connection.execute("DELETE FROM _packed_schemas")
    with pytest.raises(FeatureStoreError, match="does not hold"):
        answer(store, ["a"], driver=[1])


def test_times_before_1970_and_far_ahead_are_exact(tmp_path: Path) -> None:
    store = repository(tmp_path, {"a": Float64}, DRIVER)
    online, view = store._get_provider().online_store, store.get_feature_view("trips")  # pyright: ignore[reportAttributeAccessIssue]
    times = [datetime(1931, 5, 6, 7, 8, 9, 123_457, UTC), datetime(9998, 12, 31, 23, 59, 59, 999_999, UTC)]
    rows: list[Any] = [(key_of(driver=n), {"a": Value(double_val=n)}, at, None) for n, at in enumerate(times)]
    online.online_write_batch(store.config, view, rows, None)
    read = online.online_read(store.config, view, [key_of(driver=n) for n in range(2)])
    assert [at for at, _ in read] == times
