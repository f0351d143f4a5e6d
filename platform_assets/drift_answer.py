"""`perennial drift MODEL`: what the newest checks of a champion's inputs and results have found, and where their report lies."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

# Dagster tells no verdict of a check by public means: the retraining sensor reads the same records (sensors/evidence.py).
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from platform_assets import names
from platform_assets.answers import Answer, check_model
from platform_assets.errors import ConfigurationError
from platform_assets.evidently_page import compared_champion, evidently_page
from platform_assets.why import shown

if TYPE_CHECKING:
    from resources.deployment import Settings

CHECKS: Final = ("feature_drift", "input_faults", "error")


def drift_of(settings: Settings, model: str, evidently: Path | None, python: Path | None) -> Answer:
    """What has been found; or, where a file for it is named, Evidently's own report of the same rows."""
    return newest_drift(settings, model) if evidently is None else evidently_page(settings, model, evidently, python)


def newest_drift(settings: Settings, model: str) -> Answer:
    """The newest verdict of each check of `MODEL/monitoring`, as it was kept, with the report of the day.

    Raises: TableError where what was trained was refused; ConfigurationError where nothing was, or nothing has watched it yet.
    """
    check_model(model)
    champion = compared_champion(settings, settings.ledger(), model)
    found = {name: verdict for name in CHECKS if (verdict := _newest(settings, model, name)) is not None}
    if not found:
        raise ConfigurationError(
            f"nothing has watched {model} yet", hint=f"materialize {model}/monitoring in the UI (`make dev`)"
        )
    # One run judges all three; the report is named by the day of the inputs, which is not that of the results.
    head = found.get("feature_drift") or found.get("input_faults") or found["error"]
    key = f"reports/{model}/drift/{head['champion']}-{head['as_of']}.html"
    page = settings.artifacts().uri(key) if key in settings.artifacts().keys(f"reports/{model}/drift") else None
    answer = {
        "model": model,
        "state": str(settings.state),
        "champion": champion.version,
        "checks": found,
        "report": page,
    }
    return answer, _told(answer, head)


def _newest(settings: Settings, model: str, check: str) -> dict[str, Any] | None:
    """The newest completed evaluation of a check; None where there is none."""
    if (instance := settings.dagster_instance()) is None:
        return None
    key = dg.AssetCheckKey(dg.AssetKey(names.model_key(model, "monitoring")), check)
    with instance:
        records = instance.event_log_storage.get_asset_check_execution_history(
            key, limit=1, status=set(COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES)
        )
    return _verdict(records[0]) if records else None


def _verdict(record: AssetCheckExecutionRecord) -> dict[str, Any]:
    evaluation = record.evaluation
    metadata = {} if evaluation is None else evaluation.metadata
    told = {name: getattr(metadata.get(name), "value", None) for name in ("champion", "as_of")}
    judged_at = (
        record.create_timestamp if record.event is None else record.event.timestamp
    )  # created: when it was planned
    return {
        "passed": record.status is AssetCheckExecutionRecordStatus.SUCCEEDED,
        "found": "" if evaluation is None else evaluation.description,
        **told,
        "at": datetime.fromtimestamp(judged_at, UTC).isoformat(timespec="seconds"),
    }


def _told(answer: dict[str, Any], head: dict[str, Any]) -> str:
    model, champion = answer["model"], answer["champion"]
    # An issue has the UTC date of its instant: the day after its last sales, or that day in zones ahead of UTC.
    is_of_results = head is answer["checks"].get("error")
    of = f"results up to {head['as_of']}" if is_of_results else f"inputs issued {head['as_of']} (UTC)"
    lines = [f"{model}@{head['champion']}, {of}; checked {shown(head['at'])}"]
    if head["champion"] != champion:
        lines.append(f"  champion by now is {model}@{champion}, which nothing has watched yet")
    lines += [
        f"  {name:<14} {'passed' if verdict['passed'] else 'FAILED'}: {verdict['found']}"
        for name, verdict in answer["checks"].items()
    ]
    return "\n".join([*lines, f"  {'report':<14} {answer['report'] or 'not kept'}"])
