"""What was said of a segment's periods by hand, or found by a run that died: its months are cleaned and described again."""

from collections.abc import Iterator
from datetime import date
from typing import Any, Final

import dagster as dg
from dagster._core.storage.tags import MAX_RUNTIME_SECONDS_TAG

from platform_assets import names, policies
from platform_assets.components.source_window import active_window, quarantine_completion
from platform_assets.science.spans import span_name
from resources.ledger import Quarantine
from sensors.arrival import CAUSE, INTERVAL_SECONDS, LONGEST_RUN, UNFINISHED

TAG: Final = "perennial/quarantine"  # row of the ledger that a run follows


def quarantine_sensor(views: list[dg.AssetKey]) -> dg.SensorDefinition:
    """Asks for the months of each row of the quarantine that `sales` does not follow yet, with the views made of them.

    A row is done when the ledger has its completion, which is written after the tables; until then it is asked for again, a
    bounded number of times.
    """
    source = active_window().source
    cleaned = [dg.AssetKey(names.quarantine_key(source)), dg.AssetKey([names.SALES])]

    @dg.sensor(
        name="quarantine_sensor",
        asset_selection=dg.AssetSelection.assets(*cleaned, *views),
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={"ledger", "tables"},
        description="Cleans the months of a segment's periods again that were put under quarantine by hand, or lifted from it.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        ledger = context.resources.ledger
        waiting = [
            entry
            for entry in ledger.quarantines(source)
            if entry.action != "cleared" and ledger.completed(quarantine_completion(entry.id)) is None
        ]
        said = []
        for entry in waiting:
            answer = _next(context, entry, [*cleaned, *views])
            if isinstance(answer, dg.RunRequest):
                yield answer
            else:
                said.append(answer)
        if not waiting or said:
            yield dg.SkipReason(" ".join(said) or "sales follows all that is under quarantine.")

    return sensor


def _next(context: dg.SensorEvaluationContext, entry: Quarantine, selection: list[dg.AssetKey]) -> dg.RunRequest | str:
    """The run that a row needs now, or why none is asked for."""
    name = span_name(entry.segment, entry.first_on, entry.last_on)
    found_by = None if entry.run_id is None else context.instance.get_run_by_id(entry.run_id)
    if found_by is not None and found_by.status in UNFINISHED:
        return f"{name}: the run that found it is under way."
    tried = context.instance.get_run_records(dg.RunsFilter(tags={TAG: str(entry.id)}))
    if any(record.dagster_run.status in UNFINISHED for record in tried):
        return f"{name}: its run is under way."
    if len(tried) > policies.RUN_RETRIES:
        return f"{name}: {len(tried)} runs have ended without it; mend what the last one ({tried[0].dagster_run.run_id}) says."
    if (last := _last_month(context.resources.tables)) is None:
        return f"{name}: there are no sales yet."
    first = max(entry.first_on.replace(day=1), active_window().starts_on.replace(day=1))
    if first > last:
        return f"{name}: nothing of it has arrived yet."
    return dg.RunRequest(
        run_key=f"quarantine-{entry.id}" + (f"/retry-{len(tried)}" if tried else ""),
        asset_selection=selection,
        tags={
            TAG: str(entry.id),
            names.TAG_REASON: f"{name} {entry.action}: {entry.reason}",
            names.TAG_CAUSE: CAUSE,  # one after the other, with the arrivals that write the same months
            MAX_RUNTIME_SECONDS_TAG: str(LONGEST_RUN),
            "dagster/asset_partition_range_start": first.isoformat(),
            "dagster/asset_partition_range_end": last.isoformat(),
        },
    )


def _last_month(tables: Any) -> date | None:
    """Month of the newest period of sales."""
    if not tables.exists(names.SALES):
        return None
    import polars as pl  # .4 CPU s, only where something waits

    newest = tables.scan(names.SALES).select(pl.col(names.PERIOD_ON).max()).collect().item()
    return None if newest is None else newest.replace(day=1)
