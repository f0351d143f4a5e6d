"""Segments against a naive reading, and nothing after the issue is seen."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.errors import EmptyFrameError
from platform_assets.science import segments

ISSUED_ON = date(2024, 6, 30)


def history_of(seed: int = 0, series: int = 9, days: int = 300) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    born = generator.integers(0, days - 10, series)
    return pl.DataFrame(
        [
            (
                f"s{n}",
                ISSUED_ON - timedelta(days=days - 1 - d),
                float(generator.poisson(n / 2)),
                n + 1 + d / 1000 if (d + n) % 3 else None,
            )
            for n in range(series)
            for d in range(born[n], days)
        ],
        schema={"series_id": pl.String, "period_on": pl.Date, "units": pl.Float64, "price": pl.Float64},
        orient="row",
    )


def rows_at(*origins: date, series: int = 9) -> pl.DataFrame:
    return pl.DataFrame(
        [(f"s{n}", on + timedelta(days=ahead), ahead) for on in origins for n in range(series) for ahead in (1, 9)],
        schema={"series_id": pl.String, "target_on": pl.Date, "horizon_days": pl.Int16},
        orient="row",
    )


def test_each_row_gets_what_was_known_of_its_series() -> None:
    history, rows = history_of(), rows_at(ISSUED_ON)
    found = pl.concat([rows.select("series_id"), segments.describe(rows, history)], how="horizontal")
    means = {}
    for name in sorted(set(rows["series_id"])):
        seen = history.filter(pl.col("series_id") == name)
        recent = seen.filter(pl.col("period_on") > ISSUED_ON - timedelta(days=91))["units"].to_list()
        means[name] = sum(recent) / len(recent)
        mine = found.filter(pl.col("series_id") == name).row(0, named=True)
        zero = sum(units == 0 for units in recent) / len(recent)
        assert mine["intermittency"].startswith(
            "sells rarely" if zero > 0.85 else "sells often" if zero < 0.5 else "sells now"
        )
        assert mine["price"] == seen.drop_nulls("price").sort("period_on")["price"][-1]
        sold_on = [on for _, on, units, _ in seen.iter_rows() if units > 0]
        is_new = bool(sold_on) and min(sold_on) > ISSUED_ON - timedelta(days=182)
        assert mine["age"] == (None if not sold_on else segments.ORDER[-1] if is_new else "established")
    order = sorted(means, key=lambda name: means[name])
    volumes = dict(found.select("series_id", "volume").unique().iter_rows())
    assert [volumes[name] for name in order] == ["low volume"] * 3 + ["middle volume"] * 3 + ["high volume"] * 3
    assert set(found["volume"]) | set(found["price_level"]) <= set(segments.ORDER)


def test_nothing_after_the_issue_is_seen_and_each_origin_stands_alone() -> None:
    earlier = ISSUED_ON - timedelta(days=28)
    history, rows = history_of(1), rows_at(earlier, ISSUED_ON)
    known = [
        segments.describe(rows_at(earlier), history.filter(pl.col("period_on") <= earlier)),
        segments.describe(rows_at(ISSUED_ON), history),
    ]
    future = history.group_by("series_id").tail(1)
    future = future.with_columns(
        pl.lit(ISSUED_ON + timedelta(days=1)).alias("period_on"), units=pl.lit(1e9), price=pl.lit(1e9)
    )
    assert_frame_equal(segments.describe(rows, pl.concat([history, future])), pl.concat(known))


def test_without_prices_the_price_level_is_null() -> None:
    found = segments.describe(rows_at(ISSUED_ON), history_of().drop("price"))
    assert found["price"].null_count() == found["price_level"].null_count() == 18
    assert found["volume"].null_count() == 0


def test_a_series_is_whole_until_a_fraction_of_it_was_known() -> None:
    earlier = ISSUED_ON - timedelta(days=28)
    between = (pl.col("series_id") == "s8") & (pl.col("period_on") == ISSUED_ON - timedelta(days=1))
    weighed = history_of().with_columns(units=pl.when(between).then(0.5).otherwise("units"))
    rows = rows_at(earlier, ISSUED_ON)
    found = rows.with_columns(segments.describe(rows, weighed)["is_whole"])
    issued_on = pl.col("target_on") - pl.duration(days=pl.col("horizon_days"))
    wanted = ((pl.col("series_id") != "s8") | (issued_on == earlier)).alias("is_whole")
    assert found["is_whole"].equals(found.select(wanted).to_series())


def test_an_origin_before_everything_is_refused() -> None:
    with pytest.raises(EmptyFrameError, match="none of 9 series was known on 2001-01-01"):
        segments.describe(rows_at(date(2001, 1, 1)), history_of())
