"""What the assets of a source do when they run."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from platform_assets import names
from platform_assets.components.source_assets import ACCOUNTING, CONTRACT, VOLUME
from platform_assets.components.source_window import ARRIVAL_TAG
from platform_assets.errors import ContractError, DataError, PerennialError
from platform_assets.science import contract, landing, quarantine
from platform_assets.science import sales as selling
from platform_assets.science.source import Source
from resources.landing import record_refusal
from resources.source_folder import rulebook
from resources.table_ranges import Between


def between_of(context: Any) -> Between:
    """First day of the run's partitions, and the day after their last."""
    window = context.partition_time_window
    return window.start.date(), window.end.date()


def land_lines(source: Source, context: dg.AssetExecutionContext) -> pl.DataFrame:
    """Lines of the run's months; an arrived file that the run's tag names becomes part of the source first."""
    resources, now = context.resources, context.resources.clock.now()
    arrival = context.run.tags.get(ARRIVAL_TAG)
    path = Path(arrival) if arrival else resources.landing.history_file(source)
    try:
        if arrival:
            digest = resources.landing.accept(path, source, now=now)
            resources.ledger.complete(f"arrival/{source.name}/{digest}", {"file": path.name, "run": context.run.run_id})
        landed = resources.landing.lines(source, now=now)
    except DataError as error:
        raise _refused(resources, source, path, error) from error
    lines = _within(landed.lines, "period_on", between_of(context))
    _check_months(landed.lines, source, context)
    context.add_output_metadata(
        {
            "lines": lines.height,
            "findings": int(lines["finding"].count()),
            "files": dg.MetadataValue.md(_table(["file", "rows", "landed", "superseded"], _file_rows(landed.files))),
        }
    )
    return lines


def _check_months(lines: pl.DataFrame, source: Source, context: dg.AssetExecutionContext) -> None:
    first, last = lines["period_on"].min(), lines["period_on"].max()
    definition = context.assets_def.partitions_def
    assert isinstance(definition, dg.TimeWindowPartitionsDefinition)
    start, end = definition.get_first_partition_window(), definition.get_last_partition_window()
    assert start is not None
    assert end is not None
    if not (start.start.date() <= first and last < end.end.date()):  # pyright: ignore[reportOperatorIssue]
        raise ContractError(
            f"{source.name}/lines: lines from {first} to {last}, the graph has months from {start.start.date()} to {end.end.date()}",
            hint="a source whose defs.yaml says `ended: true` takes no later days; a pinned clock (PERENNIAL_NOW) must move on first",
        )


def check_lines(source: Source, context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """The committed table against the contract, and against the files."""
    key = dg.AssetKey(names.lines_key(source.name))
    lines = context.resources.tables.scan(names.table_name(list(key.path))).collect()
    book = rulebook(source)
    for name, check in ((CONTRACT, _check_contract), (VOLUME, _check_volume)):
        try:
            metadata = check(lines, book, context)
            yield dg.AssetCheckResult(passed=True, check_name=name, asset_key=key, metadata=metadata)
        except PerennialError as error:
            yield dg.AssetCheckResult(
                passed=False, check_name=name, asset_key=key, description=str(error), metadata={"problem": str(error)}
            )


def _check_contract(lines: pl.DataFrame, book: Any, context: Any) -> dict[str, Any]:
    source: Source = book.source
    where = f"{source.name}/lines"
    for name in ("event_at", "known_at"):
        if lines.schema[name] != landing.INSTANT:
            raise ContractError(
                f"{where}: `{name}` is {lines.schema[name]}, expected a time in UTC", hint="localise it in the adapter"
            )
    contract.check_names(where, [name for name in lines.columns if name not in contract.LANDED], book.columns)
    sound = lines.filter(pl.col("finding").is_null())
    cases = contract.failures(landing.as_delivered(sound, book.columns), book.schema)
    if cases is not None:
        case = cases.row(0, named=True)
        line = (
            sound.row(case["index"], named=True) if case["index"] is not None else {"file_name": where, "file_row": "-"}
        )
        raise ContractError(
            f"{line['file_name']}: column `{case['column']}`, row {line['file_row']}: {case['check']}, found {case['failure_case']} "
            f"({cases.height} such values)"
        )
    told = contract.check_share(lines, source, where)
    counts = contract.finding_counts(lines["finding"])
    return {"lines": lines.height, **told, **{f"finding {said}": n for said, n in counts.items()}}


def _check_volume(lines: pl.DataFrame, book: Any, context: Any) -> dict[str, Any]:
    repeated = lines.select("file_digest", "file_row").is_duplicated()
    if repeated.any():
        line = lines.filter(repeated).row(0, named=True)
        raise ContractError(
            f"{line['file_name']}: row {line['file_row']} stands in the table {int(repeated.sum())} times"
        )
    counts = lines["period_on"].value_counts()["count"]
    return {
        "lines": lines.height,
        "open periods": counts.len(),
        "fewest lines of a period": min(counts.to_list(), default=0),
    }


def clean_lines(
    source: Source, context: dg.AssetExecutionContext
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Lines set aside into the quarantine, the others into sales; a changed period becomes a further revision."""
    tables, between = context.resources.tables, between_of(context)
    quarantine_table = names.table_name(names.quarantine_key(source.name))
    try:
        cleaned = _cleaned(source, tables, between)
    except ContractError as error:
        yield dg.AssetCheckResult(passed=False, check_name=ACCOUNTING, asset_key=names.SALES, description=str(error))
        raise dg.Failure(str(error), allow_retries=False) from error
    aside, sold, found = cleaned.aside, cleaned.sold, cleaned.found
    counts = {f"reason {reason}": n for reason, n in found.by_reason.items()}
    version = tables.write(quarantine_table, aside, between=between, partition_by="period_on", allow_empty=True)
    yield dg.MaterializeResult(
        asset_key=dg.AssetKey(names.quarantine_key(source.name)),
        metadata={
            "table_version": version,
            "lines": found.quarantined,
            **counts,
            "first rows": dg.MetadataValue.md(_examples(aside, source)),
        },
    )
    with tables.revision(names.SALES) as revision:
        old = sold.clear() if revision.version is None else revision.scan(between=between).collect()
        revised = selling.layered(old, sold, cleaned.deliveries)
        version = revision.write(revised, between=between, partition_by="period_on", allow_empty=True)
    yield dg.AssetCheckResult(
        passed=True,
        check_name=ACCOUNTING,
        asset_key=names.SALES,
        metadata={"lines": found.landed, "accepted": found.accepted, "set aside": found.quarantined, **counts},
    )
    standing = selling.latest(revised)
    yield dg.MaterializeResult(
        asset_key=dg.AssetKey([names.SALES]),
        metadata={
            "table_version": version,
            "dagster/row_count": revised.height,
            "series": standing["series_id"].n_unique(),
            "open periods": standing.filter(pl.col("units") > 0)["period_on"].n_unique(),
            "units": float(standing["units"].sum()),
            "corrections": revised.height - standing.height,
            "lines accepted": found.accepted,
            "lines set aside": found.quarantined,
        },
    )


@dataclass(frozen=True)
class Cleaned:
    """Lines set aside, sales, when each period's lines were last delivered, and where each line went."""

    aside: pl.DataFrame
    sold: pl.DataFrame
    deliveries: pl.DataFrame
    found: quarantine.Accounting


def _cleaned(source: Source, tables: Any, between: Between) -> Cleaned:
    """Everything of the range, month by month: a month of lines is all that stands in memory at once."""
    table, set_aside = names.table_name(names.lines_key(source.name)), rulebook(source).set_aside
    everything = tables.scan(table)
    first_on, last_on = everything.select(a=pl.col("day_on").min(), b=pl.col("day_on").max()).collect().row(0)
    typical = quarantine.typical_units(everything.filter(pl.col("period_on") < between[1]), source).collect()
    aside, sold, counts, deliveries = [], [], [], []
    for month in _months(between):
        lines = tables.scan(table, between=month).collect().sort("day_on", "file_digest", "file_row")
        history = typical.filter(pl.col("period_on") < month[0]).group_by("series_id")
        before = history.agg(pl.col("period_on").max(), pl.col("n").sum(), pl.col("log_units").sum())
        classified = quarantine.classify(lines, source, set_aside, before)
        classified = selling.complete(classified, source, first_on, last_on)
        sales = selling.aggregate(classified.filter(pl.col("reason").is_null()), source)
        counts.append(
            quarantine.account(lines, classified, int(sales["lines"].sum()) if "lines" not in source.columns else None)
        )
        aside.append(classified.filter(pl.col("reason").is_not_null()).drop("series_id"))
        sold.append(sales)
        deliveries.append(lines.group_by("period_on").agg(delivered_at=pl.col("known_at").max()))
    return Cleaned(pl.concat(aside), pl.concat(sold), pl.concat(deliveries), quarantine.total(counts))


def _months(between: Between) -> Iterator[Between]:
    start, end = between
    while start < end:
        following = min((start.replace(day=1) + timedelta(days=32)).replace(day=1), end)
        yield start, following
        start = following


def land_plans(source: Source, starts_on: date, context: dg.AssetExecutionContext) -> pl.DataFrame:
    """What was announced in the run's months."""
    resources = context.resources
    try:
        announced = resources.landing.plans(source)
    except DataError as error:
        raise _refused(resources, source, resources.landing.history_file(source), error) from error
    planned = pl.DataFrame(schema=selling.PLANS) if announced is None else selling.plans(announced, source, starts_on)
    rows = _within(planned, "arrived_on", between_of(context))
    context.add_output_metadata({"plans": rows.height, "series": rows["series_id"].n_unique()})
    return rows


def _refused(resources: Any, source: Source, path: Path, error: DataError) -> dg.Failure:
    record_refusal(resources.ledger, source, path, error, now=resources.clock.now())
    return dg.Failure(str(error), allow_retries=False)  # the file stays what it is


def _within(rows: pl.DataFrame, column: str, between: Between) -> pl.DataFrame:
    return rows.filter(pl.col(column).is_between(between[0], between[1] - timedelta(days=1)))


def _file_rows(files: Any) -> list[list[Any]]:
    return [
        [name, counts["rows"], counts["landed"], counts["superseded"]] for name, counts in list(files.items())[-20:]
    ]


def _examples(aside: pl.DataFrame, source: Source) -> str:
    columns = list(dict.fromkeys(["reason", "file_row", *source.series, source.columns["units"], source.when]))
    rows = aside.group_by("reason", maintain_order=True).head(2).select(columns)
    return _table(columns, [list(row) for row in rows.head(12).rows()])


def _table(header: list[str], rows: list[list[Any]]) -> str:
    def line(cells: list[Any]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "/").replace("<", "&lt;")[:40] for cell in cells) + " |"

    return "\n".join([line(header), line(["---"] * len(header)), *map(line, rows)])
