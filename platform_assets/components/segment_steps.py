"""Segments of a source judged as wholes while its lines are cleaned, and what is found kept in the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import dagster as dg
import polars as pl

from platform_assets import names
from platform_assets.components.source_assets import SEGMENTS
from platform_assets.components.source_window import quarantine_completion
from platform_assets.science import faults, segment_quarantine, unknown
from platform_assets.science import sales as selling
from platform_assets.science.fault_chain import LOOKBACK_DAYS
from platform_assets.science.faults import Fault
from platform_assets.science.source import Source
from platform_assets.science.spans import span_name
from resources.ledger import Ledger, Quarantine
from resources.table_ranges import Between

SHOWN = 20  # spells that the check names


@dataclass(frozen=True)
class Judged:
    """All revisions of the range, and the faults in it that nobody has lifted."""

    revised: pl.DataFrame
    found: Sequence[Fault]
    entries: Sequence[Quarantine]


def judge_segments(
    source: Source,
    ledger: Ledger,
    everything: pl.LazyFrame | None,
    old: pl.DataFrame,
    sold: pl.DataFrame,
    deliveries: pl.DataFrame,
    between: Between,
    run_id: str,
) -> Judged:
    """What was sold in the range, each segment's period judged as of its delivery, and its faults unknown.

    everything: all of `sales` as it stands, None before there is any. old: its revisions in the range. What is found is in
    the ledger when this returns, so that a run that dies before it has written holds retrainings back.
    """
    position = source.segment_position
    past = old.join(deliveries, on=names.PERIOD_ON).filter(pl.col(names.KNOWN_AT) < pl.col("delivered_at"))
    born = pl.DataFrame(schema={names.SERIES_ID: pl.String, "born_on": pl.Date})
    if everything is not None:
        day = pl.col(names.PERIOD_ON)
        since = between[0] - timedelta(days=LOOKBACK_DAYS)
        before = everything.filter((day >= since) & (day < between[0])).select(*selling.SALES).collect()
        past = pl.concat([before, past.select(*selling.SALES)])
    arrived = sold.join(deliveries, on=names.PERIOD_ON).with_columns(pl.col("delivered_at").alias(names.KNOWN_AT))
    entries = ledger.quarantines(source.name)
    said = segment_quarantine.statements(entries)
    found = faults.find(
        faults.totals(past, position),
        faults.totals(arrived, position),
        period_days=source.period_days,
        statements=said,
    )
    delivered = dict(deliveries.iter_rows())
    for one in segment_quarantine.news(found, entries, delivered, source.period_days):
        ledger.record_quarantine(
            source.name, one.segment, one.first_on, one.last_on, one.action,  # pyright: ignore[reportArgumentType]
            reason=one.reason, who=segment_quarantine.DETECTOR, at=one.at, evidence=one.evidence, run_id=run_id,
        )  # fmt: skip
    if (found or said) and everything is not None:
        born = unknown.first_sales(everything.filter(pl.col(names.PERIOD_ON) < between[0])).collect()
    revised = unknown.revisions(old, sold, deliveries, found=found, statements=said, born=born, position=position)
    held = [one for one in found if _is_held(one, said)]
    return Judged(revised, held, ledger.quarantines(source.name) if found else entries)


def _is_held(one: Fault, said: Sequence[faults.Statement]) -> bool:
    """Whether nobody has said since that the values are right."""
    last = max((other.at for other in said), default=one.found_at)
    return faults.stated(said, one.segment, one.period_on, last) is not False


def complete_quarantines(ledger: Ledger, judged: Judged, between: Between, last_on: date, version: int) -> None:
    """Keep that `sales` follows the rows of the quarantine whose periods all lie in the range, or before its end."""
    for entry in judged.entries:
        until = min(entry.last_on or last_on, last_on)
        if between[0] <= entry.first_on and until < between[1]:
            ledger.complete(quarantine_completion(entry.id), {"sales_version": version})


def segments_result(judged: Judged) -> dg.AssetCheckResult:
    """The check `segments`: each segment and spell at fault in the run's months, with its factor."""
    told = _spells(judged.found)
    return dg.AssetCheckResult(
        passed=not judged.found,
        check_name=SEGMENTS,
        asset_key=names.SALES,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(told[:SHOWN]) or None,
        metadata={
            "faulty periods": len(judged.found),
            "segments at fault": len({one.segment for one in judged.found}),
            **{f"factor {one.segment or 'chain'} {one.period_on}": one.factor for one in judged.found[:SHOWN]},
        },
    )


def _spells(found: Sequence[Fault]) -> list[str]:
    groups: dict[tuple[str, str], list[Fault]] = {}
    for one in found:
        groups.setdefault((one.segment, one.kind), []).append(one)
    return [
        f"{span_name(segment, run[0].period_on, run[-1].period_on)}: {run[0].told}"
        for (segment, _), run in groups.items()
    ]


def unknown_rows(revised: pl.DataFrame) -> int:
    """Rows whose standing revision is unknown."""
    return int(selling.latest(revised)[names.UNITS].null_count())
