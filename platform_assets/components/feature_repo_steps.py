"""What the assets of a Feast repository do. Imported by their bodies alone: Feast and polars stay out of the code server."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from platform_assets.components.feature_repo_assets import RegistryConfig
from platform_assets.components.feature_repo_checks import TABLE_CHECKS
from platform_assets.components.feature_repo_spec import Repository
from platform_assets.errors import FeatureStoreError
from resources.feast_repository import description as d
from resources.feast_repository import findings, store
from resources.feast_repository.plan import CREATE, DELETE, UPDATE, deletions, plan_from

if TYPE_CHECKING:
    from resources.feast_repository.findings import Finding

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
HELD: Final = "objects"  # metadata of a registry's materialization, compared with at the next one


def apply_registry(
    repository: Repository, config: RegistryConfig, context: dg.AssetExecutionContext
) -> Iterator[dg.MaterializeResult]:
    """Plan, log the plan, and apply it if it may be applied."""
    command = [sys.executable, "-W", "ignore", "-m", "resources.feast_repository.apply", repository.path]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        plan = plan_from(_answer(process, repository))
        text = plan.text(delete=config.delete)
        context.log.info(f"plan for the registry of {repository.description.project}:\n{text}")
        if config.plan_only:
            process.stdin.close()
            context.log_event(
                dg.AssetObservation(asset_key=repository.registry_key, metadata={"plan": dg.MetadataValue.md(text)})
            )
            return
        delete = deletions(
            plan,
            config.delete,
            held_before=held_before(repository.registry_key, context),
            accept_empty_registry=config.accept_empty_registry,
        )
        process.stdin.write(json.dumps(delete) + "\n")
        process.stdin.flush()
        held: dict[str, list[str]] = _answer(process, repository)
    yield dg.MaterializeResult(
        # What loads and services take from the registry stands in their own code versions: that it was written anew makes
        # none of the others stale.
        data_version=dg.DataVersion(repository.description.project),
        metadata={
            "plan": dg.MetadataValue.md(text),
            "added": len(plan.of(CREATE)),
            "changed": len(plan.of(UPDATE)),
            "deleted": len(delete),
            "left over": ", ".join(sorted(c.name for c in plan.of(DELETE) if c.name not in delete)) or "nothing",
            HELD: sum(len(names) for kind, names in held.items() if kind != "project"),
            **{kind: len(names) for kind, names in held.items() if names},
        },
    )


def _answer(process: "subprocess.Popen[str]", repository: Repository) -> Any:
    assert process.stdout is not None
    assert process.stderr is not None
    if line := process.stdout.readline():
        return json.loads(line)
    said = process.stderr.read().strip()
    raise FeatureStoreError(
        f"{repository.path}: the registry was not applied: {said.splitlines()[-1] if said else 'no word'}",
        hint=f"`feast plan` in that folder must work. The whole message:\n{said[-2000:]}",
    )


def held_before(key: dg.AssetKey, context: dg.AssetExecutionContext) -> int:
    """Objects that the registry of this asset had after its last apply; 0 before the first."""
    last = context.instance.get_latest_materialization_event(key)
    found = last.asset_materialization.metadata.get(HELD) if last and last.asset_materialization else None
    return int(found.value) if found and isinstance(found.value, int) else 0


def check_left_over(repository: Repository, context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Of the last apply."""
    last = context.instance.get_latest_materialization_event(repository.registry_key)
    found = last.asset_materialization.metadata.get("left over") if last and last.asset_materialization else None
    names = str(found.value) if found else "nothing"
    return dg.AssetCheckResult(
        passed=names == "nothing",
        severity=dg.AssetCheckSeverity.WARN,
        description=None if names == "nothing" else f"in the registry alone: {names}",
    )


def load_view(repository: Repository, view: d.View, context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Load the run's window, or all that there is, into the repository's own online store."""
    now = datetime.now(UTC)
    start, end = _BEGINNING, now
    if context.has_partition_key or context.has_partition_key_range:
        window = context.partition_time_window
        start, end = window.start, min(window.end, now)
    began = time.monotonic()
    first, last = store.load(repository.path, view.name, start, end)
    return dg.MaterializeResult(
        metadata={
            "read from": first.isoformat(),
            "read to": last.isoformat(),
            "online store": repository.description.stores["online"],
            "seconds": round(time.monotonic() - began, 3),
        }
    )


def resolve_service(
    repository: Repository, service: d.Service, context: dg.AssetExecutionContext
) -> dg.MaterializeResult:
    """Record what the registry resolves the service to."""
    resolved = store.service_features(repository.path, service.name)
    features = [f"{view}:{feature}" for view, chosen in resolved.items() for feature in chosen]
    context.log.info(f"{service.name}: {', '.join(features)}")
    return dg.MaterializeResult(
        metadata={"features": len(features), "views": len(resolved), "resolved": dg.MetadataValue.json(features)}
    )


def check_table(
    repository: Repository, view: d.View, context: dg.AssetCheckExecutionContext
) -> Iterator[dg.AssetCheckResult]:
    """Every check that is asked for, on all rows up to now."""
    now = datetime.now(UTC)
    rows = store.rows(repository.path, view.name, now)
    source = repository.description.source(view.source)
    times = [back for back in (source.time, source.created) if back] if source else []
    times = [source.mapping.get(name, name) for name in times] if source else []
    keys = [key.name for key in view.keys]
    who = [view.labeler] if view.labeler else []
    hours = repository.freshness_hours.get(view.name)
    limit = timedelta(hours=hours) if hours else timedelta(seconds=view.ttl_s) if view.ttl_s else None
    asked = {key.name for key in context.selected_asset_check_keys}
    answers = {
        "freshness": lambda: findings.freshness(rows, times[0], now, limit),
        "nulls": lambda: findings.nulls(rows, [*keys, *times[:1]]),
        "ranges": lambda: findings.ranges(rows, {c.name: (c.low, c.high) for c in view.features}),
        "duplicates": lambda: findings.duplicates(rows, [*keys, *who, *times]),
    }
    for name in TABLE_CHECKS:
        if name in asked:
            yield _result(repository, view, name, answers[name]())


def _result(repository: Repository, view: d.View, name: str, finding: "Finding") -> dg.AssetCheckResult:
    is_warning = name == "freshness"  # a late table is not a wrong one
    said = f"{view.name}: {finding.failing:,} rows, such as {'; '.join(finding.examples)}"
    return dg.AssetCheckResult(
        passed=finding.is_clean,
        check_name=name,
        asset_key=repository.table_key(view.name),
        severity=dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR,
        description=None if finding.is_clean else said,
        metadata=dict(finding.figures),
    )


def compute_table(repository: Repository, view: d.View, context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """The rows of the run's window, by the function that is registered for the view, in place of those that were there."""
    from resources.feast_repository.tables import call, replace_window

    window = (_BEGINNING, datetime.now(UTC))
    if context.has_partition_key or context.has_partition_key_range:
        span = context.partition_time_window
        window = (span.start, span.end)
    frame = call(repository.functions[view.name][0], *window)
    written = replace_window(repository.path, view, repository.description, frame, *window)
    return dg.MaterializeResult(metadata={"dagster/row_count": frame.height, "table rows": written})
