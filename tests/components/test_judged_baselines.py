"""The slow baselines are computed once for all models that are judged on the same rows, and anew where anything changed."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.components.judged_baselines import FOLDER, judged_baselines
from platform_assets.science import baselines
from platform_assets.science.tasks import PROBABILITY, QUANTILES
from resources.artifacts import Artifacts

LAST = date(2024, 6, 30)


@dataclass
class Model:
    """What is asked of a model's specification."""

    baselines: tuple[str, ...] = ()
    seed: int = 7


@dataclass
class Source:
    """What is asked of a source."""

    period_days: int = 1


class Resources:
    """Artifacts in a folder of the test, and a source."""

    def __init__(self, root: Path) -> None:
        self.artifacts, self.source = Artifacts(root), Source()


def world() -> tuple[pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(0)
    history = pl.DataFrame(
        [
            (f"s{n:02d}", LAST - timedelta(days=back), float(rng.poisson(2 + n)))
            for n in range(30)
            for back in range(90, -29, -1)
        ],
        schema={"series_id": pl.String, "period_on": pl.Date, "units": pl.Float64},
        orient="row",
    )
    rows = pl.DataFrame(
        [(f"s{n:02d}", LAST + timedelta(days=ahead), ahead) for n in range(30) for ahead in range(1, 29)],
        schema={"series_id": pl.String, "target_on": pl.Date, "horizon_days": pl.Int16},
        orient="row",
    )
    return rows, history


def test_two_models_on_the_same_rows_share_what_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    whole = baselines.for_rows

    def counted(names: Any, *arguments: Any, **options: Any) -> dict[str, pl.DataFrame]:
        asked.append(tuple(names))
        return whole(tuple(names), *arguments, **options)

    def mean(histories: Any, season: int, horizon: int) -> list[tuple[Any, Any]]:
        """In the place of what takes seconds."""
        means = [np.nanmean(units, axis=1, keepdims=True) for units in histories]
        return [(np.broadcast_to(m, u.shape), np.tile(m, horizon)) for m, u in zip(means, histories, strict=True)]

    monkeypatch.setattr(baselines, "for_rows", counted)
    monkeypatch.setitem(baselines.SAMPLED, "auto_ets", mean)  # pyright: ignore[reportArgumentType]
    rows, history = world()
    res, slow = Resources(tmp_path), ("auto_ets",)
    spec: Any = Model(("moving_average", "auto_ets"))
    first = judged_baselines(spec, res, rows, history, QUANTILES)
    assert list(first) == ["moving_average", "auto_ets"]
    assert first["auto_ets"].filter(first["auto_ets"]["q500"].is_not_null()).height == baselines.SAMPLE * 28
    second = judged_baselines(spec, res, rows, history, QUANTILES)
    for name, frame in first.items():
        assert_frame_equal(frame, second[name])
    assert asked.count(slow) == 1

    later = history.with_columns(units=pl.col("units") + 1)
    others: list[tuple[Any, pl.DataFrame, pl.DataFrame]] = [
        (spec, rows, later),
        (spec, rows.reverse(), history),
        (Model(spec.baselines, seed=8), rows, history),
    ]
    for model, judged, seen in others:
        judged_baselines(model, res, judged, seen, QUANTILES)
    assert asked.count(slow) == 1 + len(others)
    assert len(res.artifacts.keys(FOLDER)) == 1 + len(others)


def test_by_default_a_quantile_model_meets_every_baseline_and_a_probability_none_that_is_slow(tmp_path: Path) -> None:
    rows, history = world()
    spec: Any = Model()
    assert {"auto_ets", "auto_arima"} < set(QUANTILES.baselines)
    last = rows.filter(pl.col("horizon_days") == 28)
    found = judged_baselines(spec, Resources(tmp_path), last, history, PROBABILITY)
    assert tuple(found) == PROBABILITY.baselines
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("period_days", "has_weekdays"), [(1, True), (7, False)])
def test_the_weekday_is_a_baseline_of_days_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, period_days: int, has_weekdays: bool
) -> None:
    """In a weekly report two lines said the same to the last digit."""

    def nothing(names: Any, rows: pl.DataFrame, *_: Any, **__: Any) -> dict[str, pl.DataFrame]:
        return {name: rows.select(pl.lit(0.0).alias(output) for output in task.outputs) for name in names}

    task, resources = QUANTILES, Resources(tmp_path)
    resources.source.period_days = period_days
    monkeypatch.setattr(baselines, "for_rows", nothing)
    found = judged_baselines(Model(), resources, *world(), task)  # pyright: ignore[reportArgumentType]
    assert ("weekday_quantile" in found) == has_weekdays
    assert set(task.baselines) - set(found) == (set() if has_weekdays else {"weekday_quantile"})
    asked = judged_baselines(Model(("weekday_quantile",)), resources, *world(), task)  # pyright: ignore[reportArgumentType]
    assert set(asked) == {"weekday_quantile"}
