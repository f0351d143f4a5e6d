"""One engine, one case, one process: what `bench_pit.py` starts. Prints a line of JSON with time and memory.

A case is a folder: `case.json`, `entities.parquet` (row, key, event_timestamp) and `view_<n>.parquet`. What is timed is
from the entity rows in memory to the answer in memory; imports, `feast apply` and writing the answer for the comparison
are not.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

Run = tuple[Callable[[], Any], Callable[[Any], pl.DataFrame]]


def memory_mb(name: str) -> float:
    """A figure of this process from /proc, VmHWM being the peak."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def views(case: dict[str, Any]) -> list[str]:
    return [f"view_{n}" for n in range(case["views"])]


def features(case: dict[str, Any], view: str) -> list[str]:
    return [f"{view}_f{n}" for n in range(case["features"])]


def feast_repository(folder: Path, case: dict[str, Any], offline: dict[str, Any]) -> Any:
    """A Feast repository over the case's files, applied."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64

    work = folder / f"repository_{offline['type'].rsplit('.', 1)[-1]}"
    work.mkdir(exist_ok=True)
    (work / "registry.db").unlink(missing_ok=True)
    config = RepoConfig(
        project="bench",
        provider="local",
        registry=str(work / "registry.db"),
        online_store={"type": "sqlite", "path": str(work / "online.db")},
        offline_store=offline,
        entity_key_serialization_version=3,
        repo_path=work,
    )
    store = FeatureStore(config=config)
    kind = ValueType.STRING if case["strings"] else ValueType.INT64
    entity = Entity(name="key", join_keys=["key"], value_type=kind)
    objects: list[Any] = [entity]
    for view in views(case):
        source = FileSource(
            name=view,
            path=str(folder / f"{view}.parquet"),
            timestamp_field="event_at",
            created_timestamp_column="known_at",
        )
        schema = [Field(name=name, dtype=Float64) for name in features(case, view)]
        ttl = timedelta(days=case["ttl_days"])
        entities = [] if case["keyless"] else [entity]
        objects += [source, FeatureView(name=view, entities=entities, ttl=ttl, source=source, schema=schema)]
    store.apply(objects)
    return store


def through_feast(folder: Path, case: dict[str, Any], offline: dict[str, Any], *, strict: bool) -> Run:
    store = feast_repository(folder, case, offline)
    names = [f"{view}:{name}" for view in views(case) for name in features(case, view)]
    entities = None if case["between"] else pl.read_parquet(folder / "entities.parquet").to_pandas()
    more: dict[str, Any] = {"filter_by_created_timestamp": True} if strict else {}
    if entities is None:
        more |= {"start_date": datetime(2000, 1, 1, tzinfo=UTC), "end_date": datetime(2100, 1, 1, tzinfo=UTC)}

    def run() -> Any:
        return store.get_historical_features(entities, names, **more).to_arrow()

    return run, lambda table: pl.DataFrame(pl.from_arrow(table))


def perennial(folder: Path, case: dict[str, Any]) -> Run:
    return through_feast(
        folder,
        case,
        {"type": "resources.feast_polars.offline.PolarsOfflineStore", "known_at": "strict"},
        strict=False,
    )


def perennial_to_parquet(folder: Path, case: dict[str, Any]) -> Run:
    """The answer in a file, through Feast's saved datasets, within a limit of memory; as wide as it may be."""
    from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

    offline = {"type": "resources.feast_polars.offline.PolarsOfflineStore", "known_at": "strict"}
    store = feast_repository(folder, case, {**offline, "memory_limit_mb": case["limit_mb"]})
    names = [f"{view}:{name}" for view in views(case) for name in features(case, view)]
    entities = pl.read_parquet(folder / "entities.parquet")

    def run() -> Path:
        answer = folder / "saved.parquet"
        job = store.get_historical_features(entities, names)
        job.persist(SavedDatasetFileStorage(path=str(answer)), allow_overwrite=True)
        return answer

    return run, pl.read_parquet


def feast_duckdb(folder: Path, case: dict[str, Any]) -> Run:
    return through_feast(folder, case, {"type": "duckdb"}, strict=True)


def feast_file(folder: Path, case: dict[str, Any]) -> Run:
    return through_feast(folder, case, {"type": "file"}, strict=False)


def join_alone(folder: Path, case: dict[str, Any], **options: Any) -> Run:
    from platform_assets.science.point_in_time import View, join

    entities = pl.read_parquet(folder / "entities.parquet")

    def run() -> pl.DataFrame:
        ttl = timedelta(days=case["ttl_days"])
        keys = [] if case["keyless"] else ["key"]
        joined = [
            View(
                view,
                pl.scan_parquet(folder / f"{view}.parquet"),
                keys,
                features(case, view),
                ttl=ttl,
                is_rereadable=True,
            )
            for view in views(case)
        ]
        return join(entities, joined, at="event_timestamp", **options)

    return run, lambda frame: frame


def join_event_only(folder: Path, case: dict[str, Any]) -> Run:
    from platform_assets.science.point_in_time import EVERYTHING_KNOWN

    return join_alone(folder, case, as_of=EVERYTHING_KNOWN)


def polars_join_asof(folder: Path, case: dict[str, Any]) -> Run:
    """Event time only, the rows back in their order: what one writes by hand."""
    entities = pl.read_parquet(folder / "entities.parquet")

    def run() -> pl.DataFrame:
        rows = entities.lazy().with_row_index("__row").sort("event_timestamp")
        for view in views(case):
            names = features(case, view)
            frame = pl.scan_parquet(folder / f"{view}.parquet")
            held = frame.select("key", "event_at", "known_at", *names).sort("event_at", "known_at").drop("known_at")
            rows = rows.join_asof(
                held, left_on="event_timestamp", right_on="event_at", by="key", coalesce=False, check_sortedness=False
            )
            fresh = pl.col("event_at") >= pl.col("event_timestamp") - timedelta(days=case["ttl_days"])
            rows = rows.with_columns(pl.when(fresh).then(pl.col(names))).drop("event_at")
        return rows.sort("__row").drop("__row").collect()

    return run, lambda frame: frame


def duckdb_asof(folder: Path, case: dict[str, Any]) -> Run:
    """Both times, by the same reduction to one search, in SQL; rows in order."""
    import duckdb

    rows = pl.read_parquet(folder / "entities.parquet").to_arrow()

    def run() -> Any:
        connection = duckdb.connect(config={"threads": case["threads"]})
        connection.register("rows", rows)
        connection.execute("create temp table asked as select *, epoch_us(event_timestamp) as at_us from rows")
        last = "asked"
        for view in views(case):
            file = folder / f"{view}.parquet"
            names = features(case, view)
            fresh = f"v.event_us >= e.at_us - {case['ttl_days'] * 86_400_000_000}"
            chosen = ", ".join(f"case when {fresh} then v.{n} end as {n}" for n in names)
            connection.execute(f"""
                create temp table v as
                with stored as (
                  select key, event_us, {", ".join(names)}, greatest(event_us, known_us) as available,
                         min(greatest(event_us, known_us)) over (
                           partition by key order by event_us, known_us, file_row_number
                           rows between 1 following and unbounded following) as superseded
                  from (select *, epoch_us(event_at) as event_us, epoch_us(known_at) as known_us
                        from read_parquet('{file}', file_row_number=true)))
                select * from stored where superseded is null or available < superseded""")
            connection.execute(f"""
                create temp table joined_{view} as select e.*, {chosen}
                from {last} e asof left join v on e.key = v.key and e.at_us >= v.available""")
            connection.execute(f"drop table v; drop table {last}")
            last = f"joined_{view}"
        return connection.execute(f"select * exclude (at_us) from {last} order by row").to_arrow_table()

    return run, lambda table: pl.DataFrame(pl.from_arrow(table))


def pandas_merge_asof(folder: Path, case: dict[str, Any]) -> Run:
    """Event time only, the rows back in their order."""
    import pandas as pd

    entities = pl.read_parquet(folder / "entities.parquet").to_pandas()

    def run() -> Any:
        rows = entities.sort_values("event_timestamp", kind="stable")
        for view in views(case):
            names = features(case, view)
            columns = ["key", "event_at", "known_at", *names]
            frame = pd.read_parquet(folder / f"{view}.parquet", columns=columns).sort_values(["event_at", "known_at"])
            rows = pd.merge_asof(
                rows, frame.drop(columns="known_at"), left_on="event_timestamp", right_on="event_at", by="key"
            )
            old = rows["event_at"] < rows["event_timestamp"] - pd.Timedelta(days=case["ttl_days"])
            rows.loc[old, names] = None
            rows = rows.drop(columns="event_at")
        return rows.sort_values("row", kind="stable")

    return run, lambda frame: pl.from_pandas(frame, nan_to_null=True)


def floor(folder: Path, case: dict[str, Any]) -> Run:
    """What any join does: read the needed columns, sort the keys, gather each column. None of the searching.

    It sorts as cheaply as we know: the entity rows in one sort, the views, which are in order of time, by a radix sort.
    """
    import numpy as np

    from platform_assets.science.as_of_search import sort_by_code

    entities = pl.read_parquet(folder / "entities.parquet")

    def run() -> list[Any]:
        times = entities["event_timestamp"].to_physical()
        first = int(times.to_numpy().min())
        out: list[Any] = [pl.Series((entities["key"].to_numpy() << 44) + (times.to_numpy() - first)).sort()]
        for view in views(case):
            frame = pl.scan_parquet(folder / f"{view}.parquet")
            keys = frame.select("key", "event_at", "known_at").collect()
            rows = pl.Series(np.resize(sort_by_code(keys["key"].to_numpy()).astype(np.uint32), len(entities)))
            values = frame.select(features(case, view)).collect().get_columns()
            out += [column.rechunk().gather(rows) for column in values]
        return out

    return run, lambda _: pl.DataFrame()


ENGINES: dict[str, Callable[[Path, dict[str, Any]], Run]] = {
    "perennial": perennial,
    "perennial_to_parquet": perennial_to_parquet,
    "join": join_alone,
    "join_event_only": join_event_only,
    "feast_duckdb": feast_duckdb,
    "feast_file": feast_file,
    "polars_join_asof": polars_join_asof,
    "duckdb_asof": duckdb_asof,
    "pandas_merge_asof": pandas_merge_asof,
    "floor": floor,
}


def measure(name: str, folder: Path, answer: Path | None) -> dict[str, float]:
    """CPU and wall seconds and peak memory of the engine's answer, which is written to `answer` afterwards."""
    case = json.loads((folder / "case.json").read_text())
    run, as_polars = ENGINES[name](folder, case)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = memory_mb("VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    taken = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    peak = memory_mb("VmHWM")
    if answer is not None:
        as_polars(result).write_parquet(answer)
    return {**taken, "peak_mb": peak, "start_mb": before}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)))
