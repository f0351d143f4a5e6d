"""What `perennial drift MODEL` says without Evidently: the newest verdicts as they were kept, and where their report lies."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned

from platform_assets import names
from platform_assets.drift_answer import drift_of
from platform_assets.errors import ConfigurationError, TableError
from platform_assets.science.monitoring import Verdict
from resources.deployment import Settings

MONITORING = dg.AssetKey(names.model_key("demand", "monitoring"))
AT = datetime(2026, 2, 25, 4, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A state with a champion, and a Dagster home in which nothing has run."""
    settings = Settings.local(tmp_path, "simulator")
    settings.ledger().promote("demand", from_version=None, to_version="1", reason="first", evidence={}, at=AT)
    settings.dagster_home().mkdir(parents=True)
    (settings.dagster_home() / "dagster.yaml").write_text("")
    return settings


def keep(settings: Settings, check: str, *, passed: bool, about: str, on: date, at: datetime = AT) -> None:
    """A verdict, as a run of the monitoring keeps it: planned when the run begins, judged `at` an instant."""
    verdict = Verdict(passed=passed, champion="1", as_of=on, statistic=1.0, threshold=0.0, about=about)
    evaluation = dg.AssetCheckEvaluation(
        asset_key=MONITORING,
        check_name=check,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=about,
        metadata={name: dg.MetadataValue.text(str(value)) for name, value in verdict.metadata.items()},
    )
    run_id = str(uuid4())
    with dg.DagsterInstance.from_config(str(settings.dagster_home())) as instance:
        for kind, said in (
            (
                dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
                AssetCheckEvaluationPlanned(asset_key=MONITORING, check_name=check),
            ),
            (dg.DagsterEventType.ASSET_CHECK_EVALUATION, evaluation),
        ):
            event = dg.DagsterEvent(event_type_value=kind.value, job_name="demand", event_specific_data=said)
            instance.report_dagster_event(event, run_id, timestamp=at.timestamp())


def test_the_newest_verdict_of_each_check_is_told_with_its_page(settings: Settings) -> None:
    """Of one run: inputs were issued at the midnight after the last day that results are known of; each is judged in turn."""
    keep(settings, "feature_drift", passed=True, about="0 of 2 features have left their range", on=date(2026, 2, 18))
    for seconds, check, passed, about, on in (
        (0, "feature_drift", False, "1 of 2 features have left their range: price", date(2026, 2, 25)),
        (1, "input_faults", True, "columns are as ever", date(2026, 2, 25)),
        (2, "error", False, "lower coverage since 2026-01-23", date(2026, 2, 24)),
    ):
        keep(settings, check, passed=passed, about=about, on=on, at=AT + timedelta(seconds=59 + seconds))
    answer, text = drift_of(settings, "demand", None, None)
    head, *lines = text.splitlines()
    assert head == "demand@1, inputs issued 2026-02-25 (UTC); checked 2026-02-25 04:00 UTC"
    assert lines == [
        "  feature_drift  FAILED: 1 of 2 features have left their range: price",
        "  input_faults   passed: columns are as ever",
        "  error          FAILED: lower coverage since 2026-01-23",
        "  report         not kept",
    ]
    settings.artifacts().put("reports/demand/drift/1-2026-02-24.html", b"<html>")
    page = settings.artifacts().put("reports/demand/drift/1-2026-02-25.html", b"<html>")
    answer, text = drift_of(settings, "demand", None, None)
    assert text.endswith(f"  report         {page}")
    assert json.loads(json.dumps(answer))["checks"]["error"] == {
        "passed": False,
        "found": "lower coverage since 2026-01-23",
        "champion": "1",
        "as_of": "2026-02-24",
        "at": "2026-02-25T04:01:01+00:00",
    }


def test_a_champion_that_nothing_has_watched_is_told(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="nothing has watched demand yet") as told:
        drift_of(settings, "demand", None, None)
    assert "demand/monitoring" in str(told.value)
    keep(settings, "error", passed=True, about="fine", on=date(2026, 2, 24))
    settings.ledger().promote("demand", from_version="1", to_version="2", reason="better", evidence={}, at=AT)
    head, beside, *_ = drift_of(settings, "demand", None, None)[1].splitlines()
    assert head == "demand@1, results up to 2026-02-24; checked 2026-02-25 04:00 UTC"
    assert beside == "  champion by now is demand@2, which nothing has watched yet"


def test_without_a_champion_there_is_nothing_to_say(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="demand has no champion yet"):
        drift_of(Settings.local(tmp_path, "simulator"), "demand", None, None)


@pytest.mark.parametrize("evidently", [None, Path("page.html")])
def test_a_refused_model_is_said_to_be_refused(tmp_path: Path, evidently: Path | None) -> None:
    """Who had just run the demo was told to run it."""
    settings = Settings.local(tmp_path, "simulator")
    refused = {"version": "1", "promotes": False}
    settings.ledger().record_decision("gate", "demand", "worse", reasons=["too little"], evidence=refused, at=AT)
    with pytest.raises(TableError, match="demand has no champion: what was trained was refused") as told:
        drift_of(settings, "demand", evidently, None)
    assert "perennial why demand" in str(told.value)
