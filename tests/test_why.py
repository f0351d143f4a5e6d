"""What `perennial why` says: which times are those of what was known, and which those of what was done."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from platform_assets import names, why
from resources.deployment import Settings
from resources.ledger import Ledger
from sensors.retraining import cause_tag

KNOWN_AT = datetime(2026, 2, 4, 4, tzinfo=UTC)  # the platform's clock, which the demo's weeks set
DONE_AT = datetime(2026, 11, 22, 5, 59, 30, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.local(tmp_path, "simulator")


def test_each_time_says_which_clock_it_is_of(settings: Settings) -> None:
    ledger = Ledger(settings.ledger_url)
    ledger.fire("demand", "error", "1/2026-01-27", reason="error 10.9", at=KNOWN_AT)
    ledger.fire("demand", "manual", "20261122T055930", reason="by hand: new shelves", at=DONE_AT)
    ledger.record_decision("retraining", "demand", "wait", reasons=["no alarm"], evidence={}, at=KNOWN_AT)
    evidence = {"version": "2", "promotes": False}
    ledger.record_decision("gate", "demand", "undecided", reasons=["noise"], evidence=evidence, at=DONE_AT)
    answer = why.why_champion(settings, "demand")
    lines = why.told(answer).splitlines()
    assert lines[1:] == [
        "  refused: demand@2 (undecided): noise; judged 2026-11-22 05:59 UTC",
        "  cause:   as of 2026-02-04 04:00 UTC: error 10.9: its run has not been asked for yet",
        "  cause:   asked 2026-11-22 05:59 UTC: by hand: new shelves: its run has not been asked for yet",
        "  policy:  as of 2026-02-04 04:00 UTC: wait: no alarm",
        f"  clocks:  {why.CLOCKS}",
    ]
    for clocks in (why.CLOCKS, answer["clocks"]):
        assert "days within reasons but for a rollback's" in clocks.partition(";")[0]  # which are of the data's time


def test_a_run_says_when_it_ended(settings: Settings) -> None:
    ledger, home = Ledger(settings.ledger_url), settings.dagster_home()
    ledger.fire("demand", "error", "1/2026-01-27", reason="error 10.9", at=KNOWN_AT)
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("")
    tags = {names.TAG_MODEL: "demand", names.TAG_CAUSE: cause_tag("error", "1/2026-01-27")}

    @dg.op
    def nothing() -> None: ...

    @dg.job(tags=tags)
    def retraining() -> None:
        nothing()

    with dg.DagsterInstance.from_config(str(home)) as instance:
        ran = retraining.execute_in_process(instance=instance)
    ((run,),) = (cause["runs"] for cause in why.why_champion(settings, "demand")["causes"])
    assert run["run_id"] == ran.run_id
    assert abs((datetime.now(UTC) - datetime.fromisoformat(run["ended_at"])).total_seconds()) < 60
    day = f"{datetime.fromisoformat(run['ended_at']):%Y-%m-%d %H:%M} UTC"
    assert f"error 10.9: run {ran.run_id[:8]} done {day}" in why.told(why.why_champion(settings, "demand"))
