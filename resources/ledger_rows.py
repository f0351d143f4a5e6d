"""Rows of the ledger as Python sees them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from resources.ledger_engine import read_instant

Evidence = Mapping[str, Any]


@dataclass(frozen=True)
class Promotion:
    """One change of champion. `from_version` is None for a model's first."""

    model: str
    seq: int
    kind: Literal["promotion", "rollback"]
    from_version: str | None
    to_version: str
    reason: str
    evidence: Evidence
    at: datetime
    run_id: str | None

    @property
    def version(self) -> str:
        """The version that became champion."""
        return self.to_version


@dataclass(frozen=True)
class Decision:
    """An answer of a gate or a policy, refusals and 'no' included."""

    id: int
    kind: str
    model: str
    answer: str
    reasons: tuple[str, ...]
    evidence: Evidence
    at: datetime
    run_id: str | None


@dataclass(frozen=True)
class Cause:
    """What asked for a retraining, and what became of it; `status` is `fired` until told otherwise."""

    model: str
    trigger: str
    episode: str
    reason: str
    evidence: Evidence
    at: datetime
    status: str
    run_id: str | None


@dataclass(frozen=True)
class Refusal:
    """A data file that was not accepted."""

    id: int
    source: str
    file: str
    sha256: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class Quarantine:
    """What was found or said of a segment's periods; `segment` "" is all of them, `last_on` None is from then on."""

    id: int
    source: str
    segment: str
    first_on: date
    last_on: date | None
    action: Literal["found", "cleared", "added", "lifted"]
    reason: str
    who: str
    evidence: Evidence
    at: datetime
    run_id: str | None


def decoded(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Columns of a row with dates, instants, evidence and reasons as values instead of text."""
    values = dict(row)
    for column in ("evidence", "reasons"):
        if column in values:
            values[column] = json.loads(values[column])
    if "reasons" in values:
        values["reasons"] = tuple(values["reasons"])
    for column in ("first_on", "last_on"):
        if values.get(column) is not None:
            values[column] = date.fromisoformat(values[column])
    values["at"] = read_instant(values["at"])
    return values


def standing(history: Sequence[Promotion]) -> list[str]:
    """Champions that a rollback can walk back through, the present one last: promotions push, rollbacks pop."""
    champions: list[str] = []
    for promotion in history:
        version = promotion.to_version
        if promotion.kind == "rollback" and version in champions:
            del champions[len(champions) - champions[::-1].index(version) :]
        elif not champions or champions[-1] != version:
            champions.append(version)
    return champions
