"""How far each of 20 columns has moved, beside scipy and Evidently: Kolmogorov-Smirnov and Wasserstein, exactly.

Each engine computes the same statistics of the same columns in a process of its own, in turn; the answers are compared
first. A monitored model is compared with one reference again and again, so ours has two costs: preparing the reference,
once, and each comparison with it. The peers keep nothing. Evidently is no dependency of this project: name an
interpreter that has it with --evidently-python. The columns stand for what a retailer's features are: normal, long
tails, counts with many ties, prices in cents, mostly zero.

The two-sample statistics are those of Smirnov (1939) and Vallender (1974).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
MOVED = 1.002  # so little that p-values say something
TOLERANCES = (1e-9, 1e-3)  # relative: of a statistic, and of a p-value, which we take from a limit and scipy from a sum
STATISTICS = ("ks", "wasserstein")


def column(number: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The reference's and the present values of a column, the same in every process."""
    random = np.random.default_rng(number)

    def drawn() -> np.ndarray:
        match number % 5:
            case 0:
                return random.normal(20.0, 5.0, rows)
            case 1:
                return random.lognormal(1.0, 1.5, rows)
            case 2:
                return random.poisson(3.0, rows).astype(np.float64)
            case 3:
                return np.round(random.gamma(2.0, 6.0, rows), 2)
            case _:
                return np.where(random.random(rows) < 0.7, 0.0, random.gamma(1.5, 4.0, rows))

    return drawn(), drawn() * MOVED


def perennial(statistic: str, rows: int, columns: int, *, one_at_a_time: bool) -> Iterator[tuple[str, Any]]:
    """Reference by reference, then comparison by comparison; or both for each column, where memory is scarce."""
    import polars as pl
    import scipy.special  # noqa: F401  # before the clock runs, as the peers import theirs

    from platform_assets.science import distances
    from platform_assets.science.sorted_reference import Current, Reference

    def compared(kept: Any, now: pl.Series) -> tuple[float, float]:
        present = Current.of(now, kept)
        if statistic == "wasserstein":
            return distances.wasserstein(kept, present), float("nan")
        found = distances.kolmogorov_smirnov(kept, present)
        return found, distances.kolmogorov_smirnov_p(found, kept.values.size, present.values.size)

    kept: dict[int, Any] = {}
    for group in [[number] for number in range(columns)] if one_at_a_time else [list(range(columns))]:
        for number in group:
            before = pl.Series("x", column(number, rows)[0])
            yield "start", None
            kept[number] = Reference.of(before)
            yield "prepare", None
        for number in group:
            now = pl.Series("x", column(number, rows)[1])
            reference = kept.pop(number)
            yield "start", None
            yield "compare", compared(reference, now)


def scipy(statistic: str, rows: int, columns: int, *, one_at_a_time: bool) -> Iterator[tuple[str, Any]]:
    """Both samples sorted anew for each column."""
    from scipy import stats

    for number in range(columns):
        before, now = column(number, rows)
        yield "start", None
        if statistic == "wasserstein":
            yield "compare", (float(stats.wasserstein_distance(before, now)), float("nan"))
        else:
            found: Any = stats.ks_2samp(before, now, method="asymp")
            yield "compare", (float(found.statistic), float(found.pvalue))


def evidently(statistic: str, rows: int, columns: int, *, one_at_a_time: bool) -> Iterator[tuple[str, Any]]:
    """One report over all columns; it answers with the p-value, or with the distance over the deviation."""
    import pandas as pd  # pyright: ignore[reportMissingImports]
    from evidently import DataDefinition, Dataset, Report  # pyright: ignore[reportMissingImports]
    from evidently.metrics import ValueDrift  # pyright: ignore[reportMissingImports]

    names = [f"c{number}" for number in range(columns)]
    pairs = [column(number, rows) for number in range(columns)]
    scales = [max(float(np.std(before)), 0.001) for before, _ in pairs]
    frames = [pd.DataFrame(dict(zip(names, side, strict=True))) for side in zip(*pairs, strict=True)]
    del pairs
    yield "start", None
    definition = DataDefinition(numerical_columns=names)
    before, now = (Dataset.from_pandas(frame, data_definition=definition) for frame in frames)
    told = Report([ValueDrift(column=name, method=statistic) for name in names]).run(now, before).dict()
    values = [float(metric["value"]) for metric in told["metrics"]]
    if statistic == "ks":
        yield "compare", [(float("nan"), value) for value in values]
    else:
        yield "compare", [(value * scale, float("nan")) for value, scale in zip(values, scales, strict=True)]


ENGINES = {"perennial": perennial, "scipy": scipy, "evidently": evidently}


def measured(engine: str, statistic: str, rows: int, columns: int, one_at_a_time: bool) -> dict[str, Any]:
    """Figures of one engine in this process: CPU seconds of each part, peak memory, answers."""
    spent, answers, start = {"prepare": 0.0, "compare": 0.0}, [], 0.0
    start_mb: float | None = None
    for part, answer in ENGINES[engine](statistic, rows, columns, one_at_a_time=one_at_a_time):
        if part == "start":
            start_mb = peak_mb() if start_mb is None else start_mb
            start = time.process_time()
            continue
        spent[part] += time.process_time() - start
        if answer is not None:
            answers.extend(answer if isinstance(answer, list) else [answer])
    return {**spent, "peak_mb": peak_mb(), "start_mb": start_mb, "answers": answers}


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def start(engine: str, statistic: str, rows: int, options: argparse.Namespace) -> dict[str, Any]:
    """Figures of one run in a process of its own, or `failed` with the reason."""
    python = options.evidently_python if engine == "evidently" else sys.executable
    sizes = ["--rows", str(rows), "--columns", str(options.columns)]
    command = [python, "-W", "ignore", __file__, "--engine", engine, "--statistics", statistic, *sizes]
    environment = {**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1"}
    if engine != "evidently":
        environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1][:150]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(ours: list[list[float]], theirs: list[list[float]]) -> str:
    """In words, how answers differ from ours."""
    for mine, other in zip(ours, theirs, strict=True):
        for x, y, tolerance in zip(mine, other, TOLERANCES, strict=True):
            if np.isfinite(x) and np.isfinite(y) and abs(x - y) > tolerance * max(abs(x), abs(y), 1e-9):
                return f"other: {y:.12g}, ours {x:.12g}"
    return "equal"


def case(statistic: str, rows: int, engines: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """The case's table, printed."""
    print(f"\n{options.columns} columns x {rows:,} rows against as many, {statistic}", flush=True)
    runs: dict[str, list[dict[str, Any]]] = {engine: [] for engine in engines}
    for _ in range(options.rounds):
        for engine in engines:
            slow = runs[engine] and runs[engine][0].get("compare", 0.0) > options.repeat_below
            if not slow and not (runs[engine] and "failed" in runs[engine][0]):
                runs[engine].append(start(engine, statistic, rows, options))
    print(
        f"  {'engine':12} {'prepare CPU s':>14} {'compare CPU s':>14} {'peak MB':>8} {'start MB':>9} {'runs':>5}  answer"
    )
    best: dict[str, dict[str, Any]] = {}
    for engine, found in runs.items():
        good = [run for run in found if "failed" not in run]
        if not good:
            print(f"  {engine:12} failed: {found[0]['failed']}", flush=True)
            continue
        least = min(good, key=lambda run: run["prepare"] + run["compare"])
        note = "" if engine == "perennial" else compare(best["perennial"]["answers"], least["answers"])
        best[engine] = {**least, "note": note}
        print(
            f"  {engine:12} {least['prepare']:14.2f} {least['compare']:14.2f} {least['peak_mb']:8.0f} "
            f"{least['start_mb']:9.0f} {len(good):5}  {note}",
            flush=True,
        )
    if ours := best.get("perennial"):
        for engine in best.keys() - {"perennial"}:
            theirs = best[engine]["compare"]
            whole = ours["prepare"] + ours["compare"]
            print(
                f"  {engine} over perennial: {theirs / ours['compare']:.1f}x with the reference kept, "
                f"{theirs / whole:.1f}x with the cost of preparing it",
                flush=True,
            )
    return {f"{statistic} {rows}": best}


def main() -> None:
    """Prints one table for each case; exits with 1 where an answer differs or our own engine fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", help="rows of a column, separated by commas; 1e6 by default, 1e6,1e7 with --full")
    parser.add_argument("--full", action="store_true", help="the sizes of the documentation (some ten minutes)")
    parser.add_argument("--columns", type=int, default=20, help="of five kinds in turn")
    parser.add_argument("--statistics", default=",".join(STATISTICS))
    parser.add_argument("--evidently-python", help="interpreter with evidently; up to 1M rows")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each engine, in turn; the quickest counts")
    parser.add_argument(
        "--repeat-below", type=float, default=30, help="an engine slower than so many seconds runs once"
    )
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [int(float(size)) for size in (options.rows or ("1e6,1e7" if options.full else "1e6")).split(",")]
    if options.engine:
        print(json.dumps(measured(options.engine, options.statistics, sizes[0], options.columns, sizes[0] > 10**6)))
        return
    everything: dict[str, Any] = {}
    for rows in sizes:
        engines = ["perennial", "scipy"]
        if rows <= 10**6 and options.evidently_python:
            engines.append("evidently")
        elif rows <= 10**6:
            print("Evidently is left out: name an interpreter that has it with --evidently-python")
        for statistic in options.statistics.split(","):
            everything |= case(statistic, rows, engines, options)
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1))
    notes = [run["note"] for best in everything.values() for run in best.values()]
    if not all("perennial" in best for best in everything.values()) or any(note.startswith("other") for note in notes):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
