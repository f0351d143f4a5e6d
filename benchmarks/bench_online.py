"""Loading an online store and reading it: ours beside Feast's own path, on SQLite and on a Redis server of this machine.

One view of five doubles with event and created time, a Parquet file, the latest row of each entity. Feast's path is
`materialize` and its stock store over its file offline store, as `feast init` sets it up; ours is the platform's load over
the polars offline store. Every round runs in a process of its own, interleaved; the answers of a sample are compared with
the table before anything is timed, and what ours wrote is read by Feast's own reader. CPU seconds are of the client
process; those of the Redis server stand beside them. The load's target is 15 times Feast's rows per CPU second.

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
FEAST_ROWS = 20_000  # of Feast's own path, whose cost a row does not depend on their number
READS = 100
SIZES = (1, 10, 100)
FEATURES = [f"f{n}" for n in range(5)]
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
        before, wall, server = time.process_time(), time.perf_counter(), server_seconds(kind, address)
        load(store, view, START, end) if ours else store.materialize(START, end)
        cpu, wall = time.process_time() - before, time.perf_counter() - wall
        server = server_seconds(kind, address) - server
        check(store, frame)
        if ours:
            check(store_at(folder, {"type": kind, **place}, ours=False), frame)  # Feast's own reader
        references = [f"trips:{feature}" for feature in FEATURES]
        drawn, reads = random.Random(2), {}
        for size in SIZES:
            times = []
            for _ in range(READS):
                asked = [{"driver": drawn.randrange(rows)} for _ in range(size)]
                start = time.process_time()
                store.get_online_features(features=references, entity_rows=asked).to_dict()
                times.append((time.process_time() - start) * 1000)
            times.sort()
            reads[size] = times[READS // 2], times[READS * 99 // 100]
    return {"rows": rows, "cpu": cpu, "wall": wall, "server": server, "reads": reads}


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
            for who, count in (("feast", min(FEAST_ROWS, rows)), ("ours", rows)):
                with TemporaryDirectory(prefix="bench-redis-") as name:
                    process, address = started_redis(Path(name)) if kind == "redis" else (None, "")
                    if kind == "redis" and process is None:
                        print("no redis-server here: `make system-packages` installs it")
                        continue
                    arguments = [sys.executable, __file__, "--round", kind, who, str(count), address]
                    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
                    if process is not None:
                        process.terminate()
                        process.wait(30)
                if done.returncode:
                    raise SystemExit(f"{kind}, {who}: {done.stderr[-2000:]}")
                found.setdefault((kind, who), []).append(json.loads(done.stdout.splitlines()[-1]))
    report(found)


def report(found: dict[tuple[str, str], list[dict[str, Any]]]) -> None:
    print(
        f"{'':15}{'rows':>9}{'rows/CPU s':>12}{'with server':>12}{'wall s':>8}   CPU ms to read 1, 10, 100: p50 (p99)"
    )
    rates = {}
    for (kind, who), outcomes in found.items():
        rates[kind, who] = rate = median(o["rows"] / o["cpu"] for o in outcomes)
        whole = median(o["rows"] / (o["cpu"] + o["server"]) for o in outcomes)
        reads = [
            f"{median(o['reads'][str(size)][0] for o in outcomes):.2f} ({median(o['reads'][str(size)][1] for o in outcomes):.2f})"
            for size in SIZES
        ]
        wall = median(o["wall"] for o in outcomes)
        print(
            f"{kind + ', ' + who:15}{outcomes[0]['rows']:>9,}{rate:>12,.0f}{whole:>12,.0f}{wall:>8.1f}   {'  '.join(reads)}"
        )
    for kind in OURS:
        if (kind, "ours") in rates:
            print(f"{kind}: {rates[kind, 'ours'] / rates[kind, 'feast']:.1f} times Feast's load (target: 15)")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--round"]:
        print(json.dumps(one_round(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])))
    else:
        main()
