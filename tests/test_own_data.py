"""Someone else's sales and a model of their own, by the README's two commands: weeks instead of days, other names, no prices."""

import csv
import io
import json
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import poisson

from platform_assets.science.tasks import QUANTILES
from resources.tables import Tables
from tests.small import PERENNIAL, copy_project, environment, shrink_models

FIRST_ON, WEEKS = date(2022, 1, 3), 130
SHOPS, ITEMS = ("Lyon", "Paris Nord", "Lille/Centre"), 14
SHRUNK = {"parameters": {"rounds": 60, "learning_rate": 0.2}, "rows_per_series": 120}


def expected_units() -> pl.DataFrame:
    """The law of the bakery: mean units of each series and week, with a season of its own."""
    rng = np.random.default_rng(5)
    rows = []
    for shop in SHOPS:
        for item in range(ITEMS):
            base = rng.lognormal(2, 0.8)
            for week in range(WEEKS + 4):
                season = 1 + 0.4 * np.sin(2 * np.pi * week / 52 + item % 3)
                rows.append((shop, f"pain-{item}", FIRST_ON + timedelta(days=7 * week), base * season))
    return pl.DataFrame(rows, schema=["shop", "item", "week", "mean"], orient="row")


def write_bakery(path: Path) -> None:
    """Weekly sums as a till exports them: only what was sold, dates in the French order."""
    law = expected_units().filter(pl.col("week") < FIRST_ON + timedelta(days=7 * WEEKS))
    sold = law.with_columns(qty=pl.Series(np.random.default_rng(6).poisson(law["mean"].to_numpy())))
    rows = sold.filter(pl.col("qty") > 0).select(
        pl.col("week").dt.to_string("%d/%m/%Y").alias("semaine"), "shop", "item", "qty"
    )
    rows.write_csv(path)


@pytest.mark.long
def test_a_bakery_is_forecast_by_two_commands_and_a_demo(tmp_path: Path) -> None:
    project, state, data = copy_project(tmp_path / "project"), tmp_path / "state", tmp_path / "bakery.csv"
    write_bakery(data)

    def run(program: list[str], *arguments: str) -> str:
        done = subprocess.run(
            [*program, *arguments],
            cwd=project,
            env={**environment(project), "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        return done.stdout

    dg = [os.fspath(Path(sys.executable).with_name("dg")), "scaffold", "defs"]
    run(
        dg,
        *("platform_assets.components.SalesSource", "data/bakery"),
        *("--sample", str(data), "--timezone", "Europe/Paris"),
    )
    run(dg, "platform_assets.components.TrainedModel", "models/slow_movers")
    shrink_models(project, "slow_movers", **SHRUNK)

    printed = run(PERENNIAL, "demo", "--data", str(data), "--state", str(state))
    assert "slow_movers@1 is champion" in printed

    # What is said: four weeks for every series, no sum of days.
    last_on = FIRST_ON + timedelta(days=7 * (WEEKS - 1))
    table = list(csv.DictReader(io.StringIO(run(PERENNIAL, "predict", "slow_movers", "--csv", "--state", str(state)))))
    assert {row["target_on"] for row in table} == {str(last_on + timedelta(days=7 * ahead)) for ahead in range(1, 5)}
    assert len(table) == 4 * len(SHOPS) * ITEMS
    assert {row["series_id"].split("/")[0] for row in table} == {"Lyon", "Paris Nord", "Lille%2FCentre"}
    impact = json.loads(run(PERENNIAL, "impact", "bakery/lines.qty", "--state", str(state), "--json"))["impact"]
    assert "q500" in impact["slow_movers/predictions"]

    # No forecast is better than the law that made the sales; one that is has seen the future.
    figures = json.loads((state / "reports" / "slow_movers" / "1.json").read_text())["figures"]
    law = oracle_loss(judged_rows(state))
    ours = figures["candidate"]["pinball"]["estimate"]
    best = min(told["pinball"]["estimate"] for name, told in figures.items() if name != "candidate")
    assert law * 0.98 < ours < best, (law, ours, best)


def judged_rows(state: Path) -> pl.DataFrame:
    rows = Tables(state / "tables").scan("slow_movers/training_set").filter(pl.col("purpose") == "evaluation").collect()
    means = expected_units().select(
        target_on="week",
        mean="mean",
        series_id=pl.concat_str(pl.col("shop").str.replace("/", "%2F"), "item", separator="/"),
    )
    return rows.filter(pl.col("units").is_not_null()).join(means, on=["series_id", "target_on"], how="inner")


def oracle_loss(rows: pl.DataFrame) -> float:
    """Mean pinball loss of the true quantiles."""
    said = pl.DataFrame(
        {
            name: poisson.ppf(level, rows["mean"].to_numpy())
            for name, level in zip(QUANTILES.outputs, QUANTILES.levels, strict=True)
        }
    )
    return float(QUANTILES.loss(rows["units"], said).mean())  # pyright: ignore[reportArgumentType]
