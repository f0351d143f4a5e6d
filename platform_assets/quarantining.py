"""`perennial quarantine`: periods of a segment put under quarantine by hand, lifted from it, or listed."""

from __future__ import annotations

import getpass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from platform_assets import names
from platform_assets.answers import said_reason, source_of
from platform_assets.components.source_window import quarantine_completion
from platform_assets.errors import ConfigurationError
from platform_assets.science.spans import ALL, span_name
from resources.clock import Clock
from resources.ledger import Ledger

if TYPE_CHECKING:
    from resources.deployment import Settings

Answer = tuple[dict[str, Any], str]


def put(
    settings: Settings, segment: str, first_on: date, last_on: date | None, reason: str, *, lifts: bool = False
) -> Answer:
    """Keep in the ledger that a segment's periods are unknown, or that their values are right; `sales` follows by a run.

    Raises: ConfigurationError for a segment that the source lacks, an empty reason, or days in the wrong order.
    """
    source, reason = source_of(settings), said_reason(reason)
    known = segments_of(settings)
    name = "" if segment == "all" else segment
    if name and name not in known:
        shown = ", ".join(known[:12]) or "it has none: its chain is one"
        raise ConfigurationError(f"source {source.name} has no segment {segment!r}", hint=f"known: all, {shown}")
    first_on = _starts(first_on, settings)
    if last_on is not None and last_on < first_on:
        raise ConfigurationError(f"--to {last_on} is before --from {first_on}")
    ledger, at = Ledger(settings.ledger_url), Clock(settings.now).now()
    if lifts and last_on is None:
        last_on = _last_held(ledger, settings, name, first_on)
    ledger.record_quarantine(
        source.name, name, first_on, last_on, "lifted" if lifts else "added",
        reason=reason, who=getpass.getuser(), at=at,
    )  # fmt: skip
    told = span_name(name, first_on, last_on)
    verb = (
        "lifted from quarantine: its values come back" if lifts else "put under quarantine: its values become unknown"
    )
    text = f"{told} {verb} as a revision known at {at:%Y-%m-%d %H:%M}; the sensor quarantine_sensor rebuilds sales and features while `make dev` runs"
    return {"segment": name or ALL, "first_on": first_on, "last_on": last_on, "reason": reason, "at": at}, text


def listed(settings: Settings) -> Answer:
    """All that is or was under quarantine, with its status, and whether `sales` follows."""
    from platform_assets.science import segment_quarantine

    source, ledger = source_of(settings), Ledger(settings.ledger_url)
    spells = segment_quarantine.spells(ledger.quarantines(source.name), source.period_days)
    rows = [
        {
            "segment": spell.segment or ALL,
            "from": spell.first_on,
            "to": spell.last_on,
            "reason": spell.reason,
            "who": spell.who,
            "found_at": spell.found_at,
            "status": spell.status,
            "in_sales": all(ledger.completed(quarantine_completion(entry)) for entry in spell.entries),
        }
        for spell in spells
    ]
    lines = [
        f"{spell.name}: {spell.status}, {'in sales' if row['in_sales'] else 'not in sales yet'}; {spell.reason} "
        f"({spell.who}, {spell.found_at:%Y-%m-%d %H:%M})"
        for spell, row in zip(spells, rows, strict=True)
    ]
    return {"source": source.name, "quarantines": rows}, "\n".join(lines) or "nothing is under quarantine"


def segments_of(settings: Settings) -> list[str]:
    """Segments that have sold, sorted; none of a source whose series name no place."""
    position, tables = source_of(settings).segment_position, settings.tables()
    if position is None or not tables.exists(names.SALES):
        return []
    from platform_assets.science.faults import segment_of

    found = tables.scan(names.SALES).select(segment_of(position).unique().sort().alias("segment")).collect()
    return found["segment"].to_list()


def _starts(on: date, settings: Settings) -> date:
    """First day of the period that a day lies in."""
    source = source_of(settings)
    if source.period_days == 1:
        return on
    import polars as pl

    starts = settings.tables().scan(names.SALES).select(pl.col(names.PERIOD_ON).max()).collect().item()
    return on if starts is None else on - timedelta(days=(on - starts).days % source.period_days)


def _last_held(ledger: Ledger, settings: Settings, segment: str, first_on: date) -> date | None:
    """Last period of what stands under quarantine from a day on.

    Raises: ConfigurationError where there is nothing to lift.
    """
    from platform_assets.science import segment_quarantine

    source = source_of(settings)
    held = [
        spell
        for spell in segment_quarantine.spells(ledger.quarantines(source.name), source.period_days)
        if spell.status in segment_quarantine.HOLDING and (not segment or spell.segment == segment)
        and (spell.last_on is None or spell.last_on >= first_on)
    ]  # fmt: skip
    if not held:
        raise ConfigurationError(
            f"nothing of {span_name(segment, first_on, None)} is under quarantine",
            hint="see `perennial quarantine list`",
        )
    ends = [spell.last_on for spell in held]
    return None if None in ends else max(end for end in ends if end is not None)
