"""How often the check `feature_drift` errs, how long an alarm lasts, and what it finds: simulated worlds of few series.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.drift_alarms --worlds 100

Weekly sales of series whose levels wander and go nowhere. The reference is drawn from two years by `sampling.fit_rows`;
then each of 30 weeks is judged against it. In the null worlds each alarm is false; in the others all sell more from the
first judged week on.
"""

import argparse
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

import numpy as np
import polars as pl

from platform_assets.names import EVENT_AT, KNOWN_AT, PERIOD_ON, SERIES_ID, UNITS
from platform_assets.science import input_watch
from platform_assets.science.demand import sampling

STARTS_ON = date(2022, 1, 3)
BEFORE, PAST, JUDGED = 52, 104, 30  # weeks: that features look back on, of the reference, judged
HORIZONS = (7, 14, 21, 28)
WEEKS_BACK = (1, 4, 8, 13, 26, 52)
FEATURES = [f"{name}_{weeks}" for weeks in WEEKS_BACK for name in ("mean", "spread")] + ["last_year"]


def world(seed: int, series: int, rise: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sales of each series and week, and the features known at the week's end."""
    random = np.random.default_rng(seed)
    weeks = BEFORE + PAST + JUDGED
    wandering = np.empty((weeks, series))
    wandering[0] = random.normal(size=series)
    for week in range(1, weeks):
        wandering[week] = 0.97 * wandering[week - 1] + np.sqrt(1 - 0.97**2) * random.normal(size=series)
    level = np.exp(3.0 + random.normal(size=series) + 0.2 * wandering)
    level[BEFORE + PAST :] *= 1 + rise
    units = random.poisson(level * random.gamma(10.0, 0.1, size=level.shape)).astype(float)
    known = {"last_year": np.roll(units, 51, axis=0)}
    for back in WEEKS_BACK:
        seen = np.stack([np.roll(units, lag, axis=0) for lag in range(back)])
        known |= {f"mean_{back}": seen.mean(axis=0), f"spread_{back}": np.log1p(seen).std(axis=0)}
    on = [STARTS_ON + timedelta(weeks=week) for week in range(weeks)]
    ends = [datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(weeks=1) for day in on]
    periods = pl.DataFrame({PERIOD_ON: on, EVENT_AT: ends, KNOWN_AT: ends}).with_columns(
        pl.col(EVENT_AT, KNOWN_AT).dt.cast_time_unit("us")
    )
    rows = periods.join(pl.DataFrame({SERIES_ID: [f"s{number:04d}" for number in range(series)]}), how="cross")
    return rows.with_columns(pl.Series(UNITS, units.ravel())), rows.select(
        SERIES_ID, pl.col(EVENT_AT).alias("issued_at"), *(pl.Series(name, known[name].ravel()) for name in FEATURES)
    )


def judged(seed: int, series: int, rise: float) -> list[int]:
    """How many features have left their range in each judged week."""
    sales, features = world(seed, series, rise)
    past_on, last_on = (STARTS_ON + timedelta(weeks=weeks) for weeks in (BEFORE, BEFORE + PAST - 1))
    past = sales.filter(pl.col(PERIOD_ON) <= last_on + timedelta(days=28))
    rows = round(PAST * min(1.6 * series, 150))
    key = [SERIES_ID, "issued_at"]
    drawn = sampling.fit_rows(past.lazy(), rows=rows, horizons=HORIZONS, start_on=past_on, end_on=last_on, seed=seed)
    training, found = drawn.join(features, on=key), []
    for week in range(BEFORE + PAST, BEFORE + PAST + JUDGED):
        known = sales.filter(pl.col(PERIOD_ON) <= STARTS_ON + timedelta(weeks=week)).lazy()
        issued = sampling.issue_rows(known, horizons=HORIZONS).join(features, on=key)
        weights = sampling.last_weights(known)
        found.append(int(input_watch.input_drift(training, issued, FEATURES, weights=weights)["has_drifted"].sum()))
    return found


def main() -> None:
    """A line for each number of series and each rise."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--worlds", type=int, default=100)
    ask.add_argument("--series", type=int, nargs="+", default=[45, 300])
    ask.add_argument("--rises", type=float, nargs="+", default=[0.0, 0.3, 0.6])
    chosen = ask.parse_args()
    for series in chosen.series:
        for rise in chosen.rises:
            found = np.array([judged(seed, series, rise) for seed in range(chosen.worlds)]) > 0
            runs = [len(list(run)) for one in found for is_alarm, run in groupby(one) if is_alarm]
            lasting = sum(max([len(list(run)) for on, run in groupby(one) if on], default=0) >= 8 for one in found)
            print(
                f"{series} series, rise {rise:.0%}: first week {found[:, 0].mean():.3f}, all weeks {found.mean():.3f}, "
                f"an alarm lasts {np.mean(runs) if runs else 0:.1f} weeks, worlds with one of 8 weeks or more "
                f"{lasting / len(found):.3f}, any alarm {found.any(axis=1).mean():.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
