"""The ledger: of two promoters one loses, a cause fires once, and no row ever changes."""

import os
import pickle
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from platform_assets.errors import ConfigurationError, DuplicateCauseError, LedgerError, PromotionConflictError
from resources import ledger_schema
from resources.ledger import Ledger
from tests.resources import postgres

AT = datetime(2024, 5, 1, 12, tzinfo=UTC)
ROUNDS = 100
PROMOTERS = 8


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/ledger.db"
    return postgres.new_database(request.getfixturevalue("postgres_server"), f"ledger_{uuid4().hex}")


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    ledger = Ledger(url)
    yield ledger
    ledger.close()


def promote(ledger: Ledger, old: str | None, new: str, model: str = "demand") -> None:
    ledger.promote(model, from_version=old, to_version=new, reason=f"{new} is better", evidence={"loss": 0.5}, at=AT)


def test_the_champion_is_the_last_promotion(ledger: Ledger) -> None:
    assert ledger.champion("demand") is None
    promote(ledger, None, "1")
    promote(ledger, "1", "2")
    promote(ledger, None, "9", model="dormant")
    champion = ledger.champion("demand")
    assert champion is not None
    assert (champion.version, champion.from_version, champion.seq, champion.at) == ("2", "1", 2, AT)
    assert champion.evidence == {"loss": 0.5}
    assert [row.version for row in ledger.history("demand")] == ["1", "2"]


@pytest.mark.parametrize(("believed", "champion"), [(None, "1"), ("0", "1"), ("1", None)])
def test_who_believes_in_another_champion_loses(ledger: Ledger, believed: str | None, champion: str | None) -> None:
    if champion:
        promote(ledger, None, champion)
    with pytest.raises(PromotionConflictError, match=f"champion is {champion}, expected {believed}"):
        promote(ledger, believed, "2")
    assert len(ledger.history("demand")) == (1 if champion else 0)


def test_rollbacks_walk_back_through_different_champions(ledger: Ledger) -> None:
    for old, new in ((None, "1"), ("1", "2"), ("2", "2"), ("2", "3")):
        promote(ledger, old, new)
    assert ledger.rollback("demand", reason="bad week", at=AT).version == "2"
    promote(ledger, "2", "4")
    versions = [ledger.rollback("demand", reason="bad week", at=AT).version for _ in range(2)]
    assert versions == ["2", "1"]
    with pytest.raises(LedgerError, match="1 is the first champion"):
        ledger.rollback("demand", reason="bad week", at=AT)
    row = ledger.rollback("demand", reason="it was good", to_version="3", at=AT, run_id="r")
    assert (row.kind, row.from_version, row.version, row.run_id) == ("rollback", "1", "3", "r")
    assert [later.from_version for later in ledger.history("demand")[1:]] == [
        earlier.to_version for earlier in ledger.history("demand")[:-1]
    ]
    for target, message in (("3", "cannot roll back from 3 to 3"), ("77", "champions so far")):
        with pytest.raises(LedgerError, match=message):
            ledger.rollback("demand", reason="x", at=AT, to_version=target)
    with pytest.raises(LedgerError, match="no champion"):
        ledger.rollback("nobody", reason="x", at=AT)


def test_every_answer_is_kept(ledger: Ledger) -> None:
    for answer in ("not_better", "better"):
        ledger.record_decision("gate", "demand", answer, reasons=["a", "b"], evidence={"interval": (1, 2.5)}, at=AT)
    ledger.record_decision("retraining", "demand", "no", reasons=[], evidence={}, at=AT, run_id="r")
    ledger.record_decision("gate", "dormant", "better", reasons=["c"], evidence={}, at=AT)
    assert [row.answer for row in ledger.decisions("demand")] == ["not_better", "better", "no"]
    first = ledger.decisions("demand", kind="gate")[0]
    assert (first.reasons, first.evidence, first.at) == (("a", "b"), {"interval": [1, 2.5]}, AT)
    assert len(ledger.decisions()) == 4
    assert [row.answer for row in ledger.decisions("demand", newest=2)] == ["better", "no"]


def test_a_cause_fires_once_and_its_status_follows(ledger: Ledger) -> None:
    ledger.fire("demand", "drift", "7@2024-05-01", reason="coverage fell", at=AT, evidence={"z": 4.0})
    with pytest.raises(DuplicateCauseError, match="drift/7@2024-05-01 has already fired"):
        ledger.fire("demand", "drift", "7@2024-05-01", reason="again", at=AT)
    ledger.fire("demand", "drift", "8@2024-06-01", reason="again", at=AT + timedelta(days=31))
    ledger.record_cause_status("demand", "drift", "7@2024-05-01", "started", at=AT, run_id="r")
    ledger.record_cause_status("demand", "drift", "7@2024-05-01", "failed", at=AT, run_id="r", detail="no disk")
    first, second = ledger.causes("demand", trigger="drift")
    assert (first.status, first.run_id, first.reason, first.evidence) == ("failed", "r", "coverage fell", {"z": 4.0})
    assert (second.status, second.run_id) == ("fired", None)
    with pytest.raises(LedgerError, match="never fired"):
        ledger.record_cause_status("demand", "drift", "none", "started", at=AT)


def test_refusals_and_completions_are_kept(ledger: Ledger) -> None:
    ledger.record_refusal("retail", "a.csv", sha256="0" * 64, reason="no header", at=AT)
    assert [(row.file, row.reason, row.at) for row in ledger.refusals("retail")] == [("a.csv", "no header", AT)]
    assert ledger.refusals("other") == []
    assert ledger.completed("demo/data") is None
    ledger.record_quarantine("retail", "1", AT.date(), None, "added", reason="x10", who="ann", at=AT)
    (kept,) = ledger.quarantines("retail")
    assert (kept.segment, kept.first_on, kept.last_on, kept.action, kept.who) == ("1", AT.date(), None, "added", "ann")
    assert ledger.quarantines("other") == []
    ledger.complete("demo/data", {"rows": 3})
    ledger.complete("demo/data", {"rows": 4})
    assert ledger.completed("demo/data") == {"rows": 3}


def test_rows_can_neither_change_nor_go(ledger: Ledger, url: str) -> None:
    promote(ledger, None, "1")
    ledger.record_decision("gate", "demand", "better", reasons=[], evidence={}, at=AT)
    ledger.fire("demand", "drift", "1", reason="x", at=AT)
    ledger.record_cause_status("demand", "drift", "1", "started", at=AT)
    ledger.record_refusal("retail", "a.csv", sha256="0" * 64, reason="no header", at=AT)
    ledger.record_quarantine("retail", "1", AT.date(), None, "added", reason="x10", who="ann", at=AT)
    ledger.complete("k", {})
    engine = create_engine(url)
    for table in ledger_schema.TABLES:
        statements = [f"UPDATE {table} SET at = 'x'", f"DELETE FROM {table}"]
        for statement in statements + ([f"TRUNCATE {table}"] if "postgresql" in url else []):
            with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
                connection.execute(text(statement))
    engine.dispose()
    assert ledger.champion("demand") is not None


def test_evidence_may_hold_what_a_policy_sees(ledger: Ledger) -> None:
    import numpy as np

    evidence = {"loss": float("nan"), "on": AT.date(), "path": Path("a"), "n": np.int64(3), "is": {"b", "a"}}
    ledger.record_decision("gate", "demand", "undecided", reasons=[], evidence=evidence, at=AT)
    assert ledger.decisions("demand")[0].evidence == {
        "loss": "nan", "on": "2024-05-01", "path": "a", "n": 3, "is": ["a", "b"],
    }  # fmt: skip
    with pytest.raises(LedgerError, match="holds a object"):
        ledger.record_decision("gate", "demand", "x", reasons=[], evidence={"o": object()}, at=AT)


def test_instants_are_utc(ledger: Ledger) -> None:
    berlin = timezone(timedelta(hours=2))
    ledger.promote("m", from_version=None, to_version="1", reason="x", evidence={}, at=AT.astimezone(berlin))
    champion = ledger.champion("m")
    assert champion is not None
    assert champion.at.isoformat() == "2024-05-01T12:00:00+00:00"
    with pytest.raises(LedgerError, match="no time zone"):
        ledger.record_refusal("s", "f", sha256="", reason="x", at=datetime(2024, 5, 1))
    with pytest.raises(LedgerError, match="needs a reason"):
        ledger.promote("m", from_version="1", to_version="2", reason="", evidence={}, at=AT)


def test_a_ledger_survives_pickling_closing_and_reopening(ledger: Ledger) -> None:
    promote(ledger, None, "1")
    copy = pickle.loads(pickle.dumps(ledger))
    ledger.close()
    for opened in (copy, ledger):
        champion = opened.champion("demand")
        assert champion is not None
        assert champion.version == "1"
    copy.close()


def test_secrets_stay_out_of_repr_and_other_servers_are_refused() -> None:
    assert "hunter2" not in repr(Ledger("postgresql://me:hunter2@host/db"))
    with pytest.raises(ConfigurationError, match="expected a sqlite or postgresql URL"):
        Ledger("mysql://me:hunter2@host/db").champion("m")
    with pytest.raises(ConfigurationError, match="in memory is forgotten"):
        Ledger("sqlite://").champion("m")


def _promoter(url: str, seed: int, barrier: Any) -> None:
    """Reads, decides, promotes; on a conflict reads and decides again."""
    ledger, dice = Ledger(url), random.Random(seed)
    for number in range(ROUNDS):
        score = dice.random()
        mine = f"{score:.12f}"
        barrier.wait()
        while True:
            champion = ledger.champion(f"model-{number}")
            if champion is not None and champion.evidence["score"] >= score:
                break
            try:
                ledger.promote(
                    f"model-{number}",
                    from_version=champion.version if champion else None,
                    to_version=mine,
                    reason="a higher score",
                    evidence={"score": score},
                    at=AT,
                )
                break
            except PromotionConflictError:
                continue


@pytest.mark.long
def test_eight_promoters_leave_the_best_champion(url: str, spawn: SpawnContext) -> None:
    """Read-then-set of an alias leaves the wrong champion in most such rounds; here the last one must be the best,
    and each row must start where the row before it ended."""
    barrier = spawn.Barrier(PROMOTERS, timeout=120)
    promoters = [spawn.Process(target=_promoter, args=(url, seed, barrier)) for seed in range(PROMOTERS)]
    for promoter in promoters:
        promoter.start()
    for promoter in promoters:
        promoter.join(timeout=300)
        assert promoter.exitcode == 0
    dice = [random.Random(seed) for seed in range(PROMOTERS)]
    ledger, contested = Ledger(url), 0
    for number in range(ROUNDS):
        best = max(one.random() for one in dice)
        history = ledger.history(f"model-{number}")
        assert history[-1].evidence["score"] == best
        assert [row.seq for row in history] == list(range(1, len(history) + 1))
        assert [row.from_version for row in history] == [None, *(row.to_version for row in history[:-1])]
        contested += len(history) > 1
    assert contested > ROUNDS // 4, "hardly any round was a race"
    ledger.close()


def _fire_all(url: str, barrier: Any, won: Any) -> None:
    ledger = Ledger(url)
    barrier.wait()
    for number in range(40):
        try:
            ledger.fire("demand", "drift", str(number), reason="x", at=AT)
        except DuplicateCauseError:
            continue
        with won.get_lock():
            won.value += 1


@pytest.mark.long
def test_of_two_daemons_one_fires_each_cause(url: str, spawn: SpawnContext) -> None:
    barrier, won = spawn.Barrier(4, timeout=60), spawn.Value("i", 0)
    daemons = [spawn.Process(target=_fire_all, args=(url, barrier, won)) for _ in range(4)]
    for daemon in daemons:
        daemon.start()
    for daemon in daemons:
        daemon.join(timeout=120)
        assert daemon.exitcode == 0
    assert won.value == 40


def _promote_for_ever(url: str, path: str) -> None:
    ledger = Ledger(url)
    champion = ledger.champion("demand")
    last = int(champion.version) if champion else 0
    with Path(path).open("a", buffering=1) as acknowledged:
        while True:
            promote(ledger, str(last) if last else None, str(last + 1))
            last += 1
            acknowledged.write(f"{last}\n")


@pytest.mark.long
def test_a_killed_promoter_loses_nothing_that_was_acknowledged(url: str, spawn: SpawnContext, tmp_path: Path) -> None:
    path = tmp_path / "acknowledged"
    path.touch()
    ledger = Ledger(url)
    for number in range(6):
        before = len(path.read_text().splitlines())
        promoter = spawn.Process(target=_promote_for_ever, args=(url, str(path)))
        promoter.start()
        while len(path.read_text().splitlines()) < before + 5:
            assert promoter.exitcode is None
            time.sleep(0.005)
        time.sleep(0.002 * number)
        assert promoter.pid is not None
        os.kill(promoter.pid, signal.SIGKILL)
        promoter.join()
        history = ledger.history("demand")
        assert [row.seq for row in history] == [int(row.to_version) for row in history]
        assert history[-1].seq - len(path.read_text().splitlines()) in range(number + 2)
    ledger.close()
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
