"""What is particular about the retailer: naive British time, and cancellations.

A cancellation is an invoice of its own, C and six digits, with negative quantities. It is known from the day on which it was
written, and changes nothing of the days before it. A sale that was cancelled on the same local day is no demand, since both are
known at the midnight that ends it.
"""

import polars as pl

from platform_assets.science.landing import local_instant

TIMEZONE = "Europe/London"


def sold_at() -> pl.Expr:
    """Instant of a line. 01:30 on the last Sunday of October occurs twice, the first is meant; 01:30 on the last Sunday of March
    does not exist and is read as 02:30. The retailer sells nothing between 21:00 and 06:00, so neither occurs."""
    return local_instant(pl.col("ts"), TIMEZONE)


def set_aside(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Cancellations, and sales that were cancelled on the same day.

    The k-th sale of a customer, product and quantity on a day is cancelled where at least k cancellations of that quantity
    were written at or after the first of them. Lines without a customer are never matched: nobody knows whose they are.
    """
    same = ["customer_id", "series_id", "day_on", "units"]
    cancellations = lines.filter(pl.col("invoice").str.starts_with("C"))
    known = pl.col("customer_id").is_not_null()
    keyed = [*same[:3], pl.col("quantity").abs().alias("units")]
    cancelled = cancellations.filter(known, pl.col("quantity") < 0).select(*keyed, "event_at")
    sales = (
        lines.filter(known, pl.col("quantity") > 0, ~pl.col("invoice").str.starts_with("C"))
        .select("line", "event_at", *keyed)
        .join(cancelled, on=same, how="semi")
        .sort("event_at", "line")
        .with_columns(rank=pl.int_range(1, pl.len() + 1).over(same), first_at=pl.col("event_at").min().over(same))
    )
    later = sales.join(cancelled, on=same, suffix="_cancelled").filter(
        pl.col("event_at_cancelled") >= pl.col("first_at")
    )
    taken_back = later.group_by("line", "rank").len().filter(pl.col("rank") <= pl.col("len"))
    return pl.concat(
        [
            cancellations.select("line", reason=pl.lit("cancellation")),
            taken_back.select("line", reason=pl.lit("cancelled_same_day")),
        ]
    )
