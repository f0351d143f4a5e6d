"""The online stores: any order of loads, the TTL's edge, parallel and killed loads, and Feast's own reader beside them."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import make_url

from tests.resources import redis_server

T = datetime(2024, 3, 30, tzinfo=UTC)  # two of the windows lie around a change of summer time
HOUR, US = timedelta(hours=1), timedelta(microseconds=1)
TTL = timedelta(days=2)
SCHEMA = {
    "driver": pl.Int64, "at": pl.Datetime("us", "UTC"), "created": pl.Datetime("us", "UTC"), "rate": pl.Float64,
    "name": pl.String, "recent": pl.List(pl.Float32),
}  # fmt: skip
KINDS = ["sqlite", pytest.param("redis", marks=pytest.mark.long), pytest.param("postgres", marks=pytest.mark.long)]


@dataclass
class Place:
    """Where a store lies: what our class and Feast's need to find it."""

    kind: str
    settings: dict[str, Any]

    def open(self, folder: Path, *, stock: bool = False, apply: bool = True, **more: Any) -> Any:
        from feast import FeatureStore
        from feast.repo_config import RepoConfig

        ours = {
            "sqlite": "resources.feast_polars.online.MonotoneSqliteOnlineStore",
            "redis": "resources.feast_polars.online_redis.MonotoneRedisOnlineStore",
            "postgres": "resources.feast_polars.online_postgres.MonotonePostgreSQLOnlineStore",
        }
        type_ = self.kind if stock else ours[self.kind]
        config: dict[str, Any] = {
            "project": folder.name.replace("-", "_"),
            "provider": "local",
            "registry": str(folder / "registry.db"),
            "offline_store": {"type": "resources.feast_polars.offline.PolarsOfflineStore", "known_at": "strict"},
            "online_store": {"type": type_, **self.settings, **more},
            "entity_key_serialization_version": 3,
        }
        store = FeatureStore(config=RepoConfig(**config))
        if apply:
            store.apply(list(repository(str(folder / "rows.parquet"))))
        return store


@cache
def repository(path: str) -> tuple[Any, Any]:
    from feast import Entity, FeatureView, Field, FileSource, ValueType
    from feast.types import Array, Float32, Float64, String

    driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
    source = FileSource(name="rows", path=path, timestamp_field="at", created_timestamp_column="created")
    features = {"rate": Float64, "name": String, "recent": Array(Float32)}
    view = FeatureView(
        name="trips",
        entities=[driver],
        ttl=TTL,
        source=source,
        schema=[Field(name=name, dtype=dtype) for name, dtype in features.items()],
    )
    return driver, view


@pytest.fixture(scope="module", params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if request.param == "sqlite":
        yield Place("sqlite", {"path": str(tmp_path_factory.mktemp("online") / "online.db")})
    elif request.param == "redis":
        with redis_server.server() as address:
            yield Place("redis", {"connection_string": address})
    else:
        url = make_url(request.getfixturevalue("postgres_server"))
        address = {"host": url.host, "port": url.port, "database": url.database, "user": url.username}
        yield Place("postgres", {**address, "password": "", "sslmode": "disable"})


def row(driver: int, at: datetime, rate: float | None, created: datetime | None = None) -> dict[str, Any]:
    recent = None if rate is None else [rate, 1.0]
    return {
        "driver": driver,
        "at": at,
        "created": created,
        "rate": rate,
        "name": None if rate is None else f"n{rate}",
        "recent": recent,
    }


def write(store: Any, rows: list[dict[str, Any]]) -> None:
    from resources.feast_polars.online_rows import OnlineRows, in_key_order

    view = store.get_feature_view("trips")
    frame = in_key_order(pl.DataFrame(rows, schema=SCHEMA), view)
    online = store._get_provider().online_store
    rows_of = OnlineRows.from_frame(frame, view, "at", "created", with_texts=online.has_texts)
    online.write_rows(store.config, view, rows_of)


def hand_over(store: Any, rows: list[dict[str, Any]]) -> None:
    """Write as Feast does, with messages."""
    from feast.utils import _convert_arrow_to_proto
    from feast.value_type import ValueType

    from resources.feast_polars.retrieval import to_feast_arrow

    view = store.get_feature_view("trips")
    frame = to_feast_arrow(pl.DataFrame(rows, schema=SCHEMA))
    protos: Any = _convert_arrow_to_proto(frame, view, {"driver": ValueType.INT64})
    store._get_provider().online_write_batch(store.config, view, protos, None)


def served(store: Any, drivers: list[int]) -> list[Any]:
    answer = store.get_online_features(
        features=["trips:rate", "trips:name", "trips:recent"], entity_rows=[{"driver": d} for d in drivers]
    ).to_dict()
    return list(zip(answer["rate"], answer["name"], answer["recent"], strict=True))


def values(rate: float) -> tuple[Any, ...]:
    return rate, f"n{rate}", [rate, 1.0]


# Six windows; what each one holds as the latest row: overlapping, corrected, without a created time, micros apart.
WINDOWS = [
    (T, None),
    (T + HOUR, None),
    (T + HOUR, T + 3 * HOUR),  # a correction of the row before
    (T + HOUR, T + 2 * HOUR),  # an earlier one
    (T + HOUR + US, None),  # a microsecond later, the same second
    (T - 5 * HOUR, T + 9 * HOUR),  # an old row, corrected late
]


def test_any_order_of_six_windows_serves_the_greatest_row(place: Place, tmp_path: Path) -> None:
    """All 720 orders at once, an entity each. Feast's SQLite and PostgreSQL stores serve the last load, its Redis store
    the first of several with one event time."""
    store = place.open(tmp_path, as_of=T + HOUR)
    orders = list(permutations(range(len(WINDOWS))))
    for step in range(len(WINDOWS)):
        held = [(n, WINDOWS[order[step]], order[step]) for n, order in enumerate(orders)]
        write(store, [row(n, at, float(window), created) for n, (at, created), window in held])
        so_far = [[WINDOWS[w] for w in order[: step + 1]] for order in orders]
        greatest = [max(range(len(rows)), key=lambda i: (rows[i][0], rows[i][1] or rows[i][0])) for rows in so_far]
        expected = [values(float(order[best])) for order, best in zip(orders, greatest, strict=True)]
        assert served(store, list(range(len(orders)))) == expected
    if place.kind != "sqlite":
        stock = place.open(tmp_path, stock=True)
        assert served(stock, list(range(len(orders)))) == [values(4.0)] * len(orders)


def test_rows_that_feast_hands_over_obey_the_same_order(place: Place, tmp_path: Path) -> None:
    """`feast materialize` and pushes come as messages; a batch may hold an entity twice."""
    store = place.open(tmp_path, as_of=T)
    hand_over(store, [row(1, T, 2.0, T + HOUR), row(1, T, 3.0), row(2, T, 4.0, T), row(2, T - HOUR, 5.0, T)])
    assert served(store, [1, 2, 3]) == [values(2.0), values(4.0), (None, None, None)]


def test_values_longer_than_a_page_obey_the_same_order(place: Place, tmp_path: Path) -> None:
    """The others of their batch go with them."""
    store = place.open(tmp_path, as_of=T)
    long = "ä" * 70_000
    write(store, [{**row(1, T, 1.0), "name": long}, row(2, T, 2.0)])
    assert served(store, [1, 2]) == [(1.0, long, [1.0, 1.0]), values(2.0)]
    write(store, [{**row(1, T - HOUR, 3.0), "name": long}, {**row(2, T, 4.0, T + HOUR), "name": None}])
    assert served(store, [1, 2]) == [(1.0, long, [1.0, 1.0]), (4.0, None, [4.0, 1.0])]


@pytest.mark.parametrize("writer", ["stock", "ours"])
def test_after_feasts_own_writer_the_order_still_holds(place: Place, tmp_path: Path, writer: str) -> None:
    """Feast's writer knows nothing of our order; what it wrote last counts with the time that it wrote."""
    store, stock = place.open(tmp_path, as_of=T), place.open(tmp_path, stock=True)
    write(store, [row(1, T, 1.0)])
    theirs = [row(1, T + 9 * HOUR, 2.0, T + 9 * HOUR)]
    if place.kind == "sqlite":  # whose format is ours: Feast's class is told so, and ours goes on
        for at_work in (lambda: hand_over(stock, theirs), lambda: served(stock, [1])):
            with pytest.raises(sqlite3.OperationalError, match="feature_name"):
                at_work()
        stock = store
    if writer == "stock":
        hand_over(stock, theirs)
    else:
        write(store, [row(1, T + 9 * HOUR, 2.0)])
    write(store, [row(1, T + 5 * HOUR, 3.0)])
    assert served(store, [1]) == [values(2.0)]
    write(store, [row(1, T + 10 * HOUR, 4.0)])
    assert served(store, [1]) == served(stock, [1]) == [values(4.0)]


def test_the_ttl_is_the_offline_one_edge_included(place: Place, tmp_path: Path) -> None:
    """At exactly the TTL a value counts, a microsecond later it does not; Feast's reader goes on serving it."""
    from resources.feast_polars.online_ttl import judged_at

    store = place.open(tmp_path, as_of=T + TTL)
    rows = [row(1, T, 1.0, T), row(2, T - US, 2.0, T), row(3, T + HOUR, None, T)]
    write(store, rows)
    pl.DataFrame(rows, schema=SCHEMA).write_parquet(tmp_path / "rows.parquet")
    asked = pl.DataFrame({"driver": [1, 2, 3, 4], "event_timestamp": [T + TTL] * 4}).to_pandas()
    known = store.get_historical_features(asked, features=["trips:rate", "trips:name"]).to_polars()
    assert [v[0] for v in served(store, [1, 2, 3, 4])] == known["rate"].to_list() == [1.0, None, None, None]
    answer = store.get_online_features(features=["trips:rate"], entity_rows=[{"driver": d} for d in (1, 2)]).proto
    names = list(answer.metadata.feature_names.val)
    statuses = list(answer.results[names.index("rate")].statuses)
    assert statuses == [1, 4]  # PRESENT, OUTSIDE_MAX_AGE
    with judged_at(T + TTL - US):
        assert [v[0] for v in served(store, [1, 2])] == [1.0, 2.0]
    assert [v[0] for v in served(feasts(place, tmp_path, rows), [1, 2])] == [1.0, 2.0]
    assert [v[0] for v in served(place.open(tmp_path), [1])] == [None]  # the wall clock, where nothing is said
    assert [v[0] for v in served(place.open(tmp_path, ends_at=T + HOUR), [1])] == [1.0]  # a source that has ended


def feasts(place: Place, folder: Path, rows: list[dict[str, Any]]) -> Any:
    """Feast's store over what ours wrote; on SQLite, whose format is ours, over the same rows in a file of its own."""
    if place.kind != "sqlite":
        return place.open(folder, stock=True)
    stock = Place("sqlite", {"path": str(folder / "stock.db")}).open(folder, stock=True)
    hand_over(stock, rows)
    return stock


def test_answers_are_feasts_own(place: Place, tmp_path: Path) -> None:
    """Feast's reader over the same rows: order, copies, unknown entities, nulls, full names, times, and the async way."""
    import asyncio

    store = place.open(tmp_path, as_of=T)
    rows = [row(1, T, 1.0, T), row(2, T - US, None, T), row(3, T + HOUR, 3.0, T), row(300, T, -0.0, T)]
    write(store, rows)
    stock = feasts(place, tmp_path, rows)
    asked = [{"driver": d} for d in (3, 1, 9, 2, 1, 300)]
    for features in (["trips:rate", "trips:name", "trips:recent"], ["trips:recent"]):
        for full in (False, True):
            how: dict[str, Any] = {"features": features, "entity_rows": asked, "full_feature_names": full}
            ours, theirs = store.get_online_features(**how), stock.get_online_features(**how)
            assert ours.to_dict() == theirs.to_dict()
            known = [n for n, one in enumerate(asked) if one["driver"] != 9]
            assert told(ours, known, exact=place.kind == "redis") == told(theirs, known, exact=place.kind == "redis")
            assert asyncio.run(store.get_online_features_async(**how)).to_dict() == ours.to_dict()
            assert {
                s for names, statuses, _ in told(ours, [2], exact=False) for s in statuses if "driver" not in names
            } == {3}
    for reader in (store, stock):
        with pytest.raises(KeyError, match="Missing join key values"):
            reader.get_online_features(features=["trips:rate"], entity_rows={"driver": []})


def told(answer: Any, rows: list[int], *, exact: bool) -> list[Any]:
    """Each feature's name, statuses and times: Feast's SQL stores keep whole seconds, or times that they read as local."""
    named = zip(answer.proto.metadata.feature_names.val, answer.proto.results, strict=True)
    return sorted(
        (name, [vector.statuses[n] for n in rows], [vector.event_timestamps[n].ToNanoseconds() for n in rows if exact])
        for name, vector in named
    )


LOAD = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from threading import Timer
import tests.resources.test_online_stores as suite
from resources.feast_polars import online, online_load, online_postgres, online_redis
from resources.feast_polars.offline import PolarsOfflineStore

online_load.BATCH = 500
place, folder = suite.Place(sys.argv[1], eval(sys.argv[2])), Path(sys.argv[3])
for line in sys.stdin:  # a process each, forked with everything imported and no thread started
    days, seconds = line.split()
    if os.fork() == 0:
        store = place.open(folder, as_of=suite.T, apply=False)
        view = store.get_feature_view("trips")
        gate = os.open(folder / "gate", os.O_RDONLY)
        os.write(1, b"ready %d\\n" % os.getpid())
        os.read(gate, 1)  # ends for all at once
        end = suite.T + timedelta(days=int(days))
        online, kill = store._get_provider().online_store, [Timer(float(seconds), os.kill, (os.getpid(), signal.SIGKILL))]
        write = online.write_rows
        def writing(*arguments):
            if float(seconds) and kill:
                kill.pop().start()
            write(*arguments)
        online.write_rows = writing
        loaded = online_load.load(store, view, suite.T - timedelta(days=9), end)
        os.write(1, b"loaded %d\\n" % loaded)
        os._exit(0)
    if float(seconds):
        os.write(1, b"ended %d\\n" % os.WTERMSIG(os.wait()[1]))
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""


class Loaders:
    """Loads in processes of their own, which begin all at once when the gate is let go."""

    def __init__(self, place: Place, folder: Path) -> None:
        self._gate = folder / "gate"
        self._gate.unlink(missing_ok=True)
        os.mkfifo(self._gate)
        command = [sys.executable, "-W", "ignore", "-c", LOAD, place.kind, repr(place.settings), str(folder)]
        root, pipe = Path(__file__).parents[2], subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=root, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def start(self, days: list[int], *, kill_after: float = 0.0) -> None:
        """Let a load go for each number of days; where it says so, it is killed that long after it began to write."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.writelines(f"{n} {kill_after}\n" for n in days)
        self._process.stdin.flush()
        gate = os.open(self._gate, os.O_WRONLY)
        waiting = [self._process.stdout.readline().split()[0] for _ in days]
        assert waiting == ["ready"] * len(days)
        os.close(gate)

    def signal_of_end(self) -> int:
        """The signal that ended the load; 0 where it came to its end."""
        assert self._process.stdout
        said = map(str.split, iter(self._process.stdout.readline, ""))
        return next(int(number) for word, number in said if word == "ended")

    def finish(self) -> tuple[list[str], str]:
        """What the loads said when all have ended, and what went wrong."""
        out, err = self._process.communicate(timeout=240)
        return out.splitlines(), err


def table(folder: Path, drivers: int) -> None:
    rows = [row(d, T + timedelta(days=day), float(10 * d + day), T) for d in range(drivers) for day in range(2)]
    pl.DataFrame(rows, schema=SCHEMA).write_parquet(folder / "rows.parquet")


@pytest.mark.long
def test_eight_loads_at_once_lose_nothing(place: Place, tmp_path: Path) -> None:
    """Four of Feast's own at once ended with `database is locked`."""
    table(tmp_path, 3000)
    place.open(tmp_path)
    loaders = Loaders(place, tmp_path)
    loaders.start([n % 2 for n in range(8)])
    said, error = loaders.finish()
    assert (said, error) == (["loaded 3000"] * 8, "")
    drivers = random.Random(1).sample(range(3000), 300)
    assert served(place.open(tmp_path, as_of=T), drivers) == [values(10.0 * d + 1) for d in drivers]


@pytest.mark.long
def test_a_load_killed_anywhere_is_completed_by_the_next(place: Place, tmp_path: Path) -> None:
    """Over an older load: each entity is whole, old or new, whenever the kill comes."""
    table(tmp_path, 3000)
    write(place.open(tmp_path), [row(d, T - HOUR, 10.0 * d, T) for d in range(3000)])
    loaders, drivers = Loaders(place, tmp_path), list(range(3000))
    store, signals = place.open(tmp_path, as_of=T), []
    for n in range(10):
        loaders.start([1], kill_after=0.001 * 1.6**n)  # up to 69 ms: all of the load's writing
        signals.append(loaders.signal_of_end())
        found = served(store, drivers)
        assert all(v in (values(10.0 * d), values(10.0 * d + 1)) for d, v in zip(drivers, found, strict=True))
        if found == [values(10.0 * d + 1) for d in drivers]:
            break
    assert signals.count(signal.SIGKILL) > 1
    loaders.start([1])
    said, error = loaders.finish()
    assert said[-1] == "loaded 3000", error
    assert served(store, drivers) == [values(10.0 * d + 1) for d in drivers]
