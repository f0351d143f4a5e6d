"""Figures of forecasts that have come true against a loop over rows."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from platform_assets.errors import SchemaError
from platform_assets.science import performance
from platform_assets.science.performance import CameTrue
from platform_assets.science.stock_cost import UnitCosts
from platform_assets.science.tasks import TASKS

TASK = TASKS["quantiles"]
FIRST = date(2025, 3, 1)


def world(rows: int = 400, days: int = 40, seed: int = 1) -> CameTrue:
    draw = np.random.default_rng(seed)
    truth = draw.poisson(3, rows).astype(float)
    keys = pl.DataFrame(
        {
            "target_on": [FIRST + timedelta(days=int(day)) for day in draw.integers(0, days, rows)],
            "units": [None if draw.random() < 0.1 else value for value in truth],
        },
        schema_overrides={"units": pl.Float64},
    )

    def quantiles(spread: float) -> pl.DataFrame:
        base = np.sort(draw.gamma(2, spread, (rows, len(TASK.outputs))), axis=1)
        return pl.DataFrame(base, schema=list(TASK.outputs))

    other = quantiles(2.0)
    return CameTrue(
        keys,
        quantiles(1.5),
        other.with_columns(
            pl.when(pl.Series(draw.random(rows) < 0.1)).then(None).otherwise(pl.col(name)).alias(name)
            for name in TASK.outputs[:1]
        ),
        pl.DataFrame(
            {
                "price": [None if draw.random() < 0.2 else float(p) for p in draw.gamma(2, 5, rows)],
                "volume": draw.choice(["low volume", "high volume"], rows),
                "age": ["established"] * (rows - 20) + ["new"] * 20,
            }
        ),
    )


def test_each_figure_is_that_of_a_loop_over_its_rows() -> None:
    given = world()
    found = performance.figures(given, TASK, label="units", costs=UnitCosts())
    assert set(found["segment"]) == {"", "low volume", "high volume", "established"}, "20 rows say nothing"
    truth, said, other, parts = given.rows["units"], given.predictions, given.baseline, given.parts
    for segment in ("", "low volume", "established"):
        losses: tuple[list[float], list[float]] = ([], [])
        for at, label in enumerate(truth):
            if label is None or other.row(at)[0] is None or segment not in ("", parts["volume"][at], parts["age"][at]):
                continue
            for into, frame in zip(losses, (said, other), strict=True):
                pairs = zip(TASK.levels, frame.row(at), strict=True)
                into.append(sum(max(level * (label - q), (level - 1) * (label - q)) for level, q in pairs))
        row = found.filter(metric="pinball", segment=segment).row(0, named=True)
        assert (row["value"], row["baseline"]) == pytest.approx((np.mean(losses[0]), np.mean(losses[1])))
        assert row["rows"] == len(losses[0])


def test_stock_is_priced_in_whole_units_where_a_series_sells_those() -> None:
    given, costs = world(), UnitCosts(overstock=0.1, stockout=0.3)  # ratio .75: the level of q750
    for is_whole in (True, False):
        parts = given.parts.with_columns(is_whole=pl.lit(is_whole))
        found = performance.figures(replace(given, parts=parts), TASK, label="units", costs=costs)
        known = given.where(given.rows["units"].is_not_null() & given.baseline["q015"].is_not_null())
        stock = known.predictions["q750"].to_numpy()
        stock = np.floor(stock + 0.5) if is_whole else stock
        truth, price = known.rows["units"].to_numpy(), known.parts["price"].to_numpy()
        cost = 0.1 * np.maximum(stock - truth, 0) + 0.3 * np.maximum(truth - stock, 0)
        wanted = np.nansum(cost * price) / (~np.isnan(price)).sum()
        assert found.filter(metric="stock_cost", segment="")["value"].item() == pytest.approx(wanted)


def test_only_the_last_days_count_and_a_weekend_is_none() -> None:
    given = world()
    recent = performance.recent_figures(given, TASK, label="units", costs=UnitCosts(), days=10)
    last = given.rows["target_on"].max()
    assert isinstance(last, date)
    kept = given.rows["target_on"] > last - timedelta(days=10)
    wanted = performance.figures(given.where(kept), TASK, label="units", costs=UnitCosts())
    assert recent is not None
    assert recent.drop("as_of").equals(wanted)
    assert set(recent["as_of"]) == {last}
    few = given.where(given.rows["target_on"] <= FIRST + timedelta(days=5))
    assert performance.recent_figures(few, TASK, label="units", costs=UnitCosts(), days=10) is None


def test_frames_that_do_not_match_are_refused() -> None:
    given = world()
    with pytest.raises(SchemaError, match="frames of \\[399, 400\\] rows"):
        replace(given, parts=given.parts.head(399))


def test_each_whole_week_has_the_figures_of_its_rows() -> None:
    """40 days from a Saturday on: of the first week two days are there, and the last is not over."""
    given = world(rows=4000)
    until = FIRST + timedelta(days=37)
    found = performance.weekly_figures(given, TASK, label="units", costs=UnitCosts(), known_until=until)
    weeks = found["week_on"].unique().sort().to_list()
    assert weeks == [date(2025, 2, 24) + timedelta(weeks=number) for number in range(6)]
    at = (given.rows["target_on"] >= weeks[2]) & (given.rows["target_on"] < weeks[3])
    wanted = performance.figures(given.where(at), TASK, label="units", costs=UnitCosts())
    assert found.filter(week_on=weeks[2]).drop("week_on").equals(wanted)


def test_what_is_new_or_has_changed_is_a_revision_and_nothing_else() -> None:
    found = pl.DataFrame({"week": [1, 2, 3], "value": [0.5, None, 0.7], "rows": [10, 0, 30]})
    assert performance.revised(found, None, key=["week"], values=["value", "rows"]).equals(found)
    kept = found.with_columns(known_at=pl.Series([1, 1, 1]))
    older = kept.with_columns(value=pl.lit(9.0), known_at=pl.lit(0, pl.Int64))
    kept = pl.concat([kept, older])
    assert performance.revised(found, kept, key=["week"], values=["value", "rows"]).is_empty()
    later = pl.DataFrame({"week": [1, 2, 3, 4], "value": [0.5, 0.1, 0.7, 0.9], "rows": [10, 0, 31, 5]})
    changed = performance.revised(later, kept, key=["week"], values=["value", "rows"])
    assert changed["week"].to_list() == [2, 3, 4]
    both = performance.first_and_last(
        pl.concat([kept, changed.with_columns(known_at=pl.lit(2, pl.Int64))]), key=["week"], values=["value", "rows"]
    )
    assert both.select("week", "value_first", "value", "rows").rows() == [
        (1, 9.0, 0.5, 10), (2, 9.0, 0.1, 0), (3, 9.0, 0.7, 31), (4, 0.9, 0.9, 5),
    ]  # fmt: skip
