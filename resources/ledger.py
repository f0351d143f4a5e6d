"""The append-only ledger in SQL: promotions, decisions, causes, refusals, quarantines, completions.

It is the truth about who is champion; MLflow's alias mirrors it. Rows are only ever added: triggers refuse the rest.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal

from platform_assets.errors import DuplicateCauseError, LedgerError, PromotionConflictError
from resources import ledger_schema
from resources.ledger_engine import WRITES, open_engine, write_instant, write_json
from resources.ledger_rows import Cause, Decision, Evidence, Promotion, Quarantine, Refusal, decoded, standing

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData, RowMapping, Table


class Ledger:
    """The ledger at a SQLAlchemy URL, `sqlite:////path/ledger.db` or `postgresql://...`; opened at first use."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: tuple[Engine, MetaData] | None = None

    def __repr__(self) -> str:
        from sqlalchemy import make_url

        return f"Ledger({make_url(self._url).render_as_string(hide_password=True)!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def close(self) -> None:
        """Close the connections; the next use opens them again."""
        if self._opened is not None:
            self._opened[0].dispose()
            self._opened = None

    # Champions

    def champion(self, model: str) -> Promotion | None:
        """Who answers now; None before the first promotion."""
        history = self._promotions(model, newest=1)
        return history[0] if history else None

    def history(self, model: str) -> list[Promotion]:
        """Every change of champion, oldest first."""
        return self._promotions(model)[::-1]

    def promote(
        self,
        model: str,
        *,
        from_version: str | None,
        to_version: str,
        reason: str,
        evidence: Evidence,
        at: datetime,
        run_id: str | None = None,
        from_seq: int | None = None,
    ) -> Promotion:
        """Make `to_version` champion, if `from_version` (None: nobody) still is, and with `from_seq` by that very row.

        Raises: PromotionConflictError if the champion is another one by now, or is it again; read again and decide again.
        """
        return self._advance(model, "promotion", from_version, to_version, reason, evidence, at, run_id, from_seq)

    def rollback(
        self,
        model: str,
        *,
        reason: str,
        at: datetime,
        evidence: Evidence | None = None,
        run_id: str | None = None,
        to_version: str | None = None,
    ) -> Promotion:
        """Make the champion before this one champion again, or `to_version`; a second rollback goes one further back.

        Raises: LedgerError if there is none to go back to; PromotionConflictError as `promote`.
        """
        history = self.history(model)
        champions, known = standing(history), {promotion.to_version for promotion in history}
        if not champions:
            raise LedgerError(f"model {model} has no champion to roll back")
        if to_version is None and len(champions) < 2:
            raise LedgerError(f"model {model}: {champions[-1]} is the first champion, there is none before it")
        target = champions[-2] if to_version is None else to_version
        if target not in known or target == champions[-1]:
            raise LedgerError(
                f"model {model}: cannot roll back from {champions[-1]} to {target}; champions so far: {sorted(known)}"
            )
        return self._advance(model, "rollback", champions[-1], target, reason, evidence or {}, at, run_id)

    # Decisions

    def record_decision(
        self,
        kind: str,
        model: str,
        answer: str,
        *,
        reasons: Sequence[str],
        evidence: Evidence,
        at: datetime,
        run_id: str | None = None,
    ) -> None:
        """Keep an answer, whatever it was. `kind` is such as `gate` or `retraining`."""
        self._insert(
            "decisions",
            kind=kind,
            model=model,
            answer=answer,
            reasons=write_json(list(reasons)),
            evidence=write_json(evidence),
            at=write_instant(at),
            run_id=run_id,
        )

    def decisions(
        self, model: str | None = None, *, kind: str | None = None, newest: int | None = None
    ) -> list[Decision]:
        """Answers in the order in which they were recorded, of one model and kind or of all; the `newest` so many."""
        return [Decision(**decoded(row)) for row in self._select("decisions", "id", newest, model=model, kind=kind)]

    # Causes

    def fire(
        self,
        model: str,
        trigger: str,
        episode: str,
        *,
        reason: str,
        at: datetime,
        evidence: Evidence | None = None,
    ) -> None:
        """Claim a cause for whoever calls first. `episode` tells one occurrence of the trigger from the next.

        Raises: DuplicateCauseError if it has fired already.
        """
        from sqlalchemy.exc import IntegrityError

        try:
            self._insert(
                "causes",
                model=model,
                trigger=trigger,
                episode=episode,
                reason=reason,
                evidence=write_json(evidence or {}),
                at=write_instant(at),
            )
        except IntegrityError as error:
            raise DuplicateCauseError(f"model {model}: cause {trigger}/{episode} has already fired") from error

    def record_cause_status(
        self,
        model: str,
        trigger: str,
        episode: str,
        status: str,
        *,
        at: datetime,
        run_id: str | None = None,
        detail: str = "",
    ) -> None:
        """What became of a cause, as a further row.

        Raises: LedgerError if the cause never fired.
        """
        if not self._select("causes", "at", model=model, trigger=trigger, episode=episode):
            raise LedgerError(f"model {model}: cause {trigger}/{episode} never fired")
        self._insert(
            "cause_statuses",
            model=model,
            trigger=trigger,
            episode=episode,
            status=status,
            run_id=run_id,
            detail=detail,
            at=write_instant(at),
        )

    def causes(self, model: str, *, trigger: str | None = None) -> list[Cause]:
        """Causes in the order of their instants, each with its newest status."""
        newest: dict[tuple[str, str], RowMapping] = {}
        for row in self._select("cause_statuses", "id", model=model, trigger=trigger):
            newest[row["trigger"], row["episode"]] = row
        found = []
        for row in self._select("causes", "at", model=model, trigger=trigger):
            status = newest.get((row["trigger"], row["episode"]))
            run_id = status["run_id"] if status else None
            found.append(Cause(**decoded(row), status=status["status"] if status else "fired", run_id=run_id))
        return found

    # Refused files

    def record_refusal(self, source: str, file: str, *, sha256: str, reason: str, at: datetime) -> None:
        """Keep that a data file was not accepted, and why."""
        self._insert("refusals", source=source, file=file, sha256=sha256, reason=reason, at=write_instant(at))

    def refusals(self, source: str | None = None) -> list[Refusal]:
        """Refused files, oldest first."""
        return [Refusal(**decoded(row)) for row in self._select("refusals", "id", source=source)]

    # Quarantined periods

    def record_quarantine(
        self,
        source: str,
        segment: str,
        first_on: date,
        last_on: date | None,
        action: Literal["found", "cleared", "added", "lifted"],
        *,
        reason: str,
        who: str,
        at: datetime,
        evidence: Evidence | None = None,
        run_id: str | None = None,
    ) -> None:
        """Keep what was found or said of a segment's periods."""
        self._insert(
            "quarantines",
            source=source,
            segment=segment,
            first_on=first_on.isoformat(),
            last_on=None if last_on is None else last_on.isoformat(),
            action=action,
            reason=reason,
            who=who,
            evidence=write_json(evidence or {}),
            at=write_instant(at),
            run_id=run_id,
        )

    def quarantines(self, source: str) -> list[Quarantine]:
        """All that was found or said, in the order in which it was recorded."""
        return [Quarantine(**decoded(row)) for row in self._select("quarantines", "id", source=source)]

    # Completions

    def complete(self, key: str, value: Evidence, *, at: datetime | None = None) -> bool:
        """Keep that a piece of work is done; the first value stays. Returns whether it was this one."""
        from sqlalchemy.exc import IntegrityError

        try:
            self._insert("completions", key=key, value=write_json(value), at=write_instant(at or datetime.now(tz=UTC)))
        except IntegrityError:
            if self.completed(key) is None:
                raise
            return False
        return True

    def completed(self, key: str) -> dict[str, Any] | None:
        """What was kept when the work was done; None if it is not."""
        rows = self._select("completions", "at", key=key)
        return json.loads(rows[0]["value"]) if rows else None

    # Storage

    def _promotions(self, model: str, newest: int | None = None) -> list[Promotion]:
        from sqlalchemy import select

        table = self._table("promotions")
        query = select(table).where(table.c.model == model).order_by(table.c.seq.desc()).limit(newest)
        with self._transaction() as connection:
            return [Promotion(**decoded(row)) for row in connection.execute(query).mappings()]

    def _advance(
        self,
        model: str,
        kind: Literal["promotion", "rollback"],
        from_version: str | None,
        to_version: str,
        reason: str,
        evidence: Evidence,
        at: datetime,
        run_id: str | None,
        from_seq: int | None = None,
    ) -> Promotion:
        """Compare and set: on SQLite one writer at a time, on PostgreSQL the primary key picks the winner."""
        from sqlalchemy import insert, select
        from sqlalchemy.exc import IntegrityError

        if not reason:
            raise LedgerError(f"model {model}: a {kind} to {to_version} needs a reason")
        table = self._table("promotions")
        row = {"model": model, "kind": kind, "from_version": from_version, "to_version": to_version, "reason": reason}
        row |= {"evidence": write_json(evidence), "at": write_instant(at), "run_id": run_id}
        newest = select(table.c.seq, table.c.to_version).where(table.c.model == model)
        try:
            with self._transaction(is_writing=True) as connection:
                last = connection.execute(newest.order_by(table.c.seq.desc()).limit(1)).first()
                champion = last.to_version if last else None
                if champion != from_version:
                    raise PromotionConflictError(
                        f"model {model}: champion is {champion}, expected {from_version}; {to_version} not promoted",
                        hint="read the champion again and decide again",
                    )
                seq = last.seq if last else 0
                if from_seq is not None and seq != from_seq:
                    raise PromotionConflictError(
                        f"model {model}: {champion} is champion by change {seq}, expected {from_seq}; {to_version} not promoted",
                        hint="read the champion again and decide again",
                    )
                row["seq"] = seq + 1
                connection.execute(insert(table).values(row))
        except IntegrityError as error:
            raise PromotionConflictError(
                f"model {model}: somebody else promoted at the same moment; {to_version} was not promoted",
                hint="read the champion again and decide again",
            ) from error
        return Promotion(**decoded(row))

    def _insert(self, name: str, **values: object) -> None:
        from sqlalchemy import insert

        table = self._table(name)
        with self._transaction(is_writing=True) as connection:
            connection.execute(insert(table).values(values))

    def _select(self, name: str, order: str, newest: int | None = None, **equal: object) -> "list[RowMapping]":
        from sqlalchemy import select

        table = self._table(name)
        query = select(table).order_by(table.c[order].desc()).limit(newest)
        for column, value in equal.items():
            if value is not None:
                query = query.where(table.c[column] == value)
        with self._transaction() as connection:
            return list(connection.execute(query).mappings())[::-1]

    def _table(self, name: str) -> "Table":
        return self._open()[1].tables[name]

    @contextmanager
    def _transaction(self, *, is_writing: bool = False) -> "Iterator[Connection]":
        engine, _ = self._open()
        with engine.connect().execution_options(**{WRITES: is_writing}) as connection, connection.begin():
            yield connection

    def _open(self) -> "tuple[Engine, MetaData]":
        if self._opened is None:
            engine, tables = open_engine(self._url), ledger_schema.metadata()
            with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
                ledger_schema.create(connection, tables)
            self._opened = engine, tables
        return self._opened
