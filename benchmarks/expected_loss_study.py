"""How good the estimate of a champion's loss before labels is, on simulated worlds, and how often its interval holds.

Champions, worlds and scenarios are those of detection_worlds.py; forecasts are issued weekly for 28 days. At each issue the
outlook learns from the champion's backtest of 84 days and from labels known by then, as in production; once its weeks have
passed, each is compared with what came. Printed: the share of weeks inside the 90% interval and the error by weeks ahead
where nothing happens, and the share inside by weeks since the onset of each scenario.

    .venv/bin/python -m benchmarks.expected_loss_study --worlds 40 --every 4

takes about 6 CPU seconds a null world and 15 more for one with scenarios.
"""

import argparse
from collections.abc import Iterable, Iterator
from datetime import timedelta

import numpy as np
import polars as pl

from benchmarks import detection_worlds as worlds
from platform_assets.science import outlook
from platform_assets.science.tasks import QUANTILES

FIRST_SEED = 600
OWN_DAYS = 84
SCENARIOS = ("covshift", "step", "elastic", "weekly", "disp")


def weekly_issues() -> Iterator[worlds.Issue]:
    """Every series and day of the horizon, each week from the champion's first on."""
    for issued in range(worlds.LIVE_FROM - 1, worlds.DAYS - 7, 7):
        ahead = np.arange(issued + 1, min(issued + 1 + worlds.HORIZON, worlds.DAYS))
        target, series = np.meshgrid(ahead, np.arange(worlds.STORES * worlds.SKUS), indexing="ij")
        yield issued, target.ravel(), series.ravel()


def scored(sales: worlds.Sales, boosters: list, issues: Iterable[worlds.Issue]) -> outlook.Scored:
    """These forecasts, with their labels."""
    parts = []
    for issued, targets, of in issues:
        known = ~np.isnan(sales.units[targets, of]) & sales.is_live(issued)[of]
        target, series = targets[known], of[known]
        matrix, level = worlds.features(sales, issued, target, series)
        raw = np.column_stack([booster.predict(matrix.astype(np.float32), num_threads=1) for booster in boosters])
        quantiles = np.sort(np.maximum(raw, 0.0) ** (1 / worlds.POWER) * level[:, None], axis=1)
        on = pl.Series(np.datetime64(sales.starts_on, "D") + target).cast(pl.Date)
        keys = {"target_on": on, "horizon_days": target - issued, "units": sales.units[target, series]}
        issued_at = pl.lit(sales.starts_on + timedelta(days=issued + 1)).cast(pl.Datetime("us", "UTC"))
        parts.append(
            pl.DataFrame(keys)
            .hstack(pl.DataFrame(quantiles, schema=list(QUANTILES.outputs)))
            .with_columns(issued_at=issued_at)
        )
    rows = pl.concat(parts)
    return outlook.Scored.of(rows, rows.select(QUANTILES.outputs), QUANTILES, label="units")


def lived(tested: outlook.Scored, live: outlook.Scored) -> pl.DataFrame:
    """Each issue's weeks: the estimate as it was made, and what came."""
    issued, target = live.rows["issued_at"].dt.date().to_numpy(), live.rows["target_on"].to_numpy()
    kept = pl.DataFrame(schema=outlook.ESTIMATES)
    for at in np.unique(issued):
        past = live.part((target < at) & (issued < at))
        came = outlook.compared(kept, past, known_until=at.astype(object) - timedelta(days=1))
        now = live.part(issued == at)
        found = outlook.outlook(tested, past, came, now.rows, now.said, QUANTILES)
        kept = pl.concat([kept, found.estimates])
    weeks = outlook.compared(kept, live, known_until=target.max().astype(object))
    return weeks.filter((pl.col("last_on") - pl.col("first_on")).dt.total_days() == 6)


def world(seed: int, scenarios: Iterable[str]) -> pl.DataFrame:
    """Weeks of the world without a scenario, and with each."""
    null = worlds.sales_of(seed, "none")
    issues = [issue for issue in worlds.backtest_issues() if issue[0] >= worlds.LIVE_FROM - OWN_DAYS - 1]
    tested = scored(null, worlds.fit(null, worlds.LIVE_FROM - worlds.BACKTEST_DAYS, seed), issues)
    shipped = worlds.fit(null, worlds.LIVE_FROM, seed)
    onset_on = null.starts_on + timedelta(days=worlds.LIVE_FROM + worlds.ONSET_AFTER)
    frames = [
        lived(tested, scored(worlds.sales_of(seed, name), shipped, weekly_issues())).with_columns(
            scenario=pl.lit(name),
            seed=pl.lit(seed),
            since=((pl.col("first_on") - onset_on).dt.total_days() // 7).cast(pl.Int64),
        )
        for name in ("none", *scenarios)
    ]
    return pl.concat(frames)


def main() -> None:
    """Makes the worlds and prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--worlds", type=int, default=40)
    parser.add_argument("--every", type=int, default=4, help="each so many-th seed lives through each scenario too")
    chosen = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + chosen.worlds)
    found = pl.concat([world(seed, SCENARIOS if seed % chosen.every == 0 else ()) for seed in seeds])
    error = (pl.col("realized") / pl.col("expected")).log()
    null = found.filter(scenario="none")
    each = null.group_by("seed").agg(pl.col("is_inside").mean())["is_inside"].to_numpy()
    spread = each.std(ddof=1) / np.sqrt(each.size) if each.size > 1 else float("nan")
    print(
        f"{null.height} weeks of {each.size} null worlds: {each.mean():.3f} inside, +- {1.96 * spread:.3f} over worlds"
    )
    with pl.Config(tbl_rows=100, tbl_hide_column_data_types=True):
        print(
            null.group_by("week")
            .agg(weeks=pl.len(), inside=pl.col("is_inside").mean(), error=(error**2).mean().sqrt(), bias=error.mean())
            .sort("week")
        )
        span = (
            pl.when(pl.col("since") < 0)
            .then(pl.lit("a before"))
            .when(pl.col("since") < 2)
            .then(pl.lit("b weeks 1-2"))
            .when(pl.col("since") < 6)
            .then(pl.lit("c weeks 3-6"))
            .otherwise(pl.lit("d later"))
        )
        told = found.with_columns(span=span).group_by("scenario", "span").agg(pl.col("is_inside").mean())
        print(told.sort("span").pivot("span", index="scenario", values="is_inside").sort("scenario"))


if __name__ == "__main__":
    main()
