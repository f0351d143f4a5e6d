"""How lines and plans land: files that arrived are accepted first, tables are written by whoever knows all files."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any, Final, TypeVar

import dagster as dg
import polars as pl

from platform_assets import names
from platform_assets.components.source_window import ARRIVAL_TAG, DIGEST_TAG, arrival_completion
from platform_assets.errors import ConcurrentWriteError, ConfigurationError, DataError
from platform_assets.science import sales as selling
from platform_assets.science.source import Source
from resources.landing import Landed, LandedFile
from resources.plan_files import is_plans
from resources.refusals import record_refusal
from resources.table_io import partition_rows, table_metadata
from resources.table_ranges import Between

WRITE_ATTEMPTS: Final = 5  # of a run whose months somebody else wrote meanwhile
Result = TypeVar("Result")


def between_of(context: Any) -> Between:
    """First day of the run's partitions, and the day after their last."""
    window = context.partition_time_window
    return window.start.date(), window.end.date()


def land_lines(source: Source, context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Lines of the run's months; an arrived file that the run's tag names becomes part of the source first."""
    resources, now, between = context.resources, context.resources.clock.now(), between_of(context)
    arrival = context.run.tags.get(ARRIVAL_TAG)
    blamed = arrival or str(resources.landing.history_file(source))
    with _recording(resources, source, blamed):
        if arrival and not is_plans(arrival):
            resources.landing.accept(arrival, source, now=now, between=between)
        _check_months(resources.landing.span(source, now=now), source, context)

    def landed() -> Landed:
        with _recording(resources, source, blamed):
            return resources.landing.lines(source, now=now, between=between)

    name = names.table_name(names.lines_key(source.name))
    found, version = _written(resources.tables, name, landed, lambda landed: landed.lines, between, "period_on")
    return dg.MaterializeResult(
        metadata={
            **_told(context, name, version, found.lines, "period_on"),
            "lines": found.lines.height,
            "findings": int(found.lines["finding"].count()),
            "files": dg.MetadataValue.md(markdown(["file", "rows", "landed", "superseded"], _file_rows(found.files))),
        }
    )


def _written(
    tables: Any,
    name: str,
    compute: Callable[[], Result],
    rows_of: Callable[[Result], pl.DataFrame],
    between: Between,
    column: str,
) -> tuple[Result, int]:
    """What was computed of the files, and the version in which its rows stand.

    The table is opened before the files are listed: of two runs the one that listed first, and so may know less, cannot
    write over the other one. It lists again.
    """
    for attempt in range(1, WRITE_ATTEMPTS + 1):
        with tables.revision(name) as revision:
            found = compute()
            try:
                return found, revision.write(rows_of(found), between=between, partition_by=column, allow_empty=True)
            except ConcurrentWriteError:
                if attempt == WRITE_ATTEMPTS:
                    raise
    raise AssertionError("unreachable")


def _told(
    context: dg.AssetExecutionContext, name: str, version: int, rows: pl.DataFrame, column: str
) -> dict[str, Any]:
    """Metadata of a table that was written, with each partition's rows on its own."""
    definition = context.assets_def.partitions_def
    assert isinstance(definition, dg.TimeWindowPartitionsDefinition)
    for key, count in partition_rows(rows, column, definition, context.partition_keys):
        context.add_asset_metadata(count, asset_key=context.asset_key, partition_key=key)
    return table_metadata(context.resources.tables, name, version, rows.schema)


def complete_arrival(source: Source, context: dg.AssetExecutionContext, *, is_plans_run: bool) -> None:
    """Keep that the arrived file which the run's tag names stands in the tables; to be called when their events are kept."""
    arrival, resources = context.run.tags.get(ARRIVAL_TAG), context.resources
    if arrival and is_plans(arrival) == is_plans_run:
        digest = context.run.tags.get(DIGEST_TAG) or resources.landing.kept.read(arrival).digest
        about = {"file": arrival.rpartition("/")[2], "run": context.run.run_id}
        resources.ledger.complete(arrival_completion(source.name, digest), about)


def _check_months(span: tuple[date, date], source: Source, context: dg.AssetExecutionContext) -> None:
    first, last = span
    definition = context.assets_def.partitions_def
    assert isinstance(definition, dg.TimeWindowPartitionsDefinition)
    start, end = definition.get_first_partition_window(), definition.get_last_partition_window()
    assert start is not None
    assert end is not None
    if not (start.start.date() <= first and last < end.end.date()):
        raise ConfigurationError(
            f"{source.name}/lines: lines from {first} to {last}, the graph has months from {start.start.date()} to {end.end.date()}",
            hint="a source whose defs.yaml says `ended: true` takes no later days; a pinned clock (PERENNIAL_NOW) must move on first",
        )


def land_plans(source: Source, starts_on: date, context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
    """What was announced in the run's months; an arrived file of plans that the run's tag names is accepted first."""
    resources, between = context.resources, between_of(context)
    arrival = context.run.tags.get(ARRIVAL_TAG)
    blamed = arrival or str(resources.landing.history_file(source))
    if arrival and is_plans(arrival):
        with _recording(resources, source, blamed):
            resources.landing.accept(arrival, source, now=resources.clock.now(), between=between)

    def planned() -> pl.DataFrame:
        with _recording(resources, source, blamed):
            said = resources.landing.plans(source)
        return _within(selling.plans(said, source, starts_on), "arrived_on", between)

    rows, version = _written(resources.tables, names.PLANS, planned, lambda rows: rows, between, "arrived_on")
    told = _told(context, names.PLANS, version, rows, "arrived_on")
    yield dg.MaterializeResult(metadata={**told, "plans": rows.height, "series": rows["series_id"].n_unique()})
    complete_arrival(source, context, is_plans_run=True)


@contextmanager
def _recording(resources: Any, source: Source, where: str) -> Iterator[None]:
    """Keep in the ledger what is refused, and end the run: the file stays what it is."""
    try:
        yield
    except DataError as error:
        now = resources.clock.now()
        record_refusal(resources.ledger, source, where, error, now=now, kept=resources.landing.kept)
        raise dg.Failure(str(error), allow_retries=False) from error


def _within(rows: pl.DataFrame, column: str, between: Between) -> pl.DataFrame:
    return rows.filter(pl.col(column).is_between(between[0], between[1] - timedelta(days=1)))


def _file_rows(files: Sequence[LandedFile]) -> list[list[Any]]:
    return [[file.name, file.rows, file.landed, file.rows - file.landed] for file in files[-20:]]


def markdown(header: list[str], rows: list[list[Any]]) -> str:
    """A table as the UI shows it."""

    def line(cells: list[Any]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "/").replace("<", "&lt;")[:40] for cell in cells) + " |"

    return "\n".join([line(header), line(["---"] * len(header)), *map(line, rows)])
