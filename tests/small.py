"""A world that is large enough for the gate and small enough for a test, and a copy of the project to run it in."""

import os
import shutil
import sys
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from platform_assets.science.simulate import SimulatorConfig, simulate

PROJECT = Path(__file__).parents[1]
STORES, SKUS, DAYS = 2, 24, 420  # more series than the gate asks for, a year of lags and three origins
FIRST_ON = date(2024, 1, 1)
LAST_ON = FIRST_ON + timedelta(days=DAYS - 1)

PERENNIAL = [sys.executable, "-W", "ignore", "-c", "from platform_assets.cli import main; main()"]


def write_world(path: Path, *, days: int = DAYS, seed: int = 3) -> Path:
    """The simulated retailer's file, with what was planned beside it."""
    world = simulate(SimulatorConfig(stores=STORES, skus=SKUS, days=days, starts_on=FIRST_ON, seed=seed))
    world.lines.write_parquet(path)
    world.plans.write_parquet(path.with_name(f"{path.stem}.plans.parquet"))
    return path


def lines_of(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path)


def copy_project(to: Path) -> Path:
    """The project's code elsewhere: its state, and what it remembers of the last demo, are its own."""
    ignored = shutil.ignore_patterns("__pycache__", ".*", "tests", "benchmarks", "docs", "shared", "deploy")
    shutil.copytree(PROJECT, to, ignore=ignored)
    return to


def environment(project: Path) -> dict[str, str]:
    """Of a process that runs the copied project, on one core."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PERENNIAL_", "DAGSTER_"))},
        "PYTHONPATH": str(project),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "2",
    }


def shrink_models(project: Path, *models: str, **changes: object) -> None:
    """Of a copied project: these models alone, with other settings in their defs.yaml, as a user would write them."""
    import yaml

    for folder in (project / "platform_assets" / "defs" / "models").iterdir():
        if folder.name not in models:
            shutil.rmtree(folder)
            continue
        stated = yaml.safe_load((folder / "defs.yaml").read_text())
        stated["attributes"].update(changes)
        (folder / "defs.yaml").write_text(yaml.safe_dump(stated))
