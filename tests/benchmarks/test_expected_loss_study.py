"""Estimates before labels on the simulator: as good as promised where nothing happens, and blind to another elasticity."""

import polars as pl
import pytest

from benchmarks.expected_loss_study import FIRST_SEED, world


@pytest.mark.long
def test_quiet_worlds_keep_to_the_interval_and_a_changed_answer_of_demand_leaves_it() -> None:
    """240 weeks of four worlds resemble each other: nine in ten are not told from eight in ten or all of them."""
    found = pl.concat([world(seed, ("elastic",) if seed < FIRST_SEED + 2 else ()) for seed in range(600, 604)])
    null = found.filter(scenario="none")
    assert null.height > 200
    assert 0.8 <= null["is_inside"].to_numpy().mean() <= 1.0
    after = found.filter(pl.col("since").is_between(0, 1), pl.col("seed") < FIRST_SEED + 2)
    share = dict(after.group_by("scenario").agg(pl.col("is_inside").mean()).iter_rows())
    assert share["elastic"] <= share["none"] - 0.2
