"""Quarantined periods as a record: what was found, said by hand, lifted or mended, as spells with a status.

The record's rows are only ever added. A found period that a later delivery has mended is `cleared`; the last statement by
hand counts over both.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, Protocol

from platform_assets.science.faults import Fault, Statement
from platform_assets.science.spans import span_name

DETECTOR: Final = "detector"  # who, where nobody in person
HOLDING: Final = ("standing", "lifted in part")  # statuses of what is unknown still


class Entry(Protocol):
    """A row of the record; `segment` "" is all of them, `last_on` None is from then on."""

    @property
    def id(self) -> int: ...
    @property
    def segment(self) -> str: ...
    @property
    def first_on(self) -> date: ...
    @property
    def last_on(self) -> date | None: ...
    @property
    def action(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def who(self) -> str: ...
    @property
    def evidence(self) -> Mapping[str, Any]: ...
    @property
    def at(self) -> datetime: ...


@dataclass(frozen=True)
class Spell:
    """Periods of a segment in a row that stand under quarantine, or did. `entries`: the rows that put them there."""

    segment: str
    first_on: date
    last_on: date | None
    reason: str
    who: str
    found_at: datetime
    status: str  # standing, lifted, or mended by another delivery
    entries: tuple[int, ...]

    @property
    def name(self) -> str:
        """Segment and days, in words."""
        return span_name(self.segment, self.first_on, self.last_on)


def statements(entries: Iterable[Entry]) -> list[Statement]:
    """What somebody has said by hand."""
    said = [entry for entry in entries if entry.action in ("added", "lifted")]
    return [Statement(e.segment, e.first_on, e.last_on, e.action == "added", e.at) for e in said]


def _standing(entries: Iterable[Entry], period_days: int) -> dict[tuple[str, date], Entry]:
    """Found periods, that were not cleared since, with the row that found them last."""
    found: dict[tuple[str, date], Entry] = {}
    for entry in sorted(entries, key=lambda entry: entry.id):
        if entry.action in ("found", "cleared"):
            for period_on in _periods(entry, period_days):
                if entry.action == "found":
                    found[entry.segment, period_on] = entry
                else:
                    found.pop((entry.segment, period_on), None)
    return found


def _periods(entry: Entry, period_days: int) -> list[date]:
    last_on = entry.last_on or entry.first_on
    return [entry.first_on + timedelta(days=n) for n in range(0, (last_on - entry.first_on).days + 1, period_days)]


@dataclass(frozen=True)
class News:
    """A row to add to the record."""

    segment: str
    first_on: date
    last_on: date
    action: str
    reason: str
    evidence: Mapping[str, Any]
    at: datetime


def news(
    faults: Sequence[Fault], entries: Sequence[Entry], deliveries: Mapping[date, datetime], period_days: int
) -> list[News]:
    """What the record lacks after the periods of `deliveries` were judged: faults found, and found ones that are none now."""
    standing, judged = _standing(entries, period_days), {(one.segment, one.period_on): one for one in faults}
    rows = [
        News(
            run[0].segment,
            run[0].period_on,
            run[-1].period_on,
            "found",
            run[0].told
            if len(run) == 1 or run[0].kind == "silence"
            else f"{run[0].told} (first day; {len(run)} in a row)",
            {"kind": run[0].kind, "factors": {one.period_on.isoformat(): round(one.factor, 3) for one in run}},
            max(one.found_at for one in run),
        )
        for run in _runs([one for key, one in judged.items() if key not in standing], period_days)
    ]
    said = statements(entries)
    for (segment, period_on), entry in sorted(standing.items(), key=lambda item: item[0]):
        if period_on not in deliveries or (segment, period_on) in judged:
            continue
        if any(one.covers(segment, period_on) for one in said):  # not judged while somebody speaks for it
            continue
        why = "delivered anew, and no fault was found"
        rows.append(News(segment, period_on, period_on, "cleared", why, {"found": entry.id}, deliveries[period_on]))
    return rows


def _runs(faults: Iterable[Fault], period_days: int) -> list[list[Fault]]:
    """Faults of one segment and kind, period after period."""
    runs: list[list[Fault]] = []
    for one in sorted(faults):
        last = runs[-1][-1] if runs else None
        is_next = last is not None and one.period_on - last.period_on == timedelta(days=period_days)
        if last is not None and is_next and (last.segment, last.kind) == (one.segment, one.kind):
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def spells(entries: Sequence[Entry], period_days: int = 1) -> list[Spell]:
    """The record as spells, oldest first: found periods in a row together, each statement by hand on its own."""
    lifts = [entry for entry in entries if entry.action == "lifted"]
    standing = _standing(entries, period_days)
    told: list[Spell] = []
    for entry in sorted(entries, key=lambda entry: (entry.segment, entry.first_on, entry.id)):
        if entry.action not in ("found", "added"):
            continue
        is_found = entry.action == "added" or any(
            standing.get((entry.segment, on)) is entry for on in _periods(entry, period_days)
        )
        later = [e for e in lifts if e.id > entry.id and e.segment in ("", entry.segment) and _overlaps(e, entry)]
        status = "standing" if is_found else "mended by another delivery"
        if later:
            status = "lifted" if any(_contains(e, entry) for e in later) else "lifted in part"
        spell = Spell(
            entry.segment, entry.first_on, entry.last_on, entry.reason, entry.who, entry.at, status, (entry.id,)
        )
        last = told[-1] if told else None
        if last is not None and _follows(last, spell, period_days):
            told[-1] = Spell(
                last.segment, last.first_on, spell.last_on, last.reason, last.who, last.found_at, last.status,
                (*last.entries, entry.id),
            )  # fmt: skip
        else:
            told.append(spell)
    return sorted(told, key=lambda spell: (spell.first_on, spell.segment, spell.entries))


def _follows(last: Spell, spell: Spell, period_days: int) -> bool:
    if last.last_on is None or (last.segment, last.who, last.status) != (spell.segment, spell.who, spell.status):
        return False
    return last.who == DETECTOR and spell.first_on - last.last_on == timedelta(days=period_days)


def _overlaps(one: Entry, other: Entry) -> bool:
    return (one.last_on is None or other.first_on <= one.last_on) and (
        other.last_on is None or one.first_on <= other.last_on
    )


def _contains(outer: Entry, inner: Entry) -> bool:
    ends_later = outer.last_on is None or (inner.last_on is not None and inner.last_on <= outer.last_on)
    return outer.first_on <= inner.first_on and ends_later
