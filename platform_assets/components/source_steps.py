"""What the assets of a source do when they run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import dagster as dg
import polars as pl

from platform_assets import names
from platform_assets.components.landing_steps import between_of, complete_arrival, markdown
from platform_assets.components.segment_steps import (
    complete_quarantines,
    judge_segments,
    segments_result,
    unknown_rows,
)
from platform_assets.components.source_assets import ACCOUNTING, CONTRACT, VOLUME
from platform_assets.components.source_window import DIGEST_TAG, arrival_completion
from platform_assets.errors import ContractError, PerennialError
from platform_assets.science import contract, landing, quarantine
from platform_assets.science import sales as selling
from platform_assets.science.source import Source
from resources.source_folder import rulebook
from resources.table_ranges import Between
from resources.table_revision import Revision


def check_lines(source: Source, context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """The committed rows of the run's months against the contract, and against the files."""
    key, between = dg.AssetKey(names.lines_key(source.name)), _months_of(context.run.tags)
    lines = context.resources.tables.scan(names.table_name(list(key.path)), between=between).collect()
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
    source, resources = book.source, context.resources
    repeated = lines.select("file_digest", "file_row").is_duplicated()
    if repeated.any():
        line = lines.filter(repeated).row(0, named=True)
        raise ContractError(
            f"{line['file_name']}: row {line['file_row']} stands in the table {int(repeated.sum())} times"
        )
    now, between = resources.clock.now(), _months_of(context.run.tags)
    expected = resources.landing.lines(source, now=now, between=between)
    # A file that another run has accepted and not written yet is on its way; that run answers for it.
    present = {*lines["file_digest"], context.run.tags.get(DIGEST_TAG, "")[:16]}
    absent = [file for file in expected.files if file.arrived_at is not None and file.digest[:16] not in present]
    done = resources.ledger.completed
    coming = {file.digest[:16] for file in absent if done(arrival_completion(source.name, file.digest)) is None}
    if coming:
        expected = resources.landing.lines(source, now=now, between=between, without=frozenset(coming))
    key = ["file_digest", "period_on"]
    told = expected.lines.group_by(key).agg(pl.col("file_name").first(), expected=pl.len())
    both = told.join(lines.group_by(key).agg(landed=pl.len()), on=key, how="full", coalesce=True)
    wrong = both.with_columns(pl.col("expected", "landed").fill_null(0).cast(pl.Int64))
    wrong = wrong.filter(pl.col("expected") != pl.col("landed")).sort(key)
    if wrong.height:
        first = wrong.row(0, named=True)
        raise ContractError(
            f"{first['file_name'] or first['file_digest']}: {first['landed']} lines of {first['period_on']} stand in the table, "
            f"expected {first['expected']} (in {wrong.height} periods so; {lines.height} lines, expected {expected.lines.height})",
            hint="materialize these months again: the files are all there",
        )
    counts = lines["period_on"].value_counts()["count"]
    return {
        "lines": lines.height,
        "files": lines["file_digest"].n_unique(),
        "open periods": counts.len(),
        "fewest lines of a period": min(counts.to_list(), default=0),
    }


def _months_of(tags: Mapping[str, str]) -> Between | None:
    """Days of the months that a run's tags name; None where they name none."""
    first = tags.get("dagster/asset_partition_range_start") or tags.get("dagster/partition")
    last = tags.get("dagster/asset_partition_range_end") or tags.get("dagster/partition")
    if not first or not last:
        return None
    return date.fromisoformat(first), (date.fromisoformat(last).replace(day=1) + timedelta(days=32)).replace(day=1)


def clean_lines(
    source: Source, context: dg.AssetExecutionContext
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Lines set aside into the quarantine, the others into sales; a changed period becomes a further revision."""
    tables, between = context.resources.tables, between_of(context)
    quarantine_table = names.table_name(names.quarantine_key(source.name))
    # Opened before the lines are read: of two runs the one that read first cannot write over the other one.
    revision = Revision(tables, names.SALES)
    try:
        cleaned = clean_months(source, tables, between)
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
    old = sold.clear() if revision.version is None else revision.scan(between=between).collect()
    everything = None if revision.version is None else revision.scan()
    ledger, run_id = context.resources.ledger, context.run.run_id
    judged = judge_segments(source, ledger, everything, old, sold, cleaned.deliveries, between, run_id)
    revised = judged.revised
    version = revision.write(revised, between=between, partition_by="period_on", allow_empty=True)
    yield dg.AssetCheckResult(
        passed=True,
        check_name=ACCOUNTING,
        asset_key=names.SALES,
        metadata={"lines": found.landed, "accepted": found.accepted, "set aside": found.quarantined, **counts},
    )
    yield segments_result(judged)
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
            "rows under quarantine": unknown_rows(revised),
        },
    )
    complete_quarantines(ledger, judged, between, cleaned.last_on, version)
    complete_arrival(source, context, is_plans_run=False)


@dataclass(frozen=True)
class Cleaned:
    """Lines set aside, sales, when each period's lines were last delivered, and where each line went."""

    aside: pl.DataFrame
    sold: pl.DataFrame
    deliveries: pl.DataFrame
    found: quarantine.Accounting
    last_on: date  # newest period of all lines


def clean_months(source: Source, tables: Any, between: Between) -> Cleaned:
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
    return Cleaned(pl.concat(aside), pl.concat(sold), pl.concat(deliveries), quarantine.total(counts), last_on)


def _months(between: Between) -> Iterator[Between]:
    start, end = between
    while start < end:
        following = min((start.replace(day=1) + timedelta(days=32)).replace(day=1), end)
        yield start, following
        start = following


def _examples(aside: pl.DataFrame, source: Source) -> str:
    columns = list(dict.fromkeys(["reason", "file_row", *source.series, source.columns["units"], source.when]))
    rows = aside.group_by("reason", maintain_order=True).head(2).select(columns)
    return markdown(columns, [list(row) for row in rows.head(12).rows()])
