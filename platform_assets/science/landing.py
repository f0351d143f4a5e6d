"""Lines as they came, placed in time, and which delivery of a day counts.

Local day D is known at the local midnight that ends it. A history is known by that rule, whenever it is loaded; a later
delivery that replaces a day is known when it arrived, and so is a day of a live source that arrives late.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from platform_assets.errors import ContractError
from platform_assets.science.kinds import SHOWN, Column
from platform_assets.science.source import Source

INSTANT = pl.Datetime("us", "UTC")
EARLIEST = date(1970, 1, 2)  # on 1970-01-01 a zero was read as a date
LATEST = date(9999, 1, 1)  # Parquet holds days after the year 9999, Python does not


@dataclass(frozen=True)
class Delivery:
    """One file's lines, typed and with findings. `arrived_at` is None for the history that the platform began with."""

    name: str
    digest: str
    lines: pl.DataFrame
    arrived_at: datetime | None = None


def local_instant(local: pl.Expr, timezone: str) -> pl.Expr:
    """UTC instant of a local time without a zone.

    Where clocks go back a time occurs twice: the first is meant. Where they go forward a time is skipped: it is read as if
    the clocks had not moved, which is an hour later.
    """
    plain = local.cast(pl.Datetime("us"))
    placed = plain.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    shifted = plain.dt.offset_by("-1h").dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    return pl.coalesce(placed, shifted.dt.offset_by("1h")).dt.convert_time_zone("UTC")


def period_end(period_on: pl.Expr, source: Source) -> pl.Expr:
    """Instant at which the period ends: the local midnight after its last day."""
    return local_instant(period_on.dt.offset_by(f"{source.period_days}d"), source.timezone)


def sold_at(source: Source) -> pl.Expr | None:
    """Instant of a line as defs.yaml says it; None where lines have a date only."""
    if "sold_at" not in source.columns:
        return None
    time = pl.col(source.columns["sold_at"])
    return local_instant(time, source.timezone) if source.naive_times == "local" else time


def place(lines: pl.DataFrame, source: Source, instant: pl.Expr | None) -> pl.DataFrame:
    """Lines with `day_on`, `period_on` (local dates) and `event_at` (UTC); local times become text, as they came.

    `instant` overrides `sold_at` (an adapter's). Rows whose time is missing have null in all three.
    Raises: ContractError for an instant without a zone, or weekly dates that fall on several weekdays.
    """
    instant = sold_at(source) if instant is None else instant
    if instant is None:
        placed = lines.with_columns(day_on=pl.col(source.columns["sold_on"]))
    else:
        placed = lines.with_columns(event_at=instant)
        found = placed.schema["event_at"]
        if not isinstance(found, pl.Datetime) or found.time_zone is None:
            raise ContractError(
                f"{source.name}: `event_at` is {found}, a time without a zone",
                hint="localise it in the source's adapter.py, or say `naive_times: local` in its defs.yaml",
            )
        placed = placed.with_columns(
            pl.col("event_at").dt.convert_time_zone("UTC").dt.cast_time_unit("us"),
            day_on=pl.col("event_at").dt.convert_time_zone(source.timezone).dt.date(),
        )
    placed = placed.with_columns(period_on=_period(placed, source))
    if instant is None:
        placed = placed.with_columns(event_at=period_end(pl.col("period_on"), source))
    naive = [
        name for name, dtype in placed.schema.items() if isinstance(dtype, pl.Datetime) and dtype.time_zone is None
    ]
    return placed.with_columns(pl.col(name).dt.to_string("iso:strict") for name in naive)


def _period(lines: pl.DataFrame, source: Source) -> pl.Expr:
    day = pl.col("day_on")
    if source.frequency == "day":
        return day
    if source.dated == "day":
        back = f"-{source.week_starts_on}d"
        return day.dt.offset_by(back).dt.truncate("1w").dt.offset_by(f"{source.week_starts_on}d")
    weekdays = lines["day_on"].dt.weekday().drop_nulls().unique().sort()
    if len(weekdays) > 1:
        raise ContractError(
            f"{source.name}: column `{source.when}` holds dates on weekdays {weekdays.to_list()}, expected one weekday for weekly sums",
            hint="say `dated: day` in the source's defs.yaml where lines have days of their own and weeks are to be added up",
        )
    return day if source.dated == "start" else day.dt.offset_by("-6d")


def check_dates(lines: pl.DataFrame, source: Source, file: str, *, today: date | None) -> None:
    """Refuse a file with lines out of time: before 1970-01-02, after `today`, or more than two years apart from the rest.

    Raises: ContractError naming column, row and value; also for a line without a date.
    """
    day = pl.col("day_on")
    if undated := lines["day_on"].null_count():
        row = int(lines["day_on"].is_null().arg_max() or 0)
        raise ContractError(
            f"{file}: column `{source.when}` is missing in {undated} of {lines.height} rows (row {row + 1}: nothing), expected a date",
            hint="a line without a date belongs to no day; deliver the file with it",
        )
    wrong = day < EARLIEST if source.starts_on is None else day < source.starts_on
    last = min(limit for limit in (today, source.ends_on, LATEST) if limit is not None)
    outside = lines.with_row_index("row").filter(wrong | (day > last))
    if outside.height:
        _out_of_time(outside, source, file, lines.height, f"expected {source.starts_on or EARLIEST} to {last}")
    days = lines["day_on"].drop_nulls().unique().sort()
    jumps = days.diff().dt.total_days()
    if len(days) > 1 and (jumps > 731).any():
        index = int(jumps.arg_max() or 0)
        is_early = index < len(days) / 2
        alone = lines.with_row_index("row").filter(day < days[index] if is_early else day >= days[index])
        _out_of_time(
            alone,
            source,
            file,
            lines.height,
            f"more than two years from the other lines ({days[index - 1]} to {days[index]})",
        )


def _out_of_time(outside: pl.DataFrame, source: Source, file: str, height: int, expected: str) -> None:
    shown = ", ".join(
        f"row {row + 1}: {day}"
        for row, day in outside.head(SHOWN).select("row", pl.col("day_on").cast(pl.String)).iter_rows()
    )
    raise ContractError(
        f"{file}: column `{source.when}` is out of time in {outside.height} of {height} rows ({shown}), {expected}",
        hint="mend the dates; a source's first and last day can be stated as `starts_on` and `ends_on` in its defs.yaml",
    )


def land(delivery: Delivery, source: Source) -> pl.DataFrame:
    """A delivery's lines with the file's name, digest and row number, and when each became known by the bulk rule."""
    ends = period_end(pl.col("period_on"), source)
    known = ends
    if delivery.arrived_at is not None and not source.is_ended:
        arrived = pl.lit(delivery.arrived_at, dtype=INSTANT)
        known = pl.when(ends + timedelta(hours=source.on_time_hours) < arrived).then(arrived).otherwise(ends)
    return delivery.lines.with_columns(
        file_name=pl.lit(delivery.name), file_digest=pl.lit(delivery.digest[:16]), known_at=known
    )


def resolve(deliveries: Sequence[Delivery], source: Source) -> pl.DataFrame:
    """The lines that count: of each local day those of its last delivery.

    A day that replaces an earlier one is known when it arrived, never before. Deliveries are in order of arrival.
    """
    standing: pl.DataFrame | None = None
    for delivery in deliveries:
        lines = land(delivery, source)
        if standing is None:
            standing = lines
            continue
        if delivery.arrived_at is not None:
            replaced = standing.select(pl.col("day_on").unique())
            again = pl.col("day_on").is_in(replaced["day_on"].implode())
            arrived = pl.max_horizontal("known_at", pl.lit(delivery.arrived_at, dtype=INSTANT))
            lines = lines.with_columns(known_at=pl.when(again).then(arrived).otherwise("known_at"))
        days = lines.select(pl.col("day_on").unique())
        standing = pl.concat([standing.join(days, on="day_on", how="anti", maintain_order="left"), lines])
    if standing is None:
        raise ContractError(f"{source.name}: no file has been delivered")
    return standing.sort("day_on", maintain_order=True)


def as_delivered(landed: pl.DataFrame, columns: Sequence[Column]) -> pl.DataFrame:
    """The file's own columns of landed lines, in the types of the contract."""
    restored = [
        pl.col(column.name).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us")
        if column.kind == "local_time" and landed.schema[column.name] == pl.String
        else pl.col(column.name)
        for column in columns
    ]
    return landed.select(restored)
