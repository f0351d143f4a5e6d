"""Loading an online store and reading it: ours beside Feast's own path, on SQLite and on a Redis server of this machine.

One view of five doubles with event and created time, a Parquet file, the latest row of each entity. Feast's path is
`materialize` and its stock store over its file offline store, as `feast init` sets it up; ours is the platform's load over
the polars offline store. Every round runs in a process of its own, interleaved, on the same rows; the answers of a sample
are compared with the table before anything is timed, and what ours wrote to Redis is read by Feast's own reader, too. CPU
seconds are of the client process; those of the Redis server stand beside them. The load's target is 15 times Feast's rows
per CPU second.

A second load writes the same entities once more. `binding` is what Python's sqlite3 can do with Feast's format, a row for
each value: rows that are ready-made lists, put into such a table by `executemany`. Reads go through `get_online_features` and `to_dict`; beside them
stands what the store itself took of it, the rest being Feast's wrapper.

    python benchmarks/bench_online.py [ROWS] [ROUNDS]
"""

import json
import shutil
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

ROUNDS = 3
ROWS = 100_000
READS, WARM = 300, 50  # of each size, after some that do not count
SIZES = (1, 10, 100)
FEATURES = [f"f{n}" for n in range(5)]
WHO = {"sqlite": ("feast", "ours", "binding"), "redis": ("feast", "ours")}
START = datetime(2024, 1, 1, tzinfo=UTC)
OURS = {
    "sqlite": "resources.feast_polars.online.MonotoneSqliteOnlineStore",
    "redis": "resources.feast_polars.online_redis.MonotoneRedisOnlineStore",
}


def table(folder: Path, rows: int) -> Any:
    """The source's rows, one an entity, the same for everyone."""
    import numpy as np
    import polars as pl

    draw = np.random.default_rng(1)
    seconds = pl.Series(draw.integers(0, 86_400 * 1_000_000, rows)).cast(pl.Duration("us"))
    frame = pl.DataFrame({"driver": draw.permutation(rows), **{name: draw.random(rows) for name in FEATURES}})
    frame = frame.with_columns(event_timestamp=pl.lit(START) + seconds, created=pl.lit(START + timedelta(days=1)))
    frame.write_parquet(folder / "rows.parquet")
    return frame


def store_at(folder: Path, online: dict[str, Any], *, ours: bool) -> Any:
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.repo_config import RepoConfig
    from feast.types import Float64

    offline = "resources.feast_polars.offline.PolarsOfflineStore" if ours else "file"
    config = {
        "project": "bench",
        "provider": "local",
        "registry": str(folder / "registry.db"),
        "offline_store": {"type": offline},
        "online_store": online,
        "entity_key_serialization_version": 3,
    }
    store = FeatureStore(config=RepoConfig(**config))  # pyright: ignore[reportArgumentType]
    driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
    source = FileSource(
        name="rows",
        path=str(folder / "rows.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    schema = [Field(name=name, dtype=Float64) for name in FEATURES]
    store.apply([driver, FeatureView(name="trips", entities=[driver], ttl=timedelta(0), source=source, schema=schema)])
    return store


def one_round(kind: str, who: str, rows: int, address: str) -> dict[str, Any]:
    """One load and many reads by one store, in this process."""
    import random
    import warnings

    warnings.simplefilter("ignore")
    from resources.feast_polars.online_load import load

    with TemporaryDirectory(prefix="bench-online-") as name:
        folder = Path(name)
        frame = table(folder, rows)
        place = {"path": str(folder / "online.db")} if kind == "sqlite" else {"connection_string": address}
        ours = who == "ours"
        store = store_at(folder, {"type": OURS[kind] if ours else kind, **place}, ours=ours)
        view, end = store.get_feature_view("trips"), START + timedelta(days=2)
        loads = []
        for _ in range(2):
            before, wall, server = time.process_time(), time.perf_counter(), server_seconds(kind, address)
            load(store, view, START, end) if ours else store.materialize(START, end)
            cpu, wall = time.process_time() - before, time.perf_counter() - wall
            loads.append({"cpu": cpu, "wall": wall, "server": server_seconds(kind, address) - server})
        check(store, frame)
        if ours and kind == "redis":
            check(store_at(folder, {"type": kind, **place}, ours=False), frame)  # Feast's own reader
        references = [f"trips:{feature}" for feature in FEATURES]
        drawn, reads = random.Random(2), {}
        parts = timed_parts(store)
        for size in SIZES:
            times = []
            for _ in range(WARM + READS):
                asked = [{"driver": drawn.randrange(rows)} for _ in range(size)]
                start = time.process_time()
                store.get_online_features(features=references, entity_rows=asked).to_dict()
                times.append((time.process_time() - start) * 1000)
            times, own = sorted(times[WARM:]), sorted(parts[WARM:])
            reads[size] = times[READS // 2], times[READS * 99 // 100], own[READS // 2]
            parts.clear()
    return {"rows": rows, "loads": loads, "reads": reads}


def timed_parts(store: Any) -> list[float]:
    """CPU milliseconds that the store itself takes of each read, without what Feast wraps around it."""
    online, parts = store._get_provider().online_store, []
    read = online._read_features_per_fv

    def timed(*arguments: Any, **named: Any) -> None:
        start = time.process_time()
        read(*arguments, **named)
        parts.append((time.process_time() - start) * 1000)

    online._read_features_per_fv = timed
    return parts


def binding(rows: int) -> dict[str, Any]:
    """Python's sqlite3 alone: values and keys are there as Python objects, in the order of the keys."""
    import sqlite3
    import struct
    from itertools import repeat

    with TemporaryDirectory(prefix="bench-online-") as name:
        frame = table(Path(name), rows)
        head = b"\1\0\0\0\2\0\0\0\6\0\0\0driver\4\0\0\0\10\0\0\0"
        keys = [head + struct.pack("<q", driver) for driver in frame["driver"].to_list()]
        order = sorted(range(rows), key=keys.__getitem__)
        frame, keys = frame[order], [keys[n] for n in order]
        columns = []
        for feature in FEATURES:
            numbers = frame[feature].to_list()
            columns += [repeat(feature), [b")" + struct.pack("<d", n) for n in numbers], [repr(n) for n in numbers]]
        seconds = frame["event_timestamp"].dt.epoch("s").to_list()
        connection = sqlite3.connect(Path(name) / "online.db")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE TABLE trips (entity_key BLOB, feature_name TEXT, value BLOB, value_text TEXT, vector_value BLOB,"
            " event_ts timestamp, created_ts timestamp, PRIMARY KEY(entity_key, feature_name)) WITHOUT ROWID"
        )
        places = ", ".join(f"(?1, ?{3 + 3 * n}, ?{4 + 3 * n}, ?{5 + 3 * n}, ?2, ?2)" for n in range(len(FEATURES)))
        sql = "INSERT OR REPLACE INTO trips (entity_key, feature_name, value, value_text, event_ts, created_ts) VALUES"
        loads = []
        for _ in range(2):
            before, wall = time.process_time(), time.perf_counter()
            with connection:
                connection.executemany(f"{sql} {places}", zip(keys, seconds, *columns, strict=False))
            loads.append({"cpu": time.process_time() - before, "wall": time.perf_counter() - wall, "server": 0.0})
    return {"rows": rows, "loads": loads, "reads": {}}


def check(store: Any, frame: Any) -> None:
    """Ends the benchmark where a sample of entities is not served as the table has it."""
    sample = frame.sort("driver")[:: max(1, frame.height // 200)]
    asked = [{"driver": driver} for driver in [*sample["driver"].to_list(), -1]]
    served = store.get_online_features(features=[f"trips:{name}" for name in FEATURES], entity_rows=asked).to_dict()
    for name in FEATURES:
        if served[name] != [*sample[name].to_list(), None]:
            raise SystemExit(f"{store.config.online_store.type} serves other values of {name} than the table has")


def server_seconds(kind: str, address: str) -> float:
    """CPU seconds that the Redis server has used."""
    if kind != "redis":
        return 0.0
    import redis

    host, _, port = address.partition(":")
    with redis.Redis(host, int(port)) as client:
        told: Any = client.info("cpu")
    return told["used_cpu_sys"] + told["used_cpu_user"]


def started_redis(folder: Path) -> tuple["subprocess.Popen[bytes] | None", str]:
    """A server on a loopback port of its own; none where the machine has none."""
    binary = shutil.which("redis-server")
    if binary is None:
        return None, ""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.1)
    return process, f"127.0.0.1:{port}"


def main() -> None:
    """Rounds in turn; the median of each number."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for kind in OURS:
        for _ in range(rounds):
            for who in WHO[kind]:
                with TemporaryDirectory(prefix="bench-redis-") as name:
                    process, address = started_redis(Path(name)) if kind == "redis" else (None, "")
                    if kind == "redis" and process is None:
                        print("no redis-server here: `make system-packages` installs it")
                        continue
                    arguments = [sys.executable, __file__, "--round", kind, who, str(rows), address]
                    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
                    if process is not None:
                        process.terminate()
                        process.wait(30)
                if done.returncode:
                    raise SystemExit(f"{kind}, {who}: {done.stderr[-2000:]}")
                found.setdefault((kind, who), []).append(json.loads(done.stdout.splitlines()[-1]))
    report(found)


def report(found: dict[tuple[str, str], list[dict[str, Any]]]) -> None:
    """Medians over the rounds."""
    print(f"{'rows per CPU second':17}{'first load':>12}{'second':>10}{'with server':>13}{'wall s':>8}")
    rates, wholes = {}, {}
    for (kind, who), outcomes in found.items():
        first, second = (median(o["rows"] / o["loads"][n]["cpu"] for o in outcomes) for n in (0, 1))
        rates[kind, who] = first
        wholes[kind, who] = median(o["rows"] / (o["loads"][0]["cpu"] + o["loads"][0]["server"]) for o in outcomes)
        wall = median(o["loads"][0]["wall"] for o in outcomes)
        print(f"{kind + ', ' + who:19}{first:>12,.0f}{second:>10,.0f}{wholes[kind, who]:>13,.0f}{wall:>8.1f}")
    print(f"\n{'CPU ms of a read':19}" + "".join(f"{f'{n} entities: p50 (p99), store':>34}" for n in SIZES))
    for (kind, who), outcomes in found.items():
        if outcomes[0]["reads"]:
            told = [[median(o["reads"][str(size)][n] for o in outcomes) for n in range(3)] for size in SIZES]
            cells = [f"{p50:.2f} ({p99:.2f}), {store:.2f}" for p50, p99, store in told]
            print(f"{kind + ', ' + who:19}" + "".join(f"{cell:>34}" for cell in cells))
    for kind in OURS:
        if (kind, "ours") in rates:
            times = rates[kind, "ours"] / rates[kind, "feast"]
            whole = wholes[kind, "ours"] / wholes[kind, "feast"]
            print(f"{kind}: {times:.1f} times Feast's load (target: 15); with the server's CPU {whole:.1f} times")
            pairs = list(zip(found[kind, "feast"], found[kind, "ours"], strict=True))
            for n, load in enumerate(("first", "second")):
                ratios = [feast["loads"][n]["cpu"] / ours["loads"][n]["cpu"] for feast, ours in pairs]
                print(f"  {load} load, round by round: {', '.join(f'{ratio:.1f}' for ratio in ratios)} times")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--round"]:
        kind, who, rows, address = sys.argv[2:6]
        print(json.dumps(binding(int(rows)) if who == "binding" else one_round(kind, who, int(rows), address)))
    else:
        main()
