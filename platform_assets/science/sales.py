"""From accepted lines to the `sales` and `plans` contracts, and how a correction enters them."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from platform_assets.science.landing import INSTANT, local_instant, period_end
from platform_assets.science.quarantine import series_id
from platform_assets.science.source import Source

SALES: dict[str, Any] = {
    "series_id": pl.String,
    "period_on": pl.Date,
    "event_at": INSTANT,
    "known_at": INSTANT,
    "units": pl.Float64,
    "price": pl.Float64,
    "is_promoted": pl.Boolean,
    "stock": pl.Float64,
    "lines": pl.Int64,
    "tickets": pl.Int64,
}
VALUES = ("units", "price", "is_promoted", "stock", "lines", "tickets")
PLANS: dict[str, Any] = {
    "series_id": pl.String,
    "target_on": pl.Date,
    "event_at": INSTANT,
    "known_at": INSTANT,
    "planned_price": pl.Float64,
    "is_planned_promotion": pl.Boolean,
    "arrived_on": pl.Date,
}


def aggregate(accepted: pl.DataFrame, source: Source) -> pl.DataFrame:
    """The `sales` frame of accepted lines (with `series_id`, `period_on`, `known_at`): one row per series and period.

    price: mean of what was charged, weighted by units; of a period without units the lines' own. stock: the last line's.
    is_promoted: of any line, null where no line says. lines, tickets: the source's own counts, else counted.
    """
    columns = source.columns

    def role(name: str) -> pl.Expr:
        return pl.col(columns[name])

    units = role("units").cast(pl.Float64)
    price: pl.Expr = pl.lit(None, dtype=pl.Float64)
    if "price" in columns:
        unit_price = role("price").cast(pl.Float64)
        priced = unit_price.is_not_null()
        weight = units.filter(priced).sum()
        price = pl.when(weight > 0).then((units * unit_price).sum() / weight).otherwise(unit_price.mean())
    counted = pl.len() if "lines" not in columns else role("lines").sum()
    tickets: pl.Expr = pl.lit(None, dtype=pl.Int64)
    if "tickets" in columns:
        tickets = role("tickets").sum()
    elif "ticket" in columns:
        tickets = role("ticket").drop_nulls().n_unique()
    sums = accepted.group_by("series_id", "period_on", maintain_order=True).agg(
        known_at=pl.col("known_at").max(),
        units=units.sum(),
        price=price,
        is_promoted=pl.when(role("is_promoted").count() > 0).then(role("is_promoted").any())
        if "is_promoted" in columns
        else pl.lit(None, dtype=pl.Boolean),
        stock=role("stock").cast(pl.Float64).last() if "stock" in columns else pl.lit(None, dtype=pl.Float64),
        lines=counted.cast(pl.Int64),
        tickets=tickets.cast(pl.Int64),
    )
    return (
        sums.with_columns(event_at=period_end(pl.col("period_on"), source))
        .select(pl.col(name).cast(dtype) for name, dtype in SALES.items())
        .sort("period_on", "series_id", "known_at")
    )


def complete(classified: pl.DataFrame, source: Source, first_on: Any, last_on: Any) -> pl.DataFrame:
    """The same lines; those of a week that the source's days `first_on` to `last_on` do not cover are set aside meanwhile."""
    if source.period_days == 1 or source.dated != "day":
        return classified
    period = pl.col("period_on")
    is_open = (period < pl.lit(first_on)) | (period.dt.offset_by(f"{source.period_days - 1}d") > pl.lit(last_on))
    waiting = pl.when(pl.col("reason").is_null() & is_open).then(pl.lit("incomplete_period")).otherwise("reason")
    return classified.with_columns(reason=waiting)


def latest(revisions: pl.DataFrame) -> pl.DataFrame:
    """Of each series and period the revision that is known last."""
    return revisions.sort("known_at").unique(["series_id", "period_on"], keep="last", maintain_order=True)


def layered(old: pl.DataFrame, new: pl.DataFrame, deliveries: pl.DataFrame) -> pl.DataFrame:
    """All revisions of a range whose periods' lines were last delivered as `deliveries` say (`period_on`, `delivered_at`).

    What was known before a period's last delivery stays; what follows from that delivery is `new`. So another delivery adds
    a revision, and another rule of cleaning, with no delivery, changes the revision that it made.
    """
    earlier = old.join(deliveries, on="period_on").filter(pl.col("known_at") < pl.col("delivered_at")).select(*SALES)
    return revise(earlier, new, deliveries)


def revise(old: pl.DataFrame, new: pl.DataFrame, arrived_known_at: datetime | pl.DataFrame) -> pl.DataFrame:
    """All revisions of a range: `old` ones untouched, and one more where `new` differs from the latest of them.

    A revision is known at `arrived_known_at` at the earliest (one instant, or `delivered_at` by `period_on`), so what was
    known before stays what it was. A period that is gone sold nothing: 0 units. Writing the same again adds nothing.
    """
    if old.is_empty():
        return new.sort("period_on", "series_id", "known_at")
    key = ["series_id", "period_on"]
    if isinstance(arrived_known_at, datetime):
        periods = pl.concat([old["period_on"], new["period_on"]]).unique()
        arrived_at = pl.DataFrame({"period_on": periods}).with_columns(
            delivered_at=pl.lit(arrived_known_at, dtype=INSTANT)
        )
    else:
        arrived_at = arrived_known_at
    standing = latest(old).join(arrived_at, on="period_on")
    both = new.join(standing, on=key, how="left", suffix="_old", maintain_order="left")
    is_same = pl.all_horizontal(_same(name) for name in VALUES)
    arrived = pl.col("delivered_at")
    after = pl.max_horizontal("known_at", arrived, pl.col("known_at_old") + pl.duration(microseconds=1))
    is_first = pl.col("known_at_old").is_null()
    changed = (
        both.filter(is_first | ~is_same)
        .with_columns(known_at=pl.when(is_first).then("known_at").otherwise(after))
        .select(*SALES)
    )
    gone = (
        standing.join(new, on=key, how="anti")
        .filter(pl.col("units").ne_missing(0.0) | (pl.col("lines") != 0))  # what was unknown, and is gone, sold nothing
        .with_columns(
            known_at=pl.max_horizontal(arrived, pl.col("known_at") + pl.duration(microseconds=1)),
            units=pl.lit(0.0),
            price=pl.lit(None, dtype=pl.Float64),
            is_promoted=pl.lit(None, dtype=pl.Boolean),
            stock=pl.lit(None, dtype=pl.Float64),
            lines=pl.lit(0, dtype=pl.Int64),
            tickets=pl.lit(0, dtype=pl.Int64),
        )
        .select(*SALES)
    )
    return pl.concat([old.select(*SALES), changed, gone]).sort("period_on", "series_id", "known_at")


def _same(name: str) -> pl.Expr:
    mine, theirs = pl.col(name), pl.col(f"{name}_old")
    if SALES[name] == pl.Float64:
        close = (mine - theirs).abs() <= 1e-9 * pl.max_horizontal(mine.abs(), theirs.abs(), pl.lit(1.0))
        return pl.when(mine.is_null() | theirs.is_null()).then(mine.is_null() & theirs.is_null()).otherwise(close)
    return mine.eq_missing(theirs)


def plans(announced: Sequence[tuple[pl.DataFrame, datetime | None]], source: Source, starts_on: date) -> pl.DataFrame:
    """The `plans` frame of announcements, delivery by delivery, each with its arrival (None beside the history).

    An announcement is known at the local midnight that ends its day, or, of a source that goes on, when it arrived where
    that was late, as lines are. What was announced of the same day before and now differs is a further row with the same
    event time, known when it arrived. `arrived_on` is the day of the announcement, or the source's first one for what was
    announced before it; the table is partitioned by it.
    """
    key = ["series_id", "target_on", "event_at"]
    standing = pl.DataFrame(schema=PLANS)
    for said, arrived_at in announced:
        rows = _placed_plans(said, source, starts_on)
        if arrived_at is not None and not source.is_ended:
            arrived = pl.lit(arrived_at, dtype=INSTANT)
            late = pl.col("event_at") + timedelta(hours=source.on_time_hours) < arrived
            rows = rows.with_columns(known_at=pl.when(late).then(arrived).otherwise("event_at"))
        newest = standing.sort("known_at").unique(key, keep="last", maintain_order=True)
        both = rows.join(newest, on=key, how="left", suffix="_old", maintain_order="left")
        is_first = pl.col("known_at_old").is_null()
        is_same = pl.all_horizontal(
            pl.col(name).eq_missing(pl.col(f"{name}_old")) for name in ("planned_price", "is_planned_promotion")
        )
        after = pl.col("known_at_old") + pl.duration(microseconds=1)
        if arrived_at is not None:
            after = pl.max_horizontal(after, pl.lit(arrived_at, dtype=INSTANT))
        added = both.filter(is_first | ~is_same).with_columns(
            known_at=pl.when(is_first).then("known_at").otherwise(after)
        )
        standing = pl.concat([standing, added.select(*PLANS)])
    return standing.sort("arrived_on", "series_id", "target_on", "event_at", "known_at")


def _placed_plans(announced: pl.DataFrame, source: Source, starts_on: date) -> pl.DataFrame:
    roles = source.plans
    optional = {"planned_price": pl.Float64, "is_planned_promotion": pl.Boolean}
    said = pl.col(roles["announced_on"])
    known = local_instant(said.dt.offset_by("1d"), source.timezone)
    return announced.with_columns(
        series_id=series_id(source),
        target_on=pl.col(roles["target_on"]),
        event_at=known,
        known_at=known,
        arrived_on=pl.max_horizontal(said, pl.lit(starts_on, dtype=pl.Date)),
        **{
            name: pl.col(roles[name]) if name in roles else pl.lit(None, dtype=dtype)
            for name, dtype in optional.items()
        },
    ).select(pl.col(name).cast(dtype) for name, dtype in PLANS.items())
