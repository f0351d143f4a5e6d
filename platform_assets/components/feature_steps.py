"""What the assets of a feature view do. Imported by their bodies alone: polars stays out of the code server."""

import importlib
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from platform_assets import names, policies
from platform_assets.components.feature_views import PARTITIONED_BY, READ_VERSION, ViewSpec
from platform_assets.errors import ConfigurationError
from platform_assets.science.demand import columns
from resources.feast_repository import findings

_TIMES = [names.EVENT_AT, names.KNOWN_AT]
_EXAMPLES = 3  # offending rows that a check shows


def compute_view(spec: ViewSpec, context: dg.AssetExecutionContext) -> pl.DataFrame:
    """The view's rows of the run's months.

    The function gets the whole table, as a series' age and its past corrections may lie anywhere in it.
    """
    window = context.partition_time_window
    first, last = window.start.date(), window.end.date() - timedelta(days=1)
    version = context.resources.tables.version(spec.reads)
    read = context.resources.tables.scan(spec.reads, version=version)
    context.add_output_metadata({READ_VERSION: version})
    rows = function_of(spec)(read, start_on=first, end_on=last, period_days=context.resources.source.period_days)
    month = PARTITIONED_BY[spec.reads]
    # The day on which a row's last period began; the event time lies after it, where the period ends.
    days = read.group_by(names.EVENT_AT).agg(pl.col(month).max())
    frame = rows.join(days, on=names.EVENT_AT, how="left", maintain_order="left").collect()
    is_silent = spec.reads == names.PLANS and not context.resources.source.plans
    why = " (this source announces no plans)" if is_silent else ""
    context.log.info(f"features/{spec.name}: {frame.height:,} rows of {first} to {last}{why}")
    return frame


def function_of(spec: ViewSpec) -> Any:
    """The function that computes the view."""
    module, _, name = spec.function.partition(":")
    found = getattr(importlib.import_module(module), name, None)
    if not callable(found):
        raise ConfigurationError(f"features/{spec.name}: {spec.function} is no function")
    return found


def check_view(spec: ViewSpec, context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Every check of `feature_views.CHECKS` on the whole table, with the first offending rows, and its freshness."""
    table = names.table_name(names.view_key(spec.name))
    rows = context.resources.tables.scan(table)
    for name, offenders in faults(spec, rows).items():
        found = offenders.with_columns(pl.len().alias("count")).head(_EXAMPLES).collect()
        count = 0 if found.is_empty() else int(found["count"][0])
        shown = [str(row) for row in found.drop("count").to_dicts()]
        yield dg.AssetCheckResult(
            passed=count == 0,
            check_name=name,
            asset_key=dg.AssetKey(names.view_key(spec.name)),
            description=f"{table}: {count:,} rows, such as {'; '.join(shown)}" if count else None,
            metadata={"rows": count},
        )
    late = freshness(spec, rows, context.resources)
    yield dg.AssetCheckResult(
        passed=late.is_clean,
        check_name="freshness",
        asset_key=dg.AssetKey(names.view_key(spec.name)),
        severity=dg.AssetCheckSeverity.WARN,
        description=None if late.is_clean else f"{table}: {late.examples[0]}",
        metadata=dict(late.figures),
    )


def freshness(spec: ViewSpec, rows: pl.LazyFrame, resources: Any) -> findings.Finding:
    """Whether the newest row is late, by event time: two arrivals of the source have been missed."""
    now, ends_at = resources.clock.now(), getattr(resources.feature_store, "ends_at", "")
    now = min(now, datetime.fromisoformat(ends_at)) if ends_at else now
    limit = 2 * timedelta(days=resources.source.period_days) + policies.ARRIVAL_SLACK
    newest = rows.select(pl.col(names.EVENT_AT).max()).collect().drop_nulls()
    return findings.freshness(newest, names.EVENT_AT, now, None if spec.reads == names.PLANS else limit)


def faults(spec: ViewSpec, rows: pl.LazyFrame) -> dict[str, pl.LazyFrame]:
    """Check to the rows that fail it: their keys, times and, where values are at fault, these values."""
    identity = [*spec.keys, *_TIMES]
    wrong = {feature.name: _is_wrong(feature) for feature in columns.FEATURES[spec.name]}
    wrong = {name: said for name, said in wrong.items() if said is not None}
    blamed = pl.concat_str(
        [pl.when(is_wrong).then(pl.lit(f"{name} ")).otherwise(pl.lit("")) for name, is_wrong in wrong.items()]
        or [pl.lit("")]
    ).str.strip_chars_end()
    return {
        "keys": rows.filter(pl.any_horizontal(pl.col(identity).is_null())).select(identity),
        "one_row": rows.group_by(identity).len("copies").filter(pl.col("copies") > 1),
        "times": rows.filter(pl.col(names.KNOWN_AT) < pl.col(names.EVENT_AT)).select(identity),
        "values": rows.select(*identity, blamed.alias("features")).filter(pl.col("features") != ""),
    }


def _is_wrong(feature: columns.Feature) -> pl.Expr | None:
    value = pl.col(feature.name)
    if feature.dtype == "list_f32":
        return value.list.eval(~pl.element().is_finite()).list.any().fill_null(value=False)
    if feature.dtype != "f64":
        return None
    wrong = ~value.is_finite()
    if "_share" in feature.name:
        wrong |= ~value.is_between(0.0, 1.0 + 1e-9)
    if feature.name == "level":
        wrong |= value <= 0
    return wrong.fill_null(value=False)


def loaded_window(spec: ViewSpec, resources: Any) -> tuple[datetime, datetime, datetime, tuple[int, int] | None] | None:
    """What a load takes now: from, as known at, the instant that it is judged at, target days; None of an empty table."""
    now: datetime = resources.clock.now()
    known = resources.tables.scan(names.table_name(names.view_key(spec.name))).filter(pl.col(names.KNOWN_AT) <= now)
    # Days are counted from the last row: a source may have ended long before now.
    last, known_last = known.select(pl.col(names.EVENT_AT).max(), pl.col(names.KNOWN_AT).max()).collect().row(0)
    if last is None:
        return None
    targets = None
    if names.TARGET_DAY in spec.keys:
        today = (last.date() - date(1970, 1, 1)).days
        targets = (today, today + spec.targets_ahead_days)
    ends_at = getattr(resources.feature_store, "ends_at", "")
    as_of = resources.clock.as_served(known_last, datetime.fromisoformat(ends_at) if ends_at else None)
    return last - timedelta(days=spec.online_days), now, as_of, targets


def load_view(spec: ViewSpec, context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Load the latest rows known now into the online store."""
    window = loaded_window(spec, context.resources)
    if window is None:
        return dg.MaterializeResult(metadata={"rows loaded": 0})
    start, now, as_of, targets = window
    loaded = context.resources.feature_store.load_online(spec.name, start, now, targets=targets)
    last = start + timedelta(days=spec.online_days)
    return dg.MaterializeResult(
        metadata={
            "rows loaded": loaded,
            "last row": last.isoformat(),
            "as known at": now.isoformat(),
            "served as of": as_of.isoformat(),
        }
    )
