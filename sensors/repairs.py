"""Whether tables follow the quarantine: which versions were read, not when."""

from collections.abc import Set
from datetime import date
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

from platform_assets import names
from platform_assets.components.feature_views import READ_VERSION
from platform_assets.components.source_window import quarantine_completion
from resources.ledger import Ledger, Quarantine


def repaired_completion(entry: int, model: str) -> str:
    """Key under which the ledger knows that sales and the model's features follow a row of the quarantine."""
    return f"quarantine/{entry}/repaired/{model}"


def source_of(graph: BaseAssetGraph[Any]) -> str | None:
    """The active source, by what `sales` is made of."""
    sales = dg.AssetKey([names.SALES])
    parents = graph.get(sales).parent_keys if graph.has(sales) else set()
    return next((key.path[0] for key in sorted(parents) if key.path[-1] == "lines"), None)


def views_of_sales(graph: BaseAssetGraph[Any], upstream: Set[dg.AssetKey]) -> list[dg.AssetKey]:
    """Feature views among these that are computed from sales."""
    sales = dg.AssetKey([names.SALES])
    views = [key for key in upstream if key.path[0] == names.GROUP_FEATURES and graph.has(key)]
    return sorted(key for key in views if sales in graph.get(key).parent_keys)


def lacking(
    instance: dg.DagsterInstance,
    ledger: Ledger,
    graph: BaseAssetGraph[Any],
    upstream: Set[dg.AssetKey],
    entry: Quarantine,
) -> str | None:
    """What has not been rebuilt since a row of the quarantine: sales, or features that look back on its periods; else None."""
    done = ledger.completed(quarantine_completion(entry.id))
    if done is None:
        return "sales and features"
    late = [
        key
        for key in views_of_sales(graph, upstream)
        if not _follows(instance, graph, key, entry, done["sales_version"])
    ]
    return ", ".join(key.to_user_string() for key in late) or None


def _follows(
    instance: dg.DagsterInstance, graph: BaseAssetGraph[Any], key: dg.AssetKey, entry: Quarantine, version: int
) -> bool:
    """Whether each month of the view, from the first quarantined period on, was made of that version of sales or a later one."""
    partitions = graph.get(key).partitions_def
    if partitions is None:
        return True
    first = entry.first_on.replace(day=1).isoformat()
    until = (entry.last_on or date.max).replace(day=1).isoformat()
    months = [month for month in partitions.get_partition_keys() if month >= first]
    made = instance.get_materialized_partitions(key)
    wanted = [month for month in months if month in made]
    if not wanted or (entry.last_on is not None and any(month <= until and month not in made for month in months)):
        return False
    return all(_read(instance, key, month) >= version for month in wanted)


def _read(instance: dg.DagsterInstance, key: dg.AssetKey, month: str) -> int:
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[month])
    records = instance.fetch_materializations(wanted, limit=1).records
    materialization = records[0].asset_materialization if records else None
    said = None if materialization is None else materialization.metadata.get(READ_VERSION)
    return -1 if said is None else int(said.value)  # pyright: ignore[reportArgumentType]
