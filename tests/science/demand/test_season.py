"""What last year said, against a naive loop over what was known."""

import math
from collections.abc import Callable
from datetime import date, timedelta

import polars as pl
import pytest

from platform_assets.science.demand.season import season

EPOCH = date(1970, 1, 1)


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


@pytest.mark.parametrize("period_days", [1, 7])
def test_season_equals_loops(make_world: Callable[..., pl.DataFrame], period_days: int) -> None:
    sales = make_world(20, periods=200, period_days=period_days, revisions=False)
    found = season(sales.lazy(), period_days=period_days).collect().sort("series_id", "target_day")
    open_on = sorted(sales.filter(pl.col("units") > 0)["period_on"].unique())
    figures = {(r["series_id"], r["period_on"]): r for r in sales.iter_rows(named=True)}
    ends = dict(sales.select("period_on", "event_at").iter_rows())
    market = {on: sum(math.sqrt(r["units"]) for (_, o), r in figures.items() if o == on) for on in open_on}
    for row in found.gather_every(29).iter_rows(named=True):
        series, target_on = row["series_id"], EPOCH + timedelta(days=row["target_day"])
        completed = min(on for on in open_on if on >= target_on - timedelta(days=350))
        assert row["event_at"] == row["known_at"] == ends[completed]
        born = min(o for (s, o), r in figures.items() if s == series and r["units"] > 0)

        def values(after: int, until: int, series: str = series, target_on: date = target_on, born: date = born):
            for on in open_on:
                if on >= born and target_on - timedelta(days=after) < on <= target_on - timedelta(days=until):
                    figure = figures.get((series, on))
                    if figure is None or not (figure["stock"] == 0 and figure["units"] == 0):
                        yield figure["units"] if figure else 0.0

        halves = [math.sqrt(v) for v in values(379, 350)]
        around = {
            days: [market[on] for on in open_on if target_on - timedelta(days=low) < on <= target_on - timedelta(days=high) and on < completed]
            for days, low, high in ((7, 368, 361), (29, 379, 350))
        }  # fmt: skip
        expected = {
            "season_mean_7": mean(list(values(368, 361))),
            "season_mean_29": mean(list(values(379, 350))),
            "season_half_29": None if not halves else mean(halves) ** 2,  # pyright: ignore
            "season_market_7": mean(around[7]),
            "season_market_29": mean(around[29]),
        }
        for name, value in expected.items():
            assert row[name] == (None if value is None else pytest.approx(value, rel=1e-5, abs=1e-6)), (
                series,
                target_on,
                name,
            )


def test_every_day_has_its_target_once(make_world: Callable[..., pl.DataFrame]) -> None:
    """Of a daily source every day is a target, open or not: nobody knows which will be open."""
    sales = make_world(21, revisions=False)
    found = season(sales.lazy()).collect().filter(pl.col("series_id") == "s0")
    days = found["target_day"].sort()
    assert days.is_unique().all()
    assert days.to_list() == list(range(days[0], days[-1] + 1))


def test_targets_of_a_weekly_source_start_on_its_weekday(make_world: Callable[..., pl.DataFrame]) -> None:
    sales = make_world(22, periods=120, period_days=7)
    days = season(sales.lazy(), period_days=7).collect()["target_day"]
    assert set((days + 3) % 7) == {0}  # 1970-01-01 was a Thursday; the world's weeks begin on Mondays
