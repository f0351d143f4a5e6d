"""What each detector of a change in the stream of results is worth on simulated worlds, and the limits that it needs.

Each null world is a retailer of 300 series to whom nothing happens; some of them also live through each scenario of the
simulator (see detection_worlds.py). Limits are chosen on nine tenths of the worlds and measured on the others, in turn: false
alarms within 90 days of a champion's going live, and how often and how soon a scenario is found within 90 days of its
onset. Of the default combination the limits on all worlds, by length of the own backtest, are printed as the constants
of `science/calibration.py`.

    .venv/bin/python benchmarks/detection_study.py --out /tmp/detection

takes about 3 CPU seconds a null world and 6 more for one with scenarios. It can be broken off and goes on where it was;
`--part 1/4` makes a fourth of the worlds, beside other such processes.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from detection_worlds import BACKTEST_DAYS, LIVE_DAYS, ONSET_AFTER, SCENARIOS, world
from numpy.typing import NDArray

from platform_assets.science import calibration, detectors, streams
from platform_assets.science.tasks import QUANTILES

Floats = NDArray[np.float64]
Signals = dict[str, Floats]  # name -> (2, days): value and rows, from the backtest on; NaN where unknown

OWN_DAYS: Final = 84  # of the backtest that all but the table of limits go by: three origins of 28 days
SPAN: Final = 90
FOLDS: Final = 10  # limits are chosen on nine and measured on the tenth
ALLOWED: Final = 0.0075  # of the worlds that limits are chosen on: less than is promised, as others will be met
FLOOR_FACTOR: Final = 1.3  # floors are so many times the median spread of a null world's own backtest
TAIL: Final = 0.975  # a signal's share in a combination's limits is this quantile of its greatest statistics
FIRST_SEED, FIRST_FULL = 100, 250  # first world, and first of those that live through each scenario
LISTENED: Final = (streams.LOSS, streams.OVER_BASELINE, streams.BIAS, streams.UPPER_COVERAGE)
FIRST_TRY: Final = (streams.coverage_of("q500"), streams.WEEKDAY_PROFILE, streams.BIAS, streams.NEWER_LOSS)
PATHS: Final[Mapping[str, Callable[[Floats], Floats]]] = {
    "CUSUM": detectors.cusum,
    "Page-Hinkley": detectors.page_hinkley,
    "ADWIN": detectors.adwin,
}


def make_worlds(out: Path, seeds: Sequence[int], full: Sequence[int]) -> None:
    """Those that are not there yet, each in a file of its own."""
    missing = [seed for seed in seeds if not _file(out, seed).is_file()]
    began = time.monotonic()
    for number, seed in enumerate(missing, 1):
        made = world(seed, SCENARIOS if seed in full else ())
        temporary = _file(out, seed).with_suffix(".tmp")
        made.write_parquet(temporary)
        temporary.rename(_file(out, seed))
        left = (time.monotonic() - began) / number * (len(missing) - number)
        print(f"{number} of {len(missing)}: world {seed}, {left:.0f} s left", flush=True)


def signals_of(sums: pl.DataFrame, own_days: int) -> dict[str, Signals]:
    """Scenario to its signals, stores taken together."""
    live_on = sums.filter(pl.col("at") == 0)["day"][0]
    null = sums.filter((pl.col("scenario") == "none") & (pl.col("at") >= -own_days))
    before = null.filter(pl.col("at") < ONSET_AFTER)
    reference = (live_on - timedelta(days=own_days), live_on - timedelta(days=1))
    found: dict[str, Signals] = {}
    for name in sums["scenario"].unique(maintain_order=True):
        rows = null if name == "none" else pl.concat([before, sums.filter(scenario=name)])
        said = streams.signals(rows.drop("scenario", "at", "part"), QUANTILES, reference=reference)
        arrays: Signals = {}
        for (signal,), values in said.group_by("signal"):
            place = (values["day"] - live_on).dt.total_days().to_numpy() + BACKTEST_DAYS
            arrays[str(signal)] = np.full((2, BACKTEST_DAYS + LIVE_DAYS), np.nan)
            arrays[str(signal)][:, place] = values.select(pl.col("value").cast(pl.Float64), "rows").to_numpy().T
        found[str(name)] = arrays
    return found


def past_of(arrays: Signals, signal: str, own_days: int) -> NDArray[np.bool_]:
    """Days of the backtest whose windows lie within it."""
    at = np.arange(BACKTEST_DAYS + LIVE_DAYS)
    begin = BACKTEST_DAYS - own_days + streams.window_days(signal) - 1
    return (at >= begin) & (at < BACKTEST_DAYS) & ~np.isnan(arrays[signal][0])


def statistic(
    arrays: Signals, null: Signals, signal: str, own_days: int, floor: float, *, signed: bool = False
) -> Floats:
    """The standardised signal, day by day; NaN where it is unknown, all of it where the backtest is too short."""
    past = past_of(null, signal, own_days)
    values, rows = arrays[signal]
    if not past.any():
        return np.full(values.size, np.nan)
    is_rising = signed or signal in streams.ONLY_RISING
    return calibration.standardised(values, rows, past, floor=floor, is_rising=is_rising)[1]


def spread(arrays: Signals, signal: str, own_days: int) -> float:
    """Robust spread of a signal in its own backtest."""
    values = arrays[signal][0][past_of(arrays, signal, own_days)]
    if not values.size:
        return float("nan")
    return calibration.MAD_TO_SD * float(np.median(np.abs(values - np.median(values))))


def greatest(path: Floats) -> float:
    """The greatest value within SPAN days of going live."""
    return float(np.nanmax(np.r_[0.0, path[BACKTEST_DAYS : BACKTEST_DAYS + SPAN]]))


def delay(path: Floats) -> float:
    """Days from the onset to the first value above 1, that day counted; infinite where there is none in SPAN days."""
    beyond = np.flatnonzero(path[BACKTEST_DAYS + ONSET_AFTER :][:SPAN] > 1.0)
    return float(beyond[0] + 1) if beyond.size else float("inf")


def is_long_enough(signal: str, length: int) -> bool:
    """Whether a backtest judges a signal: it holds the windows of a week once, longer ones twice."""
    window = streams.window_days(signal)
    return length >= (window if window == streams.WINDOW_DAYS else 2 * window)


def limits_for(maxima: Floats, allowed: float) -> Floats:
    """A limit for each column so that of the rows, worlds, a share of `allowed` at most has one beyond its limit."""
    tail = np.maximum(np.quantile(maxima, TAIL, axis=0), 1e-9)
    worst = np.sort((maxima / tail).max(axis=1))
    return tail * worst[-1 - int(allowed * len(worst))] * (1 + 1e-9)


class Study:
    """All worlds' signals, and the paths of every detector on them."""

    def __init__(self, found: dict[int, dict[str, Signals]]) -> None:
        self.found, self.seeds = found, sorted(found)
        names = list(found[self.seeds[0]]["none"])
        self.floors = {
            name: FLOOR_FACTOR
            * float(np.nanmedian([spread(found[seed]["none"], name, OWN_DAYS) for seed in self.seeds]))
            for name in names
        }

    def paths(self, detector: str, signal: str, *, noise: float = 1.0) -> dict[int, dict[str, Floats]]:
        """Seed and scenario to the path of a detector on a signal; `window` is the standardised signal itself."""
        told: dict[int, dict[str, Floats]] = {}
        for seed, scenarios in self.found.items():
            null, told[seed] = scenarios["none"], {}
            for name, arrays in scenarios.items():
                is_window = detector == "window"
                path = statistic(arrays, null, signal, OWN_DAYS, self.floors[signal] / noise, signed=not is_window)
                if not is_window:
                    begin = BACKTEST_DAYS if detector == "CUSUM" else BACKTEST_DAYS - OWN_DAYS
                    path = np.r_[np.zeros(begin), PATHS[detector](path[begin:])]
                told[seed][name] = path
        return told

    def measured(
        self, pairs: Sequence[tuple[str, str]], allowed: float, *, noise: float = 1.0
    ) -> tuple[int, dict[str, list[float]]]:
        """False alarms, and each scenario's delays, by limits of the other folds' worlds."""
        paths = [self.paths(*pair) for pair in pairs]
        used = paths if noise == 1.0 else [self.paths(*pair, noise=noise) for pair in pairs]
        maxima = np.array([[greatest(path[seed]["none"]) for path in paths] for seed in self.seeds])
        alarms, delays = 0, {name: list[float]() for name in SCENARIOS}
        for fold in range(FOLDS):
            measured = np.arange(len(self.seeds)) % FOLDS == fold
            limits = limits_for(maxima[~measured], allowed)
            for seed in np.array(self.seeds)[measured]:
                of = {
                    name: np.fmax.reduce([path[seed][name] / limit for path, limit in zip(used, limits, strict=True)])
                    for name in self.found[seed]
                }
                alarms += greatest(of["none"]) > 1.0
                for name in SCENARIOS:
                    if name in of:
                        delays[name].append(delay(of[name]))
        return alarms, delays


def interval(count: int, of: int) -> tuple[float, float]:
    """Clopper and Pearson's 95% interval of a share."""
    from scipy.stats import beta

    low = float(beta.ppf(0.025, count, of - count + 1)) if count else 0.0
    return low, float(beta.ppf(0.975, count + 1, of - count)) if count < of else 1.0


def shown(title: str, alarms: int, worlds: int, delays: Mapping[str, Sequence[float]]) -> str:
    """A row of the table: false alarms with their interval, then power and median delay of each scenario."""
    low, high = interval(alarms, worlds)
    cells = [f"{alarms / worlds:.1%} [{low:.1%}, {high:.1%}]"]
    for name in SCENARIOS:
        days = np.array(delays[name])
        found = np.isfinite(days).mean()
        cells.append(f"{found:.2f} ({np.median(days):.0f})" if found > 0.5 else f"{found:.2f}")
    return f"| {title} | {' | '.join(cells)} |"


def table(study: Study) -> list[str]:
    """Markdown: every detector and combination, false alarms and each scenario."""
    rows = [f"| | none | {' | '.join(SCENARIOS)} |", f"|---|{'---|' * (1 + len(SCENARIOS))}"]
    window = "window"
    default = [(window, name) for name in calibration.DEFAULT]
    sets: dict[str, tuple[list[tuple[str, str]], float]] = {
        "**default combination**": (default, ALLOWED),
        "coverage, weekday profile, bias, loss of 7 against 28": ([(window, name) for name in FIRST_TRY], ALLOWED),
    }
    for name in dict.fromkeys([*calibration.DEFAULT, *LISTENED, *FIRST_TRY, streams.coverage_of("q990")]):
        sets[f"window, {name}"] = ([(window, name)], ALLOWED)
    for detector in PATHS:
        for name in LISTENED:
            sets[f"{detector}, {name}"] = ([(detector, name)], ALLOWED)
    for title, (pairs, allowed) in sets.items():
        alarms, delays = study.measured(pairs, allowed)
        rows.append(shown(title, alarms, len(study.seeds), delays))
        print(rows[-1], flush=True)
    alarms, _ = study.measured(default, ALLOWED, noise=2.0)
    low, high = interval(alarms, len(study.seeds))
    rows.append(
        f"\nDefault combination where floors are half as high: {alarms / len(study.seeds):.1%} [{low:.1%}, {high:.1%}]"
    )
    alarms, delays = study.measured(default, ALLOWED)
    for name in SCENARIOS:
        count = int(np.isfinite(delays[name]).sum())
        low, high = interval(count, len(delays[name]))
        late = np.quantile(delays[name], 0.9, method="higher") if delays[name] else float("inf")
        middle = np.median(delays[name])
        rows.append(
            f"{name}: {count} of {len(delays[name])} found [{low:.2f}, {high:.2f}], median {middle:.0f} days, nine of ten within {late:.0f}"
        )
    return rows


def constants(out: Path, study: Study) -> list[str]:
    """FLOORS and LIMITS of science/calibration.py."""
    names = [*calibration.DEFAULT, streams.BIAS]
    by_length: dict[str, list[float]] = {name: [] for name in names}
    for length in calibration.LENGTHS:
        maxima = np.zeros((len(study.seeds), len(names)))
        for row, seed in enumerate(study.seeds):
            arrays = study.found[seed]["none"]
            if length != OWN_DAYS:
                null = pl.read_parquet(_file(out, seed)).filter(scenario="none")
                arrays = signals_of(null, length)["none"]
            for column, name in enumerate(names):
                path = statistic(arrays, arrays, name, length, study.floors[name])
                maxima[row, column] = float("nan") if np.isnan(path).all() else greatest(path)
        for chosen, allowed in ((list(range(len(calibration.DEFAULT))), ALLOWED), ([len(names) - 1], ALLOWED)):
            judged = [column for column in chosen if is_long_enough(names[column], length)]
            limits = dict(zip(judged, limits_for(maxima[:, judged], allowed), strict=True))
            for column in chosen:
                by_length[names[column]].append(float(limits.get(column, float("inf"))))
    lines = ["FLOORS = {"]
    lines += [f"    {name!r}: {study.floors[name]:.4g}," for name in names] + ["}", "LIMITS = {"]
    lines += [f"    {name!r}: ({', '.join(f'{limit:.2f}' for limit in by_length[name])})," for name in names]
    return [*lines, "}"]


def main() -> None:
    """Makes the worlds, prints the constants and the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder that keeps what was made")
    parser.add_argument("--worlds", type=int, default=400)
    parser.add_argument("--full", type=int, default=50, help="so many of them live through each scenario too")
    parser.add_argument("--part", default="1/1", help="make only these worlds, and no table: 2/4 is the second fourth")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    seeds = range(FIRST_SEED, FIRST_SEED + chosen.worlds)
    full = range(FIRST_FULL, FIRST_FULL + chosen.full)
    part, parts = (int(number) for number in chosen.part.split("/"))
    make_worlds(chosen.out, [seed for seed in seeds if seed % parts == part - 1], full)
    if parts > 1:
        return
    found = {seed: signals_of(pl.read_parquet(_file(chosen.out, seed)), OWN_DAYS) for seed in seeds}
    study = Study(found)
    lines = [*table(study), "", *constants(chosen.out, study)]
    (chosen.out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _file(out: Path, seed: int) -> Path:
    return out / f"world-{seed:05d}.parquet"


if __name__ == "__main__":
    main()
