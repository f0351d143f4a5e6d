"""The assets of the active source; each body calls the landing and one pure function."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from platform_assets import names, policies
from platform_assets.components.source_window import SourceWindow
from platform_assets.science.source import Source

if TYPE_CHECKING:
    from platform_assets.components.sales_source import SalesSource

CONTRACT = "contract"
VOLUME = "volume"
ACCOUNTING = "accounting"
SEGMENTS = "segments"
LANDED_COLUMNS = {
    "file_name": ("string", "file that the line came in"),
    "file_row": ("int", "row in that file, 1 is the first under the header"),
    "file_digest": ("string", "first 16 digits of the file's SHA-256"),
    "finding": ("string", "value that breaks the contract, null where none does"),
    "day_on": ("date", "local day on which it was sold"),
    "period_on": ("date", "first local day of its period"),
    "event_at": ("timestamp", "UTC instant of the sale; of daily and weekly sums the end of the period"),
    "known_at": (
        "timestamp",
        "UTC instant from which it was known: the local midnight that ends its period, or its arrival where that was later",
    ),
}
SALES_COLUMNS = {
    "series_id": ("string", "the source's series columns, joined by /"),
    "period_on": ("date", "first local day of the period"),
    "event_at": ("timestamp", "UTC instant at which the period ends"),
    "known_at": ("timestamp", "UTC instant from which this revision was known"),
    "units": ("double", "net demand, >= 0; null: unknown, as its segment is under quarantine"),
    "price": ("double", "mean price charged, weighted by units"),
    "is_promoted": ("boolean", "whether any line was on promotion, null where none says"),
    "stock": ("double", "units on hand; 0: there was nothing to sell"),
    "lines": ("int", "lines behind it"),
    "tickets": ("int", "receipts behind it"),
}
PLAN_COLUMNS = {
    "series_id": ("string", "the source's series columns, joined by /"),
    "target_on": ("date", "day that is planned"),
    "event_at": (
        "timestamp",
        "UTC instant from which it counts as announced: the local midnight that ends the day of the announcement",
    ),
    "known_at": ("timestamp", "as event_at; the arrival where that was late, or corrected what was announced before"),
    "planned_price": ("double", "price announced"),
    "is_planned_promotion": ("boolean", "promotion announced"),
    "arrived_on": (
        "date",
        "local day of the announcement, at the earliest the source's first day; the table's partitions",
    ),
}


def source_definitions(source: Source, about: "SalesSource", window: SourceWindow) -> dg.Definitions:
    """Lines, their blocking checks, quarantine with sales, and plans."""
    return dg.Definitions(
        assets=[_lines(source, about, window), _cleaning(source, about, window), _plans(source, about, window)],
        asset_checks=[_checks(source, window)],
    )


def _schema(columns: dict[str, tuple[str, str]]) -> dg.TableSchema:
    return dg.TableSchema([dg.TableColumn(name, kind, description=said) for name, (kind, said) in columns.items()])


def _lineage(key: list[str], pairs: dict[str, list[str]]) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {name: [dg.TableColumnDep(dg.AssetKey(key), column) for column in columns] for name, columns in pairs.items()}
    )


def sales_lineage(source: Source) -> dg.TableColumnLineage:
    """Each column of `sales` from the columns of the lines that make it."""
    columns = source.columns
    pairs = {
        "series_id": list(source.series),
        "period_on": [source.when],
        "event_at": [source.when],
        "known_at": ["known_at"],
        "units": [columns["units"]],
        "price": [columns["price"], columns["units"]] if "price" in columns else [],
        "is_promoted": [columns["is_promoted"]] if "is_promoted" in columns else [],
        "stock": [columns["stock"]] if "stock" in columns else [],
        "lines": [columns.get("lines", "file_row")],
        "tickets": [columns[role] for role in ("tickets", "ticket") if role in columns],
    }
    return _lineage(names.lines_key(source.name), {name: found for name, found in pairs.items() if found})


def _lines(source: Source, about: "SalesSource", window: SourceWindow) -> dg.AssetsDefinition:
    kinds = source.kinds()
    schema = _schema({**{name: (str(kind), "as delivered") for name, kind in kinds.items()}, **LANDED_COLUMNS})

    @dg.asset(
        key=dg.AssetKey(names.lines_key(source.name)),
        group_name=names.GROUP_DATA,
        description=(
            f"{about.title}: one row is a line as it was delivered, with its file, row and times. {about.description}\n\n"
            "A file of a wrong shape is refused whole and stands in the ledger; a day that is delivered again replaces that day. "
            "Read by the quarantine and by sales."
        ),
        owners=about.owners,
        kinds={"polars", "deltalake"},
        partitions_def=window.partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        metadata={"partition_by": "period_on", "allow_empty": True, "dagster/column_schema": schema},
        retry_policy=policies.RETRY_IO,
        required_resource_keys={"landing", "ledger", "clock", "tables"},
    )
    def lines(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from platform_assets.components.landing_steps import land_lines

        return land_lines(source, context)

    return lines


def _checks(source: Source, window: SourceWindow) -> dg.AssetChecksDefinition:
    key = dg.AssetKey(names.lines_key(source.name))
    specs = [
        dg.AssetCheckSpec(
            CONTRACT,
            asset=key,
            blocking=True,
            description=(
                "The table has the contract's columns and types, its times have a zone, every line without a finding satisfies the "
                f"pandera contract, and at most {source.rules.largest_share:.0%} of the lines have a finding."
            ),
        ),
        dg.AssetCheckSpec(
            VOLUME,
            asset=key,
            blocking=True,
            description=(
                "Of each file exactly those rows of each period stand in the table that no later file supersedes, and each once."
            ),
        ),
    ]

    @dg.multi_asset_check(
        specs=specs,
        required_resource_keys={"tables", "landing", "clock", "ledger"},
        name=f"{source.name}__lines_checks",
        can_subset=False,
    )
    def lines_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from platform_assets.components.source_steps import check_lines

        yield from check_lines(source, context)

    return lines_checks


def _cleaning(source: Source, about: "SalesSource", window: SourceWindow) -> dg.AssetsDefinition:
    lines = dg.AssetKey(names.lines_key(source.name))
    quarantine, sales = dg.AssetKey(names.quarantine_key(source.name)), dg.AssetKey([names.SALES])
    shared: dict[str, Any] = {
        "group_name": names.GROUP_DATA,
        "deps": [lines],
        "owners": about.owners,
        "kinds": {"polars", "deltalake"},
        "partitions_def": window.partitions,
    }

    @dg.multi_asset(
        name=f"{source.name}__cleaning",
        specs=[
            dg.AssetSpec(
                quarantine,
                description="One row is a line that is no demand, as it came, with the reason; counts by reason stand in the metadata.",
                metadata={
                    "dagster/column_schema": _schema(
                        {
                            "reason": ("string", "rule that set it aside"),
                            "detail": ("string", "broken value"),
                            **LANDED_COLUMNS,
                        }
                    )
                },
                **shared,
            ),
            dg.AssetSpec(
                sales,
                description=(
                    "One row: a series and a period in which it had lines, and each later correction of it. Known at the local midnight that "
                    "ends the period; a correction when it arrived. Read by every feature view and by the labels."
                ),
                metadata={
                    "dagster/column_schema": _schema(SALES_COLUMNS),
                    "dagster/column_lineage": sales_lineage(source),
                },
                automation_condition=policies.WHEN_UPSTREAM_MOVES,
                **shared,
            ),
        ],
        check_specs=[
            dg.AssetCheckSpec(
                ACCOUNTING, asset=sales, blocking=True, description="Lines in = lines accepted + lines set aside."
            ),
            dg.AssetCheckSpec(
                SEGMENTS,
                asset=sales,
                description=(
                    "No segment, such as a store, is wrong as a whole in a period of the run's months: sums by five or more beside "
                    "the others, every line twice, or no line at all. What is found is unknown in sales, and stands in the ledger."
                ),
            ),
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=policies.RETRY_IO,
        required_resource_keys={"tables", "landing", "ledger"},
    )
    def cleaning(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        from platform_assets.components.source_steps import clean_lines

        yield from clean_lines(source, context)

    return cleaning


def _plans(source: Source, about: "SalesSource", window: SourceWindow) -> dg.AssetsDefinition:
    @dg.asset(
        key=dg.AssetKey([names.PLANS]),
        group_name=names.GROUP_DATA,
        description=(
            "One row: what was announced of a series and a day, by the instant at which it was announced. Read by the offer view."
            if source.has_plans
            else f"{about.title} announces nothing beforehand: this table is empty."
        ),
        owners=about.owners,
        kinds={"polars", "deltalake"},
        partitions_def=window.partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        metadata={"partition_by": "arrived_on", "allow_empty": True, "dagster/column_schema": _schema(PLAN_COLUMNS)},
        retry_policy=policies.RETRY_IO,
        required_resource_keys={"landing", "ledger", "clock", "tables"},
    )
    def plans(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        from platform_assets.components.landing_steps import land_plans

        yield from land_plans(source, window.starts_on, context)

    return plans
