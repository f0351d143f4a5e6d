"""The step that changes the champion, on a real ledger: who is judged against whom, and what others did meanwhile."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from platform_assets.components import evaluating
from platform_assets.components.promoting import judge_candidate
from platform_assets.components.training_choice import alarm_known_at
from platform_assets.science.bootstrap import Interval
from platform_assets.science.gate import GateEvidence
from resources.ledger import Ledger

AT = datetime(2025, 3, 1, tzinfo=UTC)


class Registry:
    """What the step tells the registry."""

    def __init__(self) -> None:
        self.alias: str | None = None

    def mirror_alias(self, model: str, version: str) -> None:
        self.alias = version

    def tag_version(self, model: str, version: str, tags: dict[str, str]) -> None:
        pass


def evaluation(
    version: str, ledger: Ledger, *, gain: float = 0.1, is_compared: bool = True, alarm_known_at: datetime | None = None
) -> dict[str, Any]:
    """What an evaluation says that found `version` better by `gain` than who is champion now."""
    champion = ledger.champion("demand")
    evidence = GateEvidence(
        model="demand",
        against=champion.version if champion and is_compared else "moving_average",
        is_against_champion=champion is not None and is_compared,
        improvement=Interval(gain, gain - 0.01, gain + 0.01),
        segments=(),
        rows=5000,
        series=300,
        judged_from=AT,
        candidate_cut=AT,
        against_cut=AT - timedelta(days=1),
        has_contract_passed=True,
        alarm_known_at=alarm_known_at,
    )
    return {
        "model": "demand",
        "version": version,
        "reason": "test",
        "candidate": {"version": version},
        "champion": champion.version if champion else None,
        "champion_seq": champion.seq if champion else 0,
        "is_champion_gone": False,
        "evidence": evidence.to_dict(),
        "data": {},
    }


def step(ledger: Ledger) -> Any:
    resources = SimpleNamespace(ledger=ledger, registry=Registry(), clock=SimpleNamespace(wall_now=lambda: AT))
    log = SimpleNamespace(info=lambda text: None)
    return SimpleNamespace(resources=resources, log=log, run=SimpleNamespace(run_id="run"))


SPEC: Any = SimpleNamespace(name="demand", gate={})


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


def test_a_candidate_compared_with_nobody_is_judged_again_where_somebody_stands(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two first trainings at once: the later one had beaten a baseline only, and would have replaced the better one."""
    stale = evaluation("2", ledger)
    judge_candidate(SPEC, step(ledger), evaluation("1", ledger))
    again: list[str] = []

    def evaluate(spec: Any, res: Any, log: Any, candidate: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        again.append(candidate["version"])
        return evaluation("2", ledger, gain=-0.05), {}

    monkeypatch.setattr(evaluating, "evaluate", evaluate)
    judge_candidate(SPEC, step(ledger), stale)
    champion = ledger.champion("demand")
    assert champion is not None
    assert (champion.version, again) == ("1", ["2"])
    assert [d.answer for d in ledger.decisions("demand", kind="gate")] == ["better", "not_better"]


def test_a_gain_that_was_found_by_a_fit_of_before_the_alarm_promotes_nobody(ledger: Ledger) -> None:
    judge_candidate(SPEC, step(ledger), evaluation("1", ledger))
    for version, began in (("2", AT + timedelta(hours=1)), ("3", AT)):
        judge_candidate(SPEC, step(ledger), evaluation(version, ledger, alarm_known_at=began))
    assert [d.answer for d in ledger.decisions("demand", kind="gate")] == ["better", "undecided", "better"]


@pytest.mark.parametrize(
    ("cause", "known_at"),
    [
        ("error/1/2025-03-29", datetime(2025, 3, 29, 23, tzinfo=UTC)),
        ("follow_up/error/1/2025-03-30/3w", datetime(2025, 3, 30, 22, tzinfo=UTC)),  # summer time has begun
        ("staleness/1/2025-03-02T12:00/1", None),
        ("manual", None),
        ("", None),
    ],
)
def test_an_alarms_first_day_ends_at_the_sources_midnight(cause: str, known_at: datetime | None) -> None:
    source = SimpleNamespace(period_days=1, timezone="Europe/Berlin")
    assert alarm_known_at(source, cause) == known_at


def test_evidence_that_is_not_against_the_champion_promotes_nobody(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_candidate(SPEC, step(ledger), evaluation("1", ledger))
    against_baseline = evaluation("2", ledger, is_compared=False)
    monkeypatch.setattr(evaluating, "evaluate", lambda *_: (evaluation("2", ledger), {}))
    judge_candidate(SPEC, step(ledger), against_baseline)
    decided = ledger.decisions("demand", kind="gate")[-1].evidence
    assert (decided["is_against_champion"], decided["against"]) == (True, "1")


def test_a_champion_whose_features_are_gone_is_replaced_by_who_beats_the_baseline(ledger: Ledger) -> None:
    judge_candidate(SPEC, step(ledger), evaluation("1", ledger))
    judge_candidate(SPEC, step(ledger), evaluation("2", ledger, is_compared=False) | {"is_champion_gone": True})
    assert [row.to_version for row in ledger.history("demand")] == ["1", "2"]


def test_a_rollback_is_not_undone_by_the_old_evaluation(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1 stands before and after: the names agree, and yet somebody has said no to version 2."""
    judge_candidate(SPEC, step(ledger), evaluation("1", ledger))
    second = evaluation("2", ledger)
    judge_candidate(SPEC, step(ledger), second)
    ledger.rollback("demand", reason="orders too large", at=AT)
    monkeypatch.setattr(evaluating, "evaluate", lambda *_: (evaluation("2", ledger), {}))
    judge_candidate(SPEC, step(ledger), second)
    champion = ledger.champion("demand")
    assert champion is not None
    assert champion.version == "1"
    assert "rolled back at 2025-03-01" in ledger.decisions("demand", kind="gate")[-1].reasons[0]


def test_of_eight_promoters_at_once_the_best_is_champion_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each was judged against nobody; who loses the race is judged again against who won it, and decides again."""
    for number in range(5):
        url = f"sqlite:///{tmp_path / f'{number}.db'}"
        seen = Ledger(url)

        def evaluate(spec: Any, res: Any, log: Any, candidate: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
            mine, theirs = int(candidate["version"]), int(res.ledger.champion("demand").version)  # larger is better
            return evaluation(candidate["version"], res.ledger, gain=(mine - theirs) / 10), {}

        monkeypatch.setattr(evaluating, "evaluate", evaluate)
        candidates = [evaluation(str(version), seen) for version in range(1, 9)]
        ready = threading.Barrier(8)

        def promote(candidate: dict[str, Any], url: str = url, ready: threading.Barrier = ready) -> None:
            ready.wait()
            judge_candidate(SPEC, step(Ledger(url)), candidate)

        threads = [threading.Thread(target=promote, args=(candidate,)) for candidate in candidates]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        history = seen.history("demand")
        assert history[-1].to_version == "8"
        assert [row.from_version for row in history[1:]] == [row.to_version for row in history[:-1]]
        assert len(seen.decisions("demand", kind="gate")) == 8
