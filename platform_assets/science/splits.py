"""Rolling-origin splits: which periods judge a model, and which rows it may have seen.

A forecast issued on a date is issued when that date's period has just become known. For daily sales it is the local
midnight that ends
`issued_on`, and horizon h is `issued_on + h` days; for weekly sales `issued_on` is the first day of the last known
week, and horizon 7 is the week after.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from platform_assets.errors import ConfigurationError, DataError, SchemaError

LABEL_KNOWN_AT = "label_known_at"
LEAST_JUDGED_DAYS = 7  # of a refresh: every weekday once


@dataclass(frozen=True)
class Origin:
    """One forecast of the past: issued when `issued_on` was the last known period, judged on first to last target."""

    issued_on: date
    first_target_on: date
    last_target_on: date
    period_days: int = 1

    @property
    def target_dates(self) -> list[date]:
        """First dates of all target periods, ascending."""
        days = (self.last_target_on - self.first_target_on).days
        return [self.first_target_on + timedelta(days=step) for step in range(0, days + 1, self.period_days)]


def origin(issued_on: date, *, horizon_days: int = 28, period_days: int = 1) -> Origin:
    """The origin issued on a date.

    Raises: ConfigurationError if the horizon is not a positive multiple of the period.
    """
    if period_days < 1 or horizon_days < period_days or horizon_days % period_days:
        raise ConfigurationError(
            f"splits: horizon_days {horizon_days} is not a positive multiple of period_days {period_days}",
            hint="weekly sources need a horizon of whole weeks, such as 28",
        )
    return Origin(
        issued_on=issued_on,
        first_target_on=issued_on + timedelta(days=period_days),
        last_target_on=issued_on + timedelta(days=horizon_days),
        period_days=period_days,
    )


def rolling_origins(
    last_known_on: date, count: int = 3, horizon_days: int = 28, *, period_days: int = 1
) -> list[Origin]:
    """`count` origins, ascending, whose target windows touch without overlap, the last ending on `last_known_on`.

    `last_known_on` is the first date of the last known period. A model judged on these origins may be fitted on rows
    whose labels were known when the first was issued (`fit_mask`): the label of the longest horizon comes later than
    its row, and that is the gap.
    Raises: ConfigurationError if the count or the horizon makes no split.
    """
    if count < 1:
        raise ConfigurationError(f"splits: {count} origins", hint="ask for at least 1")
    return [
        origin(last_known_on - timedelta(days=horizon_days * back), horizon_days=horizon_days, period_days=period_days)
        for back in range(count, 0, -1)
    ]


def refresh_origins(
    last_known_on: date,
    seen_until: date,
    count: int = 3,
    horizon_days: int = 28,
    *,
    period_days: int = 1,
    is_whole: bool = False,
    alarm_on: date | None = None,
) -> list[Origin]:
    """Origins that tell what newer labels are worth: those of the newer half of what came after `seen_until`.

    A candidate that is judged on all that its champion has not seen must not have seen it either, so that the two differ
    by nothing. Judged on the newer half only, it may have seen the older one. Target windows touch without overlap; the
    last ends on `last_known_on` and may be shorter than the horizon, except where `is_whole` says that a label spans it.
    Returns: at most as many as `rolling_origins`; none where the half is shorter than a week, a period or, with
    `is_whole`, the horizon. Where an alarm has held for so long they begin no earlier than with its first day known.
    """
    step = horizon_days if is_whole else max(LEAST_JUDGED_DAYS, period_days)
    half = min((last_known_on - seen_until).days // 2, count * horizon_days) // step * step
    if alarm_on is not None and (since := (last_known_on - alarm_on).days // step * step) > 0:
        half = min(half, since)
    return [
        origin(last_known_on - timedelta(days=left), horizon_days=min(left, horizon_days), period_days=period_days)
        for left in range(half, 0, -horizon_days)
    ]


def newest_origin(last_known_on: date, days: int, *, period_days: int = 1) -> Origin:
    """The origin whose targets are the last `days` days, or the whole periods that hold them."""
    length = -(-days // period_days) * period_days
    return origin(last_known_on - timedelta(days=length), horizon_days=length, period_days=period_days)


def fit_mask(rows: pl.DataFrame | pl.LazyFrame, cut: datetime) -> pl.Expr:
    """True where a row's label was known by the cut: a model judged on forecasts issued from then on may see it.

    Raises: SchemaError if the rows do not say when their label became known; ConfigurationError if the cut has no
    time zone.
    """
    if LABEL_KNOWN_AT not in rows.collect_schema().names():
        raise SchemaError(
            f"fit rows: column `{LABEL_KNOWN_AT}` is missing", hint="attach labels with science.demand.labels first"
        )
    if cut.tzinfo is None:
        raise ConfigurationError(f"fit rows: the cut {cut.isoformat()} has no time zone", hint="pass a UTC instant")
    return (pl.col(LABEL_KNOWN_AT) <= cut).fill_null(value=False)


def check_apart(fit_rows: pl.DataFrame, judged_rows: pl.DataFrame) -> None:
    """Nothing, if every label of the fit rows was known when the first judged forecast was issued.

    Raises: DataError naming the first leaking rows and their count.
    """
    first_issued = judged_rows["issued_at"].min()
    leaking = fit_rows.filter(pl.col(LABEL_KNOWN_AT).is_null() | (pl.col(LABEL_KNOWN_AT) > first_issued))
    if leaking.height:
        shown = leaking.select("series_id", "issued_at", "target_on", LABEL_KNOWN_AT).head(3).rows()
        raise DataError(
            f"{leaking.height} of {fit_rows.height} fit rows have labels that were not known when the first judged "
            f"forecast was issued, {first_issued}; first: {shown}",
            hint="filter the fit rows with splits.fit_mask(rows, cut) at that instant",
        )
