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


def set_aside() -> dict[str, pl.Expr]:
    """Lines that are cancellations, and sales that were cancelled on the same day.

    The k-th sale of a customer, product and quantity on a day is cancelled where at least k cancellations of that quantity were
    written at or after the first of them. Lines without a customer are never matched: nobody knows whose they are.
    """
    is_cancellation = pl.col("invoice").str.starts_with("C")
    is_sale = ~is_cancellation & (pl.col("quantity") > 0)
    same = ["customer_id", "series_id", "day_on", pl.col("quantity").abs()]
    first_sale_at = pl.col("event_at").filter(is_sale).min().over(same)
    cancellations = (is_cancellation & (pl.col("event_at") >= first_sale_at)).sum().over(same)
    rank = is_sale.cum_sum().over(same)
    return {
        "cancellation": is_cancellation,
        "cancelled_same_day": is_sale & pl.col("customer_id").is_not_null() & (rank <= cancellations),
    }
