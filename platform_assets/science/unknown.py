"""Periods of a segment that are not to be believed, written into `sales` as unknown: a further revision of null values.

Unknown is not zero: a label that is null is none, a window skips it, a metric leaves it out. The lines themselves stay.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime

import polars as pl

from platform_assets.names import KNOWN_AT, PERIOD_ON, SERIES_ID, UNITS
from platform_assets.science import sales as selling
from platform_assets.science.faults import Fault, Statement, segment_of
from platform_assets.science.sales import INSTANT, SALES, VALUES

CELLS = {"segment": pl.String, PERIOD_ON: pl.Date}


def cells_unknown(
    deliveries: pl.DataFrame,
    segments: Iterable[str],
    found: Iterable[Fault],
    statements: Sequence[Statement],
    by: datetime | None = None,
) -> pl.DataFrame:
    """Segments and periods that are unknown: what was found, or what is said of it by the instant of its delivery, or `by`.

    deliveries: period_on, delivered_at. The last statement counts, against what was found too.
    """
    cells = deliveries.join(pl.DataFrame({"segment": list(segments)}, schema={"segment": pl.String}), how="cross")
    faulty = pl.DataFrame([(one.segment, one.period_on) for one in found], schema=CELLS, orient="row").unique()
    cells = cells.join(faulty.with_columns(is_unknown=pl.lit(value=True)), on=list(CELLS), how="left")
    cells = cells.with_columns(pl.col("is_unknown").fill_null(value=False))
    period_on, until = pl.col(PERIOD_ON), pl.col("delivered_at")
    if by is not None:
        until = pl.max_horizontal(until, pl.lit(by, dtype=INSTANT))
    for one in sorted(statements, key=lambda one: one.at):
        covers = (period_on >= one.first_on) & (until >= pl.lit(one.at, dtype=INSTANT))
        if one.last_on is not None:
            covers &= period_on <= one.last_on
        if one.segment:
            covers &= pl.col("segment") == one.segment
        cells = cells.with_columns(pl.when(covers).then(one.is_unknown).otherwise("is_unknown").alias("is_unknown"))
    return cells.filter("is_unknown").select(*CELLS)


def withheld(
    sold: pl.DataFrame,
    cells: pl.DataFrame,
    born: pl.DataFrame,
    position: int | None,
    ends: pl.DataFrame,
    at: datetime | None = None,
) -> pl.DataFrame:
    """`sold` with null values in the cells, of every series of theirs that has sold before, with lines in them or not.

    born: series_id, born_on. ends: period_on, event_at, known_at of the cells' periods. With `at`, a series without lines is
    unknown from then on; else from when the period was known.
    """
    if cells.is_empty():
        return sold
    placed = sold.with_columns(segment=segment_of(position))
    nothing = [pl.lit(None, dtype=SALES[name]).alias(name) for name in VALUES]
    kept = placed.join(cells, on=list(CELLS), how="anti")
    hidden = placed.join(cells, on=list(CELLS), how="semi").with_columns(nothing)
    silent = (
        born.with_columns(segment=segment_of(position))
        .join(cells, on="segment")
        .filter(pl.col("born_on") < pl.col(PERIOD_ON))
        .join(sold, on=[SERIES_ID, PERIOD_ON], how="anti")
        .join(ends, on=PERIOD_ON)
        .with_columns(nothing)
    )
    if at is not None:
        silent = silent.with_columns(pl.max_horizontal(KNOWN_AT, pl.lit(at, dtype=INSTANT)).alias(KNOWN_AT))
    return pl.concat([part.select(*SALES) for part in (kept, hidden, silent)]).sort(PERIOD_ON, SERIES_ID, KNOWN_AT)


def revisions(
    old: pl.DataFrame,
    sold: pl.DataFrame,
    deliveries: pl.DataFrame,
    *,
    found: Sequence[Fault],
    statements: Sequence[Statement],
    born: pl.DataFrame,
    position: int | None,
) -> pl.DataFrame:
    """All revisions of a range: what was known before each delivery, the delivery with its faults unknown, and each statement.

    What is found on arrival is unknown from the first; what somebody says later is a revision known when it was said, and so
    are the values that a lifted quarantine gives back. The same again adds nothing.
    """
    segments = {*sold.select(segment_of(position).alias("s"))["s"], *(one.segment for one in found)}
    segments |= set(born.select(segment_of(position).alias("s"))["s"])
    ends = sold.group_by(PERIOD_ON).agg(pl.col("event_at").max(), pl.col(KNOWN_AT).min())

    def known(by: datetime | None) -> pl.DataFrame:
        cells = cells_unknown(deliveries, segments, found, statements, by)
        return withheld(sold, cells, _believed(born, sold, cells, position), position, ends, by)

    table = selling.layered(old, known(None), deliveries)
    for at in sorted({one.at for one in statements}):
        said = [one for one in statements if one.at == at]
        later = deliveries.filter(pl.col("delivered_at") < pl.lit(at, dtype=INSTANT)).filter(
            pl.any_horizontal(_within(one.first_on, one.last_on) for one in said)
        )[PERIOD_ON]
        if len(later):
            touched = pl.col(PERIOD_ON).is_in(later.implode())
            revised = selling.revise(table.filter(touched), known(at).filter(touched), at)
            table = pl.concat([table.filter(~touched), revised])
    return table.sort(PERIOD_ON, SERIES_ID, KNOWN_AT)


def _within(first_on: date, last_on: date | None) -> pl.Expr:
    return (pl.col(PERIOD_ON) >= first_on) & (pl.lit(value=True) if last_on is None else pl.col(PERIOD_ON) <= last_on)


def first_sales(sales: pl.LazyFrame) -> pl.LazyFrame:
    """Period in which each series sold first: series_id, born_on."""
    return sales.filter(pl.col(UNITS) > 0).group_by(SERIES_ID).agg(born_on=pl.col(PERIOD_ON).min())


def _believed(born: pl.DataFrame, sold: pl.DataFrame, cells: pl.DataFrame, position: int | None) -> pl.DataFrame:
    """`born` and the first sales of `sold` outside the cells."""
    believed = sold.with_columns(segment=segment_of(position)).join(cells, on=list(CELLS), how="anti")
    both = pl.concat([born.select(SERIES_ID, "born_on"), first_sales(believed.lazy()).collect()])
    return both.group_by(SERIES_ID, maintain_order=True).agg(pl.col("born_on").min()).sort(SERIES_ID)
