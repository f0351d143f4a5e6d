"""The point-in-time join beside its peers: same files, answers compared first, each engine in a process of its own.

The cases are those of Feast's users: histories with 10% corrections, a TTL, few and many entities. Engines run in turn;
figures are of the run that took the least CPU, because what else the machine does only adds to it. Below each table
stands what the floor, the join and Feast around it take apart. `--full` takes the sizes of docs/feast-offline-store.md,
`--filed` three cases from Feast's issue tracker (feast#3003, #3863, #4589), `--big` the largest join, written to Parquet,
and the exponent with which CPU seconds grow up to it. How much Feast's own stores take depends above all on how many
rows of a key lie within the TTL (`--ttl-days`): they join all of them and choose afterwards. Its DuckDB store needs
`ibis-framework[duckdb]`, which Perennial does not install:
name another environment's interpreter with `--duckdb-python`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

ROOT = Path(__file__).parents[1]
MICROSECONDS_PER_DAY = 86_400_000_000
START = 1_640_995_200_000_000  # 2022-01-01 in microseconds
EVENT_ONLY = ("join_event_only", "polars_join_asof", "pandas_merge_asof")
FEAST = ("perennial", "feast_duckdb", "feast_file")
"""Engines that answer through Feast's API; the others are compared with the join alone."""


@dataclass(frozen=True)
class Case:
    """Sizes of one comparison."""

    views: int
    rows: int
    entities: int
    keys: int
    features: int = 5
    days: int = 180
    ttl_days: int = 30
    strings: bool = False
    keyless: bool = False
    between: bool = False
    threads: int = 2
    limit_mb: int = 2560
    name: str = ""

    @property
    def title(self) -> str:
        sizes = f"{self.views} x {short(self.rows)} rows, {short(self.entities)} entity rows, {short(self.keys)} keys"
        return f"{self.name} ({sizes})" if self.name else sizes


def short(count: int) -> str:
    return f"{count / 1e6:g}M" if count >= 10**6 else f"{count / 1e3:g}k" if count >= 1000 else str(count)


def instants(values: Any) -> pl.Series:
    return pl.Series(values).cast(pl.Datetime("us", "UTC"))


def keys_of(case: Case, codes: Any) -> pl.Series:
    return pl.Series(codes).cast(pl.String) + "/store" if case.strings else pl.Series(codes)


def make(case: Case, folder: Path) -> None:
    """The case's files: append logs in order of known-at, a tenth of whose rows correct an earlier one."""
    rng = np.random.default_rng(0)
    (folder / "case.json").write_text(json.dumps(asdict(case)))
    for view in range(case.views):
        original = case.rows - case.rows // 10
        code = rng.integers(0, case.keys, original)
        event = START + rng.integers(0, case.days * 86_400, original) * 10**6
        known = event + rng.integers(0, 3_600, original) * 10**6
        corrected = rng.choice(original, case.rows - original, replace=False)
        code, event = np.append(code, code[corrected]), np.append(event, event[corrected])
        known = np.append(known, known[corrected] + rng.integers(3_600, 5 * 86_400, len(corrected)) * 10**6)
        order = np.argsort(known, kind="stable")
        frame = pl.DataFrame({"event_at": instants(event[order]), "known_at": instants(known[order])})
        if not case.keyless:
            frame = frame.insert_column(0, keys_of(case, code[order]).alias("key"))
        for n in range(case.features):
            frame = frame.with_columns(pl.Series(f"view_{view}_f{n}", rng.random(case.rows)))
        frame.write_parquet(folder / f"view_{view}.parquet", row_group_size=128 * 1024)
    rows = pl.DataFrame(
        {
            "row": np.arange(case.entities),
            "key": keys_of(case, rng.integers(0, case.keys, case.entities)),
            "event_timestamp": instants(START + rng.integers(0, case.days * 86_400, case.entities) * 10**6),
        }
    )
    rows.write_parquet(folder / "entities.parquet")


def start(engine: str, folder: Path, answer: Path | None, options: argparse.Namespace) -> dict[str, Any]:
    """Figures of one run, or `failed` with the reason."""
    python = options.duckdb_python if engine == "feast_duckdb" and options.duckdb_python else sys.executable
    command = [python, str(Path(__file__).with_name("pit_engines.py")), engine, str(folder)]
    threads = {"POLARS_MAX_THREADS": str(options.threads), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            [*command, *([str(answer)] if answer else [])],
            capture_output=True,
            text=True,
            check=False,
            timeout=options.limit,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (options.memory_gb << 30,) * 2),
            env={**os.environ, **threads},
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {options.limit:g} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1][:150]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(answer: Path, truth: Path, case: Case) -> str:
    """In words, how an answer differs from ours; empty where it does not."""
    ours = pl.scan_parquet(truth)
    theirs = pl.scan_parquet(answer)
    height, wanted = (frame.select(pl.len()).collect().item() for frame in (theirs, ours))
    if case.between:
        return "" if height == wanted else f"{height:,} rows of {wanted:,}"
    both = theirs.select(pl.all().name.prefix("their_")).join(ours, left_on="their_row", right_on="row", how="inner")
    names = [name for name in ours.collect_schema() if name.startswith("view_")]
    same = pl.all_horizontal(pl.col(f"their_{n}").fill_nan(None).eq_missing(pl.col(n)) for n in names)
    wrong = both.select((~same).sum()).collect().item()
    said = [f"{wanted - height:,} of {wanted:,} rows lost"] if height != wanted else []
    said += [f"{wrong:,} rows with other values"] if wrong else []
    if not theirs.select(pl.col("row").is_sorted()).collect().item():
        said.append("rows in another order")
    return "; ".join(said)


def run(case: Case, engines: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """The case's table, printed: the first round compares answers, then rounds are timed in turn."""
    print(f"\n{case.title}", flush=True)
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        folder = Path(name)
        make(case, folder)
        figures: dict[str, list[dict[str, Any]]] = {engine: [] for engine in engines}
        notes: dict[str, str] = {}
        truths: dict[bool, Path] = {}
        for engine in engines:
            answer = folder / f"{engine}.answer.parquet"
            first = start(engine, folder, answer if len(engines) > 1 and engine != "floor" else None, options)
            figures[engine].append(first)
            if answer.exists() and "failed" not in first:
                truth = truths.setdefault(engine in EVENT_ONLY, answer)
                notes[engine] = compare(answer, truth, case) if truth != answer else ""
                if truth != answer:
                    answer.unlink()
        for _ in range(options.rounds - 1):
            for engine in engines:
                if "failed" not in figures[engine][0] and figures[engine][0]["wall_s"] < options.repeat_below:
                    figures[engine].append(start(engine, folder, None, options))
    return table(figures, notes)


def table(figures: dict[str, list[dict[str, Any]]], notes: dict[str, str]) -> list[dict[str, Any]]:
    print(f"  {'engine':18} {'CPU s':>8} {'wall s':>8} {'peak MB':>8} {'start MB':>8} {'CPU ratio':>9}  answer")
    rows = []
    for engine, runs in figures.items():
        good = [r for r in runs if "failed" not in r]
        if not good:
            print(f"  {engine:18} failed: {runs[0]['failed']}", flush=True)
            rows.append({"engine": engine, "failed": runs[0]["failed"]})
            continue
        least = min(good, key=lambda r: r["cpu_s"])
        base = next((r for r in rows if r["engine"] == ("perennial" if engine in FEAST else "join")), None)
        ratio = f"{least['cpu_s'] / base['cpu_s']:8.1f}x" if base and "failed" not in base else " " * 9
        note = (notes[engine] or "equal") if engine in notes else ""
        print(
            f"  {engine:18} {least['cpu_s']:8.2f} {least['wall_s']:8.2f} {least['peak_mb']:8.0f} "
            f"{least['start_mb']:8.0f} {ratio}  {note}",
            flush=True,
        )
        rows.append({"engine": engine, **least, "note": note})
    print_apart({row["engine"]: row["cpu_s"] for row in rows if "cpu_s" in row})
    return rows


def print_apart(cpu: dict[str, float]) -> None:
    """The floor, the join and Feast's wrapper, each by itself."""
    if "join" in cpu:
        said = [f"floor {cpu['floor']:.2f}, join {cpu['join'] / cpu['floor']:.2f}x"] if "floor" in cpu else []
        said += [f"Feast around the join {cpu['perennial'] - cpu['join']:+.2f} CPU s"] if "perennial" in cpu else []
        print("  " + "; ".join(said), flush=True)


def print_growth(cases: list[Case], tables: list[list[dict[str, Any]]]) -> None:
    """Exponents of CPU seconds from the first case to the last, by rows of a view."""
    first, last = ({r["engine"]: r["cpu_s"] for r in rows if "cpu_s" in r} for rows in (tables[0], tables[-1]))
    for engine in first.keys() & last.keys():
        exponent = log(last[engine] / first[engine]) / log(cases[-1].rows / cases[0].rows)
        print(
            f"\n{engine}: CPU seconds grow with exponent {exponent:.2f} ({short(cases[0].rows)} to {short(cases[-1].rows)})"
        )


ALONE = ["join", "join_event_only", "polars_join_asof", "duckdb_asof", "pandas_merge_asof", "floor"]
EVERY = [*FEAST, *ALONE]
BIG = ["perennial_to_parquet", "floor"]


def cases(options: argparse.Namespace) -> list[tuple[Case, list[str]]]:
    """What to run, and with whom."""
    three: list[str] = list(FEAST)
    if options.big:
        return [
            (Case(5, 2 * 10**6, 10**6, 10**5, name="to Parquet, strict"), BIG),
            (Case(5, 2 * 10**7, 10**7, 10**5, name="to Parquet, strict"), BIG),
        ]
    if options.filed:
        return [
            (Case(10, 100_000, 17_000, 1_000, features=100, strings=True, name="feast#3003: 100 features, string keys"), three),
            (Case(1, 200_000, 200_000, 1, keyless=True, days=8_333, ttl_days=36_500, name="feast#3863: no entities"), three),
            (Case(1, 600_000, 1, 10_000, between=True, ttl_days=36_500, name="feast#4589: all rows by start and end"), three),
        ]  # fmt: skip
    if options.full:
        table = [
            (Case(5, 200_000, 10**6, 10_000), EVERY),
            (
                Case(5, 200_000, 10**6, 10_000, ttl_days=365, name="nothing too old"),
                [e for e in EVERY if e != "feast_file"],
            ),
            (Case(5, 200_000, 10**6, 100_000), EVERY),
            (Case(5, 2 * 10**6, 10**6, 10_000), [e for e in EVERY if e != "feast_file"]),
            (Case(5, 2 * 10**6, 10**6, 100_000), [e for e in EVERY if e != "feast_file"]),
            (Case(5, 2 * 10**6, 10**5, 10_000), [e for e in EVERY if e != "feast_file"]),
        ]
    else:
        table = [(Case(5, 200_000, 50_000, 10_000), EVERY)]
    if options.size:
        views, rows, entities, keys = (int(float(part)) for part in options.size.split(","))
        table = [(Case(views, rows, entities, keys, ttl_days=options.ttl_days), EVERY)]
    return table


def main() -> None:
    """Prints one table for each case; exits with 1 where our own answers fail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the sizes of the documentation (an hour)")
    parser.add_argument("--filed", action="store_true", help="three cases from Feast's issue tracker")
    parser.add_argument("--big", action="store_true", help="20M rows a view and 10M entity rows, to Parquet (9 GB)")
    parser.add_argument("--size", help="views,rows,entity rows,keys: one case, such as 5,2e6,1e6,1e4")
    parser.add_argument("--ttl-days", type=int, default=30, help="TTL of the case of --size; its history is 180 days")
    parser.add_argument("--engines", help="only these, separated by commas")
    parser.add_argument("--rounds", type=int, default=3, help="timed runs of each engine")
    parser.add_argument(
        "--repeat-below", type=float, default=60, help="an engine slower than so many seconds runs once"
    )
    parser.add_argument(
        "--limit", type=float, default=600, help="seconds after which a run is given up and reported so"
    )
    parser.add_argument("--memory-gb", type=int, default=16, help="address space of a run; one that needs more fails")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--duckdb-python", help="interpreter with ibis-framework[duckdb], for Feast's DuckDB store")
    parser.add_argument("--scratch", help="folder for the files; about 2 GB for --full")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    everything = {}
    chosen = cases(options)
    for case, engines in chosen:
        wanted = [e for e in engines if not options.engines or e in options.engines.split(",")]
        everything[case.title] = run(case, wanted, options)
    if len(everything) > 1 and options.big:
        print_growth([case for case, _ in chosen], list(everything.values()))
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1))
    if any("failed" in row for rows in everything.values() for row in rows if row["engine"] in ("perennial", "join")):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
