"""Daily sums and signals against loops over rows; days without labels, weeks, segments."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.errors import SchemaError
from platform_assets.science import streams
from platform_assets.science.tasks import TASKS

QUANTILES, PROBABILITY = TASKS["quantiles"], TASKS["probability"]
DAY = date(2025, 3, 3)
SERIES = [f"store_{store}/sku_{sku:02d}" for store in range(3) for sku in range(12)]


def results(days: int = 60, seed: int = 0, *, factor: Any = 1.0) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Rows of every series and day, Poisson of mean 4 times `factor`, and the quantiles that fit a factor of 1.

    Factor: a number, or (days, series).
    """
    draws = np.random.default_rng(seed)
    units = draws.poisson(4 * np.broadcast_to(factor, (days, len(SERIES)))).astype(float)
    rows = pl.DataFrame(
        {
            "series_id": SERIES * days,
            "target_on": [DAY + timedelta(days=day) for day in range(days) for _ in SERIES],
            "horizon_days": [1] * units.size,
            "units": units.ravel(),
            "price_ratio": np.tile(np.where(np.arange(len(SERIES)) % 4 == 0, 0.8, 1.0), days),
        }
    )
    usual = np.quantile(draws.poisson(4, 20_000), QUANTILES.levels)
    said = pl.DataFrame(
        {name: np.full(units.size, value) for name, value in zip(QUANTILES.outputs, usual, strict=True)}
    )
    return rows, said, said.select(pl.all() * 1.5)


def sums_of(rows: pl.DataFrame, said: pl.DataFrame, beside: pl.DataFrame) -> pl.DataFrame:
    return streams.daily_sums(rows, said, beside, QUANTILES, label="units", price_ratio=rows["price_ratio"])


def value(found: pl.DataFrame, signal: str, day: int) -> float | None:
    return found.filter(signal=signal, day=DAY + timedelta(days=day))["value"].item()


def test_sums_are_those_of_a_loop_over_rows() -> None:
    rows, said, beside = results(3)
    rows = rows.with_columns(units=pl.when(pl.int_range(pl.len()) % 7 == 0).then(None).otherwise(pl.col("units")))
    found = sums_of(rows, said, beside).filter(day=DAY, part="store_1", price="lower").row(0, named=True)
    at = [
        n
        for n, row in enumerate(rows.iter_rows(named=True))
        if row["target_on"] == DAY
        and row["series_id"].startswith("store_1")
        and row["price_ratio"] < 0.95
        and row["units"] is not None
    ]
    labels = rows["units"].gather(at)
    assert found["rows"] == len(at)
    assert found["loss"] == pytest.approx(QUANTILES.loss(labels, said[at]).sum())
    assert found["baseline_loss"] == pytest.approx(QUANTILES.loss(labels, beside[at]).sum())
    assert found["below q750"] == sum(label <= said["q750"][0] for label in labels)
    levels = (0.0, *((a + b) / 2 for a, b in zip(QUANTILES.levels, QUANTILES.levels[1:], strict=False)), 1.0)
    mean = sum(said[name][0] * (levels[n + 1] - levels[n]) for n, name in enumerate(QUANTILES.outputs))
    assert found["error"] == pytest.approx(sum(label**0.5 - mean**0.5 for label in labels))
    assert found["scale"] == pytest.approx(len(at) * mean**0.5)


def test_signals_are_those_of_a_loop_over_a_window() -> None:
    rows, said, beside = results(40)
    found = streams.signals(sums_of(rows, said, beside), QUANTILES)
    last = rows.filter(pl.col("target_on") > DAY + timedelta(days=32))
    below = {name: float((last["units"] <= said[name][0]).mean()) for name in QUANTILES.outputs}  # pyright: ignore[reportArgumentType]
    assert value(found, "coverage q950", 39) == pytest.approx(below["q950"] - 0.95)
    upper = [
        (below[name] - level) / (level * (1 - level)) ** 0.5
        for name, level in zip(QUANTILES.outputs, QUANTILES.levels, strict=True)
        if level > 0.5
    ]
    assert value(found, streams.UPPER_COVERAGE, 39) == pytest.approx(np.mean(upper))
    late = (rows["target_on"] > DAY + timedelta(days=11)).to_numpy()
    last_week = (rows["target_on"] > DAY + timedelta(days=32)).to_numpy()
    ours, theirs = (QUANTILES.loss(rows["units"], frame).to_numpy() for frame in (said, beside))
    assert value(found, streams.OVER_BASELINE, 39) == pytest.approx(np.log(ours[late].sum() / theirs[late].sum()))
    assert value(found, streams.NEWER_LOSS, 39) == pytest.approx(np.log(ours[last_week].mean() / ours[late].mean()))


@pytest.mark.parametrize(
    ("signal", "factor"),
    [
        ("bias", 1.5),
        ("bias: store_1", np.repeat([1.0, 1.5, 1.0], 12)[None, :]),
        ("upper coverage", 1.5),
        ("price profile", np.where(np.arange(36) % 4 == 0, 2.0, 1.0)[None, :]),
        ("weekday profile", np.where(np.arange(60) % 7 < 2, 2.0, 1.0)[:, None]),
    ],
)
def test_a_signal_moves_with_what_it_is_named_for(signal: str, factor: Any) -> None:
    """From day 30 on; the reference is what came before."""
    calm = results(30)
    moved = results(60, seed=1, factor=factor)
    later = [frame[30 * len(SERIES) :] for frame in moved]
    sums = sums_of(*(pl.concat([one, other]) for one, other in zip(calm, later, strict=True)))
    found = streams.signals(sums, QUANTILES, reference=(DAY, DAY + timedelta(days=29)))
    usual = found.filter((pl.col("signal") == signal) & (pl.col("day") < DAY + timedelta(days=30)))[
        "value"
    ].drop_nulls()
    now = value(found, signal, 59)
    assert now is not None
    spread = float((usual - usual.median()).abs().median()) * 1.4826  # pyright: ignore[reportOperatorIssue, reportArgumentType]
    assert abs(now - float(usual.median())) > 4 * spread  # pyright: ignore[reportArgumentType]


def test_days_without_labels_are_passed_over() -> None:
    """A fault makes labels unknown: what is left of a window speaks for it, and a window of few rows says nothing."""
    rows, said, beside = results(60)
    day = (rows["target_on"] - DAY).dt.total_days()
    none = rows.with_columns(units=pl.when(day.is_between(20, 40)).then(None).otherwise(pl.col("units")))
    sums = sums_of(none, said, beside)
    assert sums["day"].n_unique() == 39
    found = streams.signals(sums, QUANTILES)
    assert found["day"].n_unique() == 39
    assert value(found, "bias", 41) is None  # one day of 36 rows
    assert value(found, "bias", 42) is not None
    assert value(found, streams.WEEKDAY_PROFILE, 43) is None  # of three days
    assert found["value"].is_finite().fill_null(value=True).all()
    whole = streams.signals(sums_of(rows, said, beside), QUANTILES)
    kept = pl.col("signal").is_in(["bias", "coverage q500"]) & (pl.col("day") >= DAY + timedelta(days=47))
    assert_frame_equal(found.filter(kept), whole.filter(kept))


def test_no_rows_give_no_signals() -> None:
    rows, said, beside = (frame.head(0) for frame in results(1))
    assert streams.signals(sums_of(rows, said, beside), QUANTILES).is_empty()


def test_many_parts_or_none_are_one() -> None:
    rows, said, beside = results(2)
    for names in (pl.format("{}/x", pl.int_range(pl.len())), pl.format("s{}", pl.int_range(pl.len()))):
        assert sums_of(rows.with_columns(series_id=names), said, beside)["part"].unique().to_list() == [""]


def test_weeks_and_probabilities_have_the_signals_that_make_sense() -> None:
    weeks = [DAY + timedelta(days=7 * week) for week in range(12) for _ in range(60)]
    rows = pl.DataFrame({"series_id": ["a"] * 720, "target_on": weeks, "is_dormant": [0.0, 1.0] * 360})
    said = pl.DataFrame({"probability": [0.1, 0.7] * 360})
    sums = streams.daily_sums(rows, said, said, PROBABILITY, label="is_dormant")
    found = streams.signals(sums, PROBABILITY)
    assert {"bias", streams.LOSS, streams.OVER_BASELINE} <= set(found["signal"])
    assert not {streams.WEEKDAY_PROFILE, streams.PRICE_PROFILE, streams.UPPER_COVERAGE} & set(found["signal"])
    assert found.filter(signal=streams.OVER_BASELINE)["value"].to_list() == pytest.approx([0.0] * 12)


def test_a_price_is_compared_with_what_was_usual_at_issue() -> None:
    """The median of 91 days up to the issue; on a day without a price the last one counts; unknown before any."""
    days = [DAY + timedelta(days=day) for day in range(100)]
    prices = pl.DataFrame(
        {"series_id": ["a"] * 100, "period_on": days, "price": [2.0] * 95 + [1.0, None, 1.5, 1.5, 1.5]}
    )
    rows = pl.DataFrame(
        {
            "series_id": ["a", "a", "a", "b"],
            "target_on": [DAY + timedelta(days=day) for day in (95, 96, 97, 97)],
            "horizon_days": [1, 7, 1, 1],
        }
    )
    assert streams.price_ratios(rows, prices).to_list() == [0.5, 0.5, 0.75, None]


def test_frames_of_other_lengths_are_refused() -> None:
    rows, said, beside = results(1)
    with pytest.raises(SchemaError, match="36 rows, 36 predictions and 35 of the baseline"):
        sums_of(rows, said, beside.head(35))
