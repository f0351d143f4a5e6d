"""Two sensors see one cause at the same moment: a hundred times one of them asks, and the other does not."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from platform_assets.science.retraining_evidence import RetrainingEvidence, Signal
from platform_assets.science.retraining_policy import RetrainingPolicy
from resources.ledger import Ledger
from sensors.retraining import evaluate

ROUNDS = 100
POLICY = RetrainingPolicy(settle_days=0)
NOW = datetime(2025, 6, 30, tzinfo=UTC)
EVIDENCE = RetrainingEvidence(
    now=NOW,
    champion_version="1",
    signals=(Signal("drift", "1", "2025-06-20", 3.0, 0.0), Signal("error", "1", "2025-06-25", 5.0, 4.0)),
)


@pytest.mark.long
def test_of_two_sensors_one_asks(tmp_path: Path) -> None:
    """Each has its own connection to the ledger, as two daemons have, or one daemon with a sensor under two names."""
    ledgers = [Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") for _ in range(2)]
    start, answers = threading.Barrier(2), [[], []]  # type: ignore[var-annotated]
    with dg.DagsterInstance.ephemeral() as instance:

        def watch(place: int) -> None:
            context = dg.build_sensor_context(instance=instance)
            for number in range(ROUNDS):
                start.wait()
                answers[place].append(evaluate(context, EVIDENCE, f"model_{number}", POLICY, ledgers[place]))

        threads = [threading.Thread(target=watch, args=(place,)) for place in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number, pair in enumerate(zip(*answers, strict=True)):
        asked = [answer for answer in pair if isinstance(answer, dg.RunRequest)]
        assert len(asked) == 1, f"model_{number}: {pair}"
        assert asked[0].run_key == f"model_{number}/error/1/2025-06-25"
        causes = ledgers[0].causes(f"model_{number}")
        assert [(cause.trigger, cause.episode) for cause in causes] == [("error", "1/2025-06-25")]
    for ledger in ledgers:
        ledger.close()
