"""Tables of the ledger, and the triggers that keep them append-only.

promotions      who was champion, in order; (model, seq) is unique, so of two promoters one loses
decisions       every answer of a gate or a retraining policy, with its reasons and its evidence
causes          what asked for a retraining; (model, trigger, episode) is unique, so a cause fires once
cause_statuses  what became of a cause
refusals        data files that were not accepted
quarantines     periods of a segment that were found at fault, put under quarantine by hand, or lifted from it
completions     work that is done and need not be done again
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlalchemy import Connection, MetaData

TABLES: Final = ("promotions", "decisions", "causes", "cause_statuses", "refusals", "quarantines", "completions")

# Any constant: whoever creates the schema on PostgreSQL holds this lock, since concurrent DDL fails there.
_SCHEMA_LOCK: Final = 7_203_114


def metadata() -> "MetaData":
    """Tables as SQLAlchemy has them; instants are ISO text in UTC and evidence is JSON text on every server."""
    from sqlalchemy import CheckConstraint, Column, Integer, MetaData, String, Table, Text

    def instant() -> Column[str]:
        return Column("at", String(32), nullable=False)

    tables = MetaData()
    Table(
        "promotions",
        tables,
        Column("model", String(200), primary_key=True),
        Column("seq", Integer, primary_key=True, autoincrement=False),
        Column("kind", String(20), CheckConstraint("kind IN ('promotion', 'rollback')"), nullable=False),
        Column("from_version", String(200)),
        Column("to_version", String(200), nullable=False),
        Column("reason", Text, nullable=False),
        Column("evidence", Text, nullable=False),
        instant(),
        Column("run_id", String(100)),
    )
    Table(
        "decisions",
        tables,
        Column("id", Integer, primary_key=True),
        Column("kind", String(50), nullable=False),
        Column("model", String(200), nullable=False, index=True),
        Column("answer", String(100), nullable=False),
        Column("reasons", Text, nullable=False),
        Column("evidence", Text, nullable=False),
        instant(),
        Column("run_id", String(100)),
    )
    cause = ("model", "trigger", "episode")
    Table(
        "causes",
        tables,
        *(Column(name, String(300), primary_key=True) for name in cause),
        Column("reason", Text, nullable=False),
        Column("evidence", Text, nullable=False),
        instant(),
    )
    Table(
        "cause_statuses",
        tables,
        Column("id", Integer, primary_key=True),
        *(Column(name, String(300), nullable=False) for name in cause),
        Column("status", String(50), nullable=False),
        Column("run_id", String(100)),
        Column("detail", Text, nullable=False),
        instant(),
    )
    Table(
        "refusals",
        tables,
        Column("id", Integer, primary_key=True),
        Column("source", String(200), nullable=False),
        Column("file", Text, nullable=False),
        Column("sha256", String(64), nullable=False),
        Column("reason", Text, nullable=False),
        instant(),
    )
    Table(
        "quarantines",
        tables,
        Column("id", Integer, primary_key=True),
        Column("source", String(200), nullable=False, index=True),
        Column("segment", String(300), nullable=False),
        Column("first_on", String(10), nullable=False),
        Column("last_on", String(10)),
        Column(
            "action", String(10), CheckConstraint("action IN ('found', 'cleared', 'added', 'lifted')"), nullable=False
        ),
        Column("reason", Text, nullable=False),
        Column("who", String(200), nullable=False),
        Column("evidence", Text, nullable=False),
        instant(),
        Column("run_id", String(100)),
    )
    Table(
        "completions",
        tables,
        Column("key", String(500), primary_key=True),
        Column("value", Text, nullable=False),
        instant(),
    )
    return tables


def create(connection: "Connection", tables: "MetaData") -> None:
    """Create what is missing, inside the transaction of the connection; safe for several creators at once."""
    from sqlalchemy import text

    is_postgresql = connection.dialect.name == "postgresql"
    if is_postgresql:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))
        connection.execute(
            text(
                "CREATE OR REPLACE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'the ledger is append-only: % on %', TG_OP, TG_TABLE_NAME; END $$"
            )
        )
    tables.create_all(connection)
    for table in TABLES:
        if is_postgresql:
            connection.execute(
                text(
                    f"CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                    "FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()"
                )
            )
            continue
        for operation in ("UPDATE", "DELETE"):
            connection.execute(
                text(
                    f"CREATE TRIGGER IF NOT EXISTS {table}_no_{operation.lower()} BEFORE {operation} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: {operation} on {table}'); END"
                )
            )
