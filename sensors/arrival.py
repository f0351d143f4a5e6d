"""New files in the landing folder: one run for each, exactly once by its content."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from platform_assets import names
from platform_assets.components.source_window import ARRIVAL_TAG, active_window
from platform_assets.errors import ConfigurationError, DataError
from platform_assets.science.source import Source

SETTLED = timedelta(seconds=5)  # a file that was written to more recently may still be growing
INTERVAL_SECONDS = 30


def arrival_sensor() -> dg.SensorDefinition:
    """Watches `<state>/landing` for Parquet and CSV files of the active source.

    A file is known by its SHA-256: the same content under another name, or after the cursor was lost, asks for nothing. A
    file that cannot be read as this source's is refused at once and stands in the ledger; its contract is checked by the run.
    """
    window = active_window()
    keys = [names.lines_key(window.source), names.quarantine_key(window.source), [names.SALES]]

    @dg.sensor(
        name="arrival_sensor",
        asset_selection=dg.AssetSelection.assets(*(dg.AssetKey(key) for key in keys)),
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={"landing", "ledger", "clock", "source"},
        description="Asks for the months of each new file in the landing folder, once.",
    )
    def arrival(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        resources: Any = context.resources
        seen: dict[str, str] = json.loads(context.cursor or "{}")
        files, counts, now_seen = (
            resources.landing.waiting(),
            dict.fromkeys(("new", "known", "refused", "unsettled"), 0),
            {},
        )
        problems = []
        for path in files:
            stamp = _stamp(path)
            if seen.get(path.name) == stamp:
                counts["known"] += 1
                now_seen[path.name] = stamp
                continue
            if resources.clock.wall_now().timestamp() - path.stat().st_mtime < SETTLED.total_seconds():
                counts["unsettled"] += 1
                continue
            try:
                request = _request(path, resources.source, resources)
            except ConfigurationError as error:  # asked for again, when the graph has its months
                counts["unsettled"] += 1
                problems.append(error.message)
                continue
            except DataError as error:
                counts["refused"] += 1
                problems.append(error.message)
            else:
                counts["new" if request else "known"] += 1
                if request:
                    yield request
            now_seen[path.name] = stamp
        context.update_cursor(json.dumps(now_seen))
        if not counts["new"]:
            said = ", ".join(f"{n} {state}" for state, n in counts.items())
            yield dg.SkipReason(
                f"{len(files)} files in {resources.landing.arriving}: {said}. {' '.join(problems)}".strip()
            )

    return arrival


def _stamp(path: Path) -> str:
    state = path.stat()
    return f"{state.st_size}-{state.st_mtime_ns}"


def _request(path: Path, source: Source, resources: Any) -> dg.RunRequest | None:
    """The run that a file asks for; None where its content has been dealt with.

    Raises: DataError where it is no file of this source (recorded), ConfigurationError where the graph lacks its months.
    """
    from platform_assets.components.source_choice import arriving_months
    from resources.landing import record_refusal
    from resources.line_files import read_file

    try:
        digest = read_file(path).digest
        if resources.landing.has(digest, source) or any(
            r.sha256 == digest for r in resources.ledger.refusals(source.name)
        ):
            return None
        months = arriving_months(path, source, active_window().partitions)
    except DataError as error:
        record_refusal(resources.ledger, source, path, error, now=resources.clock.wall_now())
        raise
    tags = {
        ARRIVAL_TAG: str(path),
        names.TAG_REASON: f"{path.name} arrived: {months[0]} to {months[-1]}",
        names.TAG_CAUSE: "arrival",
    }
    run_key = f"arrival-{digest[:16]}"
    if len(months) == 1:
        return dg.RunRequest(run_key=run_key, partition_key=months[0], tags=tags)
    span = {"dagster/asset_partition_range_start": months[0], "dagster/asset_partition_range_end": months[-1]}
    return dg.RunRequest(run_key=run_key, tags={**tags, **span})
