"""One engine for the ledger on SQLite or PostgreSQL, and what goes into its text columns."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from platform_assets.errors import ConfigurationError, LedgerError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

# Seconds that a writer waits for another one's transaction; each takes milliseconds.
BUSY_SECONDS: Final = 60

# Execution option: this transaction writes, so SQLite takes its lock at the start and nobody reads stale rows.
WRITES: Final = "ledger_writes"


def open_engine(url: str) -> "Engine":
    """An engine whose SQLite writers take turns; the parent folder of the file is made."""
    import sqlalchemy
    from sqlalchemy import event

    parts = sqlalchemy.make_url(url)
    if parts.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigurationError(f"ledger at {parts.render_as_string()}: expected a sqlite or postgresql URL")
    if parts.get_backend_name() == "postgresql":
        return sqlalchemy.create_engine(parts, pool_pre_ping=True)
    if not parts.database or parts.database == ":memory:":
        raise ConfigurationError("a ledger in memory is forgotten; name a file: sqlite:////path/ledger.db")
    Path(parts.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sqlalchemy.create_engine(parts, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # sqlite3 would begin by itself, deferred, and upgrades then deadlock
        _use_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous = FULL")  # a promotion survives a power cut
        connection.execute("PRAGMA recursive_triggers = ON")  # INSERT OR REPLACE deletes, and triggers see it

    @event.listens_for(engine, "begin")
    def begin(connection: "Connection") -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(WRITES) else "BEGIN")

    return engine


def _use_write_ahead_log(connection: Any) -> None:
    """Switching the journal ignores the busy timeout, so several first openers wait here for one another."""
    import sqlite3

    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] == "wal":
                return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise LedgerError("the ledger's file system does not carry SQLite's write-ahead log")
        time.sleep(0.01)


def write_instant(at: datetime) -> str:
    """ISO text in UTC with microseconds, so that text sorts as time does."""
    if at.tzinfo is None:
        raise LedgerError(f"instant {at.isoformat()} has no time zone", hint="pass an aware datetime, in UTC")
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def read_instant(text: str) -> datetime:
    """What `write_instant` wrote."""
    return datetime.fromisoformat(text)


def write_json(value: object) -> str:
    """JSON with sorted keys; NaN and infinities become text, times ISO text, numpy scalars numbers."""
    return json.dumps(_plain(value), sort_keys=True, allow_nan=False)


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
        return [_plain(inner) for inner in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, Path):
        return str(value)
    item = getattr(value, "item", None)
    if callable(item):
        return _plain(item())
    raise LedgerError(f"evidence holds a {type(value).__name__}", hint="record plain numbers, text, lists and dicts")
