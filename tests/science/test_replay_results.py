"""What the replayed check `error` hears beside losses: the signals of what became of each forecast."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from platform_assets.science.backtest import Losses
from platform_assets.science.gate import GatePolicy
from platform_assets.science.replay import History, Training, replay
from platform_assets.science.retraining_policy import RetrainingPolicy
from platform_assets.science.streams import daily_sums
from platform_assets.science.tasks import QUANTILES

LEAD, PERIODS, ONSET, SERIES = 12, 30, 20, 60
FIRST = date(2025, 1, 6)
NORMAL = np.array([-2.17, -0.674, 0.0, 0.674, 1.645, 2.326])  # of QUANTILES' levels
USUAL = 100.0


def forecasts(moved_by: float) -> pl.DataFrame:
    """A model's quantiles and what came true; from ONSET on weekends take from the days before what `moved_by` says."""
    draws, days = np.random.default_rng(1), 7 * PERIODS
    day = np.repeat(np.arange(days), SERIES)
    profile = np.where(day % 7 >= 5, 2.5, -1.0) * moved_by * (day // 7 >= ONSET)
    truth = USUAL + 10 * draws.normal(size=day.size) + profile
    said = USUAL + 10 * NORMAL
    return pl.DataFrame(
        {
            "series_id": [f"s{at}" for at in np.tile(np.arange(SERIES), days)],
            "target_on": [FIRST + timedelta(days=int(at)) for at in day],
            "units": truth,
            **{output: np.full(day.size, said[at]) for at, output in enumerate(QUANTILES.outputs)},
        }
    )


def history(moved_by: float, **more: Any) -> History:
    """One and the same model, whenever it is trained; weeks lose the same whatever their profile."""
    days = tuple(FIRST + timedelta(weeks=n) for n in range(PERIODS))
    loss = np.full((PERIODS, PERIODS, SERIES), 1.0) * np.exp(
        0.03 * np.random.default_rng(0).normal(size=(1, PERIODS, SERIES))
    )
    age = np.arange(PERIODS)[None, :] - np.arange(PERIODS)[:, None]
    loss[age < 0] = np.nan
    losses = Losses(days, loss, 1.3 * loss[0], np.ones(PERIODS), LEAD)
    known_at = tuple(datetime.combine(on, time(), UTC) for on in days)
    return History(losses, known_at, tuple(range(PERIODS)), "pinball", **more)


@pytest.mark.parametrize(("moved_by", "alarms"), [(0.0, False), (4.0, True)])
def test_a_weekday_profile_that_moves_is_heard_where_losses_stay(moved_by: float, alarms: bool) -> None:
    rows = forecasts(moved_by)
    said = rows.select(QUANTILES.outputs)
    sums = daily_sums(rows, said, said, QUANTILES, label="units")
    flat = sums.with_columns(loss=pl.col("rows") * 1.0, baseline_loss=pl.col("rows") * 1.3)  # losses tell nothing

    def results(training: Training) -> pl.DataFrame:
        return flat

    policy = RetrainingPolicy.from_mapping({"when": ["error"], "cooldown_days": 0, "after_alarm": {}})
    heard = replay(history(moved_by, results=results), policy, GatePolicy(min_improvement=0.9))
    deaf = replay(history(moved_by), policy, GatePolicy(min_improvement=0.9))
    assert deaf.trained == ()
    assert bool(heard.trained) == alarms
    if alarms:
        assert ONSET < heard.trained[0] <= ONSET + 3
