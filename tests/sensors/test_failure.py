"""Failed runs reach the ledger once, with the error that began them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from platform_assets import names
from platform_assets.errors import DataError
from resources.ledger import Ledger
from sensors.failure import KIND, NO_MODEL, failure_sensor, reasons_of, record_failure


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    found = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield found
    found.close()


@dg.op
def train() -> None:
    try:
        raise DataError("demand/training_set: no rows", hint="more history")
    except DataError as error:
        raise RuntimeError("wrapped") from error


@dg.job
def retrain_demand() -> None:
    train()


def failed(instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.ExecuteInProcessResult:
    return retrain_demand.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


def evaluate(instance: dg.DagsterInstance, ledger: Ledger, result: dg.ExecuteInProcessResult) -> None:
    context = dg.build_run_status_sensor_context(
        sensor_name="failure",
        dagster_event=result.get_run_failure_event(),
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        resources={"ledger": ledger},
    ).for_run_failure()
    failure_sensor()(context)


def test_a_failed_retraining_is_recorded_once_and_its_cause_learns_of_it(ledger: Ledger) -> None:
    ledger.fire("demand", "drift", "1/2025-06-30", reason="drift", at=datetime.now(UTC))
    with dg.DagsterInstance.ephemeral() as instance:
        result = failed(instance, {names.TAG_MODEL: "demand", names.TAG_CAUSE: "drift/1/2025-06-30"})
        for _ in range(2):  # a sensor that was killed sees the run again
            evaluate(instance, ledger, result)
    [kept] = ledger.decisions("demand", kind=KIND)
    assert kept.run_id == result.run_id
    assert kept.answer == "failed"
    assert kept.reasons == (
        "train: platform_assets.errors.DataError: demand/training_set: no rows\n\nhint: more history",
    )
    assert kept.evidence["tags"][names.TAG_CAUSE] == "drift/1/2025-06-30"
    [cause] = ledger.causes("demand")
    assert (cause.status, cause.run_id) == ("failed", result.run_id)


def test_a_run_of_data_belongs_to_no_model(ledger: Ledger) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        evaluate(instance, ledger, failed(instance, {}))
    assert len(ledger.decisions(NO_MODEL, kind=KIND)) == 1


def test_a_cause_that_the_ledger_does_not_know_is_no_obstacle(ledger: Ledger) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = failed(instance, {names.TAG_MODEL: "demand", names.TAG_CAUSE: "manual"})
        record_failure(ledger, instance, result.dagster_run)
    assert len(ledger.decisions("demand", kind=KIND)) == 1
    assert ledger.causes("demand") == []


def test_a_run_that_no_step_failed_gives_its_own_message(ledger: Ledger) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(retrain_demand)
        instance.report_run_failed(run, "the machine was taken away")
        assert reasons_of(instance, run) == ["the machine was taken away"]


def test_the_sensor_runs_by_default() -> None:
    assert failure_sensor().default_status is dg.DefaultSensorStatus.RUNNING
