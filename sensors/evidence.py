"""What the instance, the ledger and the tables say about a model when its retraining is decided on."""

from collections.abc import Iterable, Iterator, Sequence, Set
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import chain
from typing import Any, Final

import dagster as dg
from dagster import DagsterRunStatus as Status
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.data_version import CODE_VERSION_TAG
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from platform_assets import names
from platform_assets.components.cron import newest_ticks
from platform_assets.science.retraining_evidence import Measure, Quarantined, RetrainingEvidence, Signal
from platform_assets.science.retraining_policy import RetrainingPolicy
from platform_assets.science.retraining_triggers import (
    Code,
    NewData,
    Operations,
    Performance,
    Staleness,
    alarm_since,
)
from platform_assets.science.spans import span_name
from resources.ledger import Ledger
from sensors.repairs import lacking, repaired_completion, source_of

CHECKS: Final = {"feature_drift": "drift", "error": "error"}  # check of <model>/monitoring -> trigger
REFUSED: Final = frozenset({"duplicate key", "fewer rows", "more rows"})  # faults of the issued rows
PAGE: Final = 100  # check evaluations, or measures, read at once
UNFINISHED: Final = [Status.NOT_STARTED, Status.QUEUED, Status.STARTING, Status.STARTED, Status.CANCELING]


def gather(
    context: dg.SensorEvaluationContext, model: str, policy: RetrainingPolicy, ledger: Ledger, clock: Any, tables: Any
) -> RetrainingEvidence:
    """What the instance, the ledger and the tables say about a model now; counts and scans only what the policy asks for."""
    instance, champion = context.instance, ledger.champion(model)
    trained_until, trained_at = _last_training(instance, model)
    now: datetime = clock.now()
    rows, periods = None, None
    if trained_until is not None and _is_counted(policy, now - trained_until):
        rows, periods = _counted(tables, trained_until, now)
    code, trained_code = None, None
    if trained_at is not None and any(isinstance(part, Code) for part in policy.parts):
        code, trained_code = _codes(context, model, trained_at)
    running = dg.RunsFilter(job_name=names.retraining_job(model), statuses=UNFINISHED)
    return RetrainingEvidence(
        now=now,
        champion_version=None if champion is None else champion.version,
        trained_until=trained_until,
        trained_at=trained_at,
        rows_since_training=rows,
        periods_since_training=periods,
        signals=tuple(_signals(instance, model, policy)),
        measures=() if champion is None else tuple(_measures(instance, model, policy, tables, champion.version)),
        ticks=tuple(newest_ticks(policy, now)),
        code=code,
        trained_code=trained_code,
        failed_data_checks=tuple(_failed_data_checks(context, model)),
        quarantined=tuple(_quarantined(context, model, ledger)),
        overdue_inputs=tuple(_overdue_inputs(context, model)),
        is_running=instance.get_runs_count(running) > 0,
    )


def _is_counted(policy: RetrainingPolicy, age: timedelta) -> bool:
    """Whether rows are counted: the policy asks for their number, or an old model may have nothing new to learn from."""
    ages = [part.days for part in policy.parts if isinstance(part, Staleness)]
    counts = policy.min_new_rows is not None or any(isinstance(part, NewData) for part in policy.parts)
    return counts or any(age >= timedelta(days=days) for days in ages)


def _signals(instance: dg.DagsterInstance, model: str, policy: RetrainingPolicy) -> Iterator[Signal]:
    """Latest verdict of each monitoring check, with the beginning of the alarm that the policy wants of it."""
    for check, trigger in CHECKS.items():
        key = dg.AssetCheckKey(dg.AssetKey(names.model_key(model, "monitoring")), check)
        found = _evaluations(instance, key)
        if (newest := next(found, None)) is None or (latest := _facts(newest))["champion"] is None:
            continue

        since = alarm_since(_verdicts(chain([newest], found), latest["champion"]), policy.alarms_of(trigger))
        yield Signal(
            trigger, str(latest["champion"]), since, latest["statistic"], latest["threshold"], str(latest["as_of"])
        )


def _verdicts(found: Iterable[AssetCheckExecutionRecord], champion: str) -> Iterator[tuple[str, bool]]:
    """Day and failure of each evaluation, newest first, back to where another champion was judged."""
    for one in found:
        facts = _facts(one)
        if facts["champion"] != champion:
            return
        yield facts["as_of"], one.status is not AssetCheckExecutionRecordStatus.SUCCEEDED


def _evaluations(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, *, first: int | None = None
) -> Iterator[AssetCheckExecutionRecord]:
    """Evaluations of a check, newest first, the `first` so many read at once; planned ones are left out."""
    cursor, wanted = None, first or PAGE
    while True:
        page: Sequence[AssetCheckExecutionRecord] = instance.event_log_storage.get_asset_check_execution_history(
            key, limit=wanted, cursor=cursor, status=set(COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES)
        )
        yield from page
        if len(page) < wanted:
            return
        cursor, wanted = page[-1].id, PAGE


def _facts(found: AssetCheckExecutionRecord) -> dict[str, Any]:
    """What the check says of itself: `champion`, `statistic`, `threshold`, `as_of` (else the day it was evaluated)."""
    metadata = {} if found.evaluation is None else found.evaluation.metadata
    values = {
        name: getattr(metadata.get(name), "value", None) for name in ("champion", "statistic", "threshold", "as_of")
    }
    if values["as_of"] is None:
        values["as_of"] = datetime.fromtimestamp(found.create_timestamp, UTC).date().isoformat()
    return values


def _upstream(context: dg.SensorEvaluationContext, model: str) -> tuple[BaseAssetGraph[Any], Set[dg.AssetKey]] | None:
    """The graph, and all that the model's training set is made from; None where the sensor has no graph."""
    if context.repository_def is None:
        return None
    graph = context.repository_def.asset_graph
    return graph, graph.get_ancestor_asset_keys(dg.AssetKey(names.model_key(model, "training_set")))


def _failed_data_checks(context: dg.SensorEvaluationContext, model: str) -> Iterator[str]:
    """Blocking checks on anything upstream of the training set whose newest evaluation failed with an error.

    Of the faults of the issued rows, which block no forecast, those that a training would learn; a new category or a
    feature that has ended are not among them: they last, and a training is their cure.
    """
    if (found := _upstream(context, model)) is None:
        return
    graph, upstream = found
    blocking = [node.key for node in graph.asset_check_nodes if node.blocking and node.key.asset_key in upstream]
    for key in blocking:
        newest = next(_evaluations(context.instance, key, first=1), None)
        evaluation = None if newest is None else newest.evaluation
        if evaluation and not evaluation.passed and evaluation.severity is dg.AssetCheckSeverity.ERROR:
            yield f"{key.asset_key.to_user_string()}:{key.name}"
    watched = dg.AssetCheckKey(dg.AssetKey(names.model_key(model, "monitoring")), "input_faults")
    newest = next(_evaluations(context.instance, watched, first=1), None)
    evaluation = None if newest is None else newest.evaluation
    if evaluation and not evaluation.passed and (kinds := sorted(REFUSED & {*evaluation.metadata})):
        yield f"{watched.asset_key.to_user_string()}:{watched.name} ({', '.join(kinds)})"


def _quarantined(context: dg.SensorEvaluationContext, model: str, ledger: Ledger) -> Iterator[Quarantined]:
    """Rows of the quarantine that the training set's tables do not follow yet; one that they did is asked about no more."""
    if (found := _upstream(context, model)) is None:
        return
    graph, upstream = found
    source = source_of(graph)
    for entry in [] if source is None else ledger.quarantines(source):
        done = repaired_completion(entry.id, model)
        if entry.action == "cleared" or ledger.completed(done) is not None:
            continue
        lacks = lacking(context.instance, ledger, graph, upstream, entry)
        if lacks is None:
            ledger.complete(done, {"segment": entry.segment, "first_on": entry.first_on})
            continue
        verb = "lifted" if entry.action == "lifted" else entry.action
        name = span_name(entry.segment, entry.first_on, entry.last_on)
        yield Quarantined(name, f"{verb}: {entry.reason}", lacks)


def _overdue_inputs(context: dg.SensorEvaluationContext, model: str) -> Iterator[str]:
    """What the training set reads and has a freshness policy that it fails; a source that ended has none."""
    if (read := _upstream(context, model)) is None:
        return
    graph, upstream = read
    watched = [key for key in upstream if graph.has(key) and graph.get(key).freshness_policy is not None]
    for key, found in sorted(context.instance.get_freshness_state_records(watched).items()):
        if found.freshness_state is FreshnessState.FAIL:
            yield key.to_user_string()


def _last_training(instance: dg.DagsterInstance, model: str) -> tuple[datetime | None, datetime | None]:
    """Newest label that the last training knew, and when it ended, whatever the gate made of it."""
    event = instance.get_latest_materialization_event(dg.AssetKey(names.model_key(model, "candidate")))
    materialization = None if event is None else event.asset_materialization
    if event is None or materialization is None:
        return None, None
    ended = datetime.fromtimestamp(event.timestamp, UTC)
    if (stated := materialization.metadata.get("labels known by")) is None:
        return None, ended
    found = datetime.fromisoformat(str(stated.value))
    return (found if found.tzinfo else found.replace(tzinfo=UTC)), ended


def _counted(tables: Any, after: datetime, until: datetime) -> tuple[int, int]:
    """Rows and periods of sales that became known between two instants."""
    import polars as pl  # .4 CPU s, only where a policy counts rows

    known = pl.col(names.KNOWN_AT)
    rows = tables.scan(names.SALES).filter((known > after) & (known <= until))
    return rows.select(pl.len(), periods=pl.col(names.PERIOD_ON).n_unique()).collect().row(0)


def _measures(
    instance: dg.DagsterInstance, model: str, policy: RetrainingPolicy, tables: Any, champion: str
) -> Iterator[Measure]:
    """Figures that the policy asks for: of the champion's forecasts, and what the service has reported of itself."""
    asked = [part for part in policy.parts if isinstance(part, Performance)]
    table = names.table_name(names.model_key(model, "performance"))
    if asked and tables.exists(table):
        import polars as pl

        is_asked = pl.any_horizontal(
            (pl.col("metric") == part.metric) & (pl.col("segment") == part.segment) for part in asked
        )
        found = tables.scan(table).filter((pl.col("model_version") == champion) & is_asked).collect()
        for row in found.iter_rows(named=True):
            yield Measure(
                "performance",
                row["metric"],
                row["as_of"].isoformat(),
                row["value"],
                row["segment"],
                row["baseline"],
                champion,
            )
    wanted = {part.metric for part in policy.parts if isinstance(part, Operations)}
    if not wanted:
        return
    reported = instance.fetch_observations(dg.AssetKey(names.model_key(model, names.SERVICE)), limit=PAGE)
    for record in reported.records:
        observation = record.asset_observation
        for metric in wanted & set(observation.metadata if observation is not None else ()):
            value = getattr(observation.metadata[metric], "value", None)  # pyright: ignore[reportOptionalMemberAccess]
            if isinstance(value, int | float):
                yield Measure(
                    "operations", metric, datetime.fromtimestamp(record.timestamp, UTC).isoformat(), float(value)
                )


def _codes(context: dg.SensorEvaluationContext, model: str, ended: datetime) -> tuple[str | None, str | None]:
    """Digests of the code versions of the model and its features: as they stand, and as the last training met them."""
    if (found := _upstream(context, model)) is None:
        return None, None
    graph, upstream = found
    views = [key for key in upstream if key.path[0] == names.GROUP_FEATURES]
    trained = dg.AssetKey(names.model_key(model, "training_set"))
    keys = sorted([*views, trained, dg.AssetKey(names.model_key(model, "candidate"))])
    stands = [graph.get(key).code_version for key in keys]
    return _digest(keys, stands), _digest(keys, [_code_at(context.instance, key, ended) for key in keys])


def _code_at(instance: dg.DagsterInstance, key: dg.AssetKey, at: datetime) -> str | None:
    """Code version of an asset's newest materialization up to an instant."""
    wanted = dg.AssetRecordsFilter(asset_key=key, before_timestamp=at.timestamp() + 1e-3)
    records = instance.fetch_materializations(wanted, limit=1).records
    materialization = records[0].asset_materialization if records else None
    return None if materialization is None else (materialization.tags or {}).get(CODE_VERSION_TAG)


def _digest(keys: Sequence[dg.AssetKey], versions: Sequence[str | None]) -> str:
    told = "\n".join(f"{key.to_user_string()} {version}" for key, version in zip(keys, versions, strict=True))
    return sha256(told.encode()).hexdigest()[:12]
