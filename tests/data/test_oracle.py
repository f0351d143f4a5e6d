"""Reasons and sales against the same rules written in SQL; and what no later line may change."""

import os
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.errors import ContractError
from platform_assets.science import quarantine, sales
from platform_assets.science.intake import Rulebook, examine
from platform_assets.science.landing import resolve
from resources.landing import Landing
from resources.source_folder import rulebook
from tests.data.retail import retailer, simulated
from tests.data.sandbox import facts


@cache
def book(source: str) -> Rulebook:
    return rulebook(facts(source))


def dirty_retailer(days: int = 60, seed: int = 11) -> pl.DataFrame:
    """Every kind of dirt that the wholesaler's file has, at random."""
    random = np.random.default_rng(seed)
    lines = retailer(days=days, seed=seed)
    take = [int(i) for i in random.choice(lines.height, 500, replace=False)]
    sold = lines[take]
    cancelled = sold[:140].with_columns(
        invoice=pl.format("C{}", pl.col("invoice")),
        quantity=-pl.col("quantity"),
        ts=pl.col("ts") + pl.Series([timedelta(minutes=int(m)) for m in random.choice([0, 3, 60, 1440, 30000], 140)]),
    )
    twice = pl.concat([cancelled[:20], cancelled[:20].with_columns(ts=pl.col("ts") + timedelta(minutes=1))])
    returned = sold[140:180].with_columns(quantity=-pl.col("quantity"))
    free = sold[180:220].with_columns(price=pl.Series(random.choice([0.0, -2.5], 40)))
    no_goods = sold[220:260].with_columns(
        stock_code=pl.Series(random.choice(["POST", "M", "m", "D", "BANK CHARGES", "gift_0001_10", "2000"], 40))
    )
    lower = sold[260:300].with_columns(stock_code=pl.format("{}a", "stock_code"))
    upper = sold[300:340].with_columns(stock_code=pl.format("{}A ", "stock_code"))
    repeated = sold[340:380]
    bulk = sold[380:390].with_columns(quantity=pl.lit(60_000, pl.Int32))
    parts = [lines, cancelled, twice, returned, free, no_goods, lower, upper, repeated, bulk]
    dirty = pl.concat(parts)
    return dirty.filter(pl.col("ts").dt.date() <= lines["ts"].dt.date().max()).sort("ts", maintain_order=True)


def landed(source: str, lines: pl.DataFrame) -> pl.DataFrame:
    delivery = examine(lines, book(source), file="lines.parquet", digest="0" * 64, is_text=False)
    return resolve([delivery], book(source).source)


def cleaned(source: str, lines: pl.DataFrame) -> pl.DataFrame:
    return quarantine.classify(landed(source, lines), book(source).source, book(source).set_aside)


RETAIL_SQL = """
WITH numbered AS (
    SELECT *, row_number() OVER () AS n, upper(trim(stock_code)) AS code, ts::DATE AS day_on, starts_with(invoice, 'C') AS is_c
    FROM (SELECT * FROM lines)
), typical AS (
    SELECT n, (SELECT count(*) FROM numbered o WHERE o.code = l.code AND o.day_on < l.day_on AND o.quantity > 0) AS before_n,
              (SELECT exp(avg(ln(o.quantity))) FROM numbered o WHERE o.code = l.code AND o.day_on < l.day_on AND o.quantity > 0) AS usual
    FROM numbered l
), ranked AS (
    SELECT n, row_number() OVER w AS rank, min(ts) OVER (PARTITION BY customer_id, code, day_on, quantity) AS first_at
    FROM numbered WHERE NOT is_c AND quantity > 0 AND customer_id IS NOT NULL
    WINDOW w AS (PARTITION BY customer_id, code, day_on, quantity ORDER BY ts, n)
), reasons AS (
    SELECT l.*, CASE
        WHEN NOT regexp_full_match(l.code, '[0-9]{5}[A-Z]{0,2}') THEN 'not_goods'
        WHEN l.is_c THEN 'cancellation'
        WHEN r.n IS NOT NULL AND r.rank <= (
            SELECT count(*) FROM numbered c WHERE c.is_c AND c.customer_id = l.customer_id AND c.code = l.code
            AND c.day_on = l.day_on AND -c.quantity = l.quantity AND c.ts >= r.first_at) THEN 'cancelled_same_day'
        WHEN l.quantity < 0 THEN 'negative_units'
        WHEN l.price <= 0 THEN 'price_not_positive'
        WHEN EXISTS (SELECT 1 FROM numbered o WHERE o.n < l.n AND o.invoice = l.invoice AND o.stock_code = l.stock_code
            AND o.description IS NOT DISTINCT FROM l.description AND o.quantity = l.quantity AND o.ts = l.ts AND o.price = l.price
            AND o.customer_id IS NOT DISTINCT FROM l.customer_id AND o.country = l.country) THEN 'duplicate'
        WHEN t.before_n >= 10 AND l.quantity >= 1000 AND l.quantity > 1000 * t.usual THEN 'extreme_units'
    END AS reason
    FROM numbered l JOIN typical t USING (n) LEFT JOIN ranked r USING (n)
)
"""


def test_the_wholesalers_reasons_and_sales_equal_sql() -> None:
    lines = dirty_retailer()
    ours = cleaned("online_retail", lines)
    theirs = duckdb.sql(RETAIL_SQL + "SELECT reason, count(*)::INT AS n FROM reasons GROUP BY ALL").pl()
    counted = ours.group_by("reason").len("n").with_columns(pl.col("n").cast(pl.Int32))
    assert_frame_equal(counted, theirs, check_row_order=False)
    kinds = {
        "cancellation",
        "cancelled_same_day",
        "negative_units",
        "price_not_positive",
        "not_goods",
        "duplicate",
        "extreme_units",
    }
    assert set(theirs["reason"].drop_nulls()) == kinds, "the dirt must hold every kind"

    sold = sales.aggregate(ours.filter(pl.col("reason").is_null()), book("online_retail").source)
    query = """SELECT code AS series_id, day_on AS period_on, sum(quantity)::DOUBLE AS units, sum(quantity * price) / sum(quantity) AS price,
        count(*)::BIGINT AS lines, count(DISTINCT invoice)::BIGINT AS tickets,
        epoch_us(timezone('Europe/London', (day_on + 1)::TIMESTAMP)) AS at
        FROM reasons WHERE reason IS NULL GROUP BY ALL"""
    duckdb.execute("SET TimeZone = 'UTC'")
    expected = duckdb.sql(RETAIL_SQL + query).pl()
    got = sold.select(
        "series_id", "period_on", "units", "price", "lines", "tickets", at=pl.col("event_at").dt.epoch("us")
    )
    assert_frame_equal(got, expected, check_row_order=False)


def test_the_chains_sales_equal_sql() -> None:
    world = simulated(days=100)
    ours = sales.aggregate(cleaned("simulator", world), book("simulator").source)
    query = """SELECT store || '/' || sku AS series_id, sold_on AS period_on, units::DOUBLE AS units, price, is_promoted,
        stock::DOUBLE AS stock, lines, tickets, epoch_us(timezone('Europe/Berlin', (sold_on + 1)::TIMESTAMP)) AS at FROM world"""
    duckdb.execute("SET TimeZone = 'UTC'")
    expected = duckdb.sql(query).pl()
    got = ours.select(*expected.columns[:-1], at=pl.col("event_at").dt.epoch("us"))
    assert_frame_equal(got, expected, check_row_order=False)


@pytest.mark.parametrize("cut", [date(2011, 3, 11), date(2011, 3, 31), date(2011, 4, 19)])
def test_no_later_line_changes_what_was_said_of_a_day(cut: date) -> None:
    """A cancellation that came later, a bulk order, another typical quantity: what the cut knew stays."""
    lines = dirty_retailer()
    known = pl.col("ts").dt.date() <= cut
    worse = pl.when(known).then("quantity").otherwise(pl.col("quantity") * 6).alias("quantity")
    columns = ["invoice", "stock_code", "ts", "quantity", "price", "reason"]
    rules = book("online_retail")

    def until_cut(frame: pl.DataFrame) -> pl.DataFrame:
        placed = examine_leniently(frame)
        found = quarantine.classify(placed, rules.source, rules.set_aside)
        return found.filter(pl.col("day_on") <= cut).select(columns)

    def examine_leniently(frame: pl.DataFrame) -> pl.DataFrame:
        delivery = examine(frame, rules, file="f", digest="0" * 64, is_text=False, manifest={"rows": frame.height})
        return resolve([delivery], rules.source)

    shifted = lines.with_columns(worse).filter(pl.col("quantity").abs() < 1_000_000)
    assert_frame_equal(until_cut(lines), until_cut(lines.filter(known)))
    assert_frame_equal(until_cut(shifted), until_cut(lines))


def test_month_by_month_is_the_whole_history() -> None:
    rules = book("online_retail")
    lines = landed("online_retail", dirty_retailer(days=100))
    whole = quarantine.classify(lines, rules.source, rules.set_aside)
    parts = []
    for month in lines["period_on"].dt.truncate("1mo").unique().sort():
        inside = pl.col("period_on").dt.truncate("1mo") == month
        history = quarantine.typical_units(lines.lazy().filter(pl.col("period_on") < month), rules.source).collect()
        parts.append(quarantine.classify(lines.filter(inside), rules.source, rules.set_aside, history))
    assert_frame_equal(pl.concat(parts), whole)


def test_an_adapter_that_repeats_a_line_is_found_out() -> None:
    lines = landed("online_retail", retailer())
    whole = quarantine.classify(lines, book("online_retail").source)
    with pytest.raises(ContractError, match=f"{lines.height} lines landed, {lines.height + 1} accepted"):
        quarantine.account(lines, pl.concat([whole, whole[:1]]))
    with pytest.raises(ContractError, match=f"{lines.height - 1} stand behind the sales"):
        quarantine.account(lines, whole, sales_lines=lines.height - 1)


REAL = "PERENNIAL_ONLINE_RETAIL"  # names the real file; it is not part of the project


@pytest.mark.skipif(REAL not in os.environ, reason=f"{REAL} names no file; the data is not part of the project")
def test_the_real_file_is_accounted_for(tmp_path: Path) -> None:
    rules = book("online_retail")
    lines = Landing(data=os.environ[REAL], folder=str(tmp_path)).lines(rules.source, now=datetime.now(UTC)).lines
    found = quarantine.account(lines, quarantine.classify(lines, rules.source, rules.set_aside))
    assert (found.landed, found.accepted) == (1_044_847, 1_001_938)
    assert found.by_reason == {
        "cancellation": 17_973,
        "duplicate": 11_717,
        "not_goods": 5_991,
        "negative_units": 3_362,
        "price_not_positive": 2_576,
        "cancelled_same_day": 1_252,
        "extreme_units": 38,
    }
