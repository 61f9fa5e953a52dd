"""The tables of a node's database on PostgreSQL, as this version makes them."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from lenswatch.errors import StoreError
from lenswatch.node.store.migrations import MIGRATIONS
from lenswatch.node.store.tables import metadata

__all__ = ["PREPARING", "prepare"]

PREPARING = 0x6C656E73_00000001  # of the advisory lock of whoever makes the tables
SLOTS = 64  # rows that hold the size of the outbox, so that streams need not wait for one of them
FIRST_VERSION = 15  # of the schema, which is counted as on SQLite
# Changes after that by the version that they lead to.
MIGRATIONS_HERE: dict[int, Callable[[sa.Connection], None]] = {}
_JOB = "parked_because IS NULL AND drift_id IS NULL"


def _counting(table: str, column: str, changes: str) -> tuple[str, str]:
    """Return the statements that let a table keep the size of a column in `outbox_bytes`."""
    return (
        f"""CREATE FUNCTION count_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                UPDATE outbox_bytes SET bytes = bytes
                    + CASE WHEN TG_OP = 'DELETE' THEN 0 ELSE length(NEW.{column}) END
                    - CASE WHEN TG_OP = 'INSERT' THEN 0 ELSE length(OLD.{column}) END
                    WHERE slot = mod(pg_backend_pid(), {SLOTS});
                RETURN NULL;
            END $$""",
        f"""CREATE TRIGGER count_{table} AFTER {changes} ON {table}
            FOR EACH ROW EXECUTE FUNCTION count_{table}()""",
    )


_PARTS = (
    f"CREATE INDEX outbox_jobs ON outbox (id, stream, due_at, out_of_turn) WHERE {_JOB}",
    f"CREATE INDEX outbox_streams ON outbox (stream, id) WHERE {_JOB}",
    f"CREATE INDEX outbox_put_off ON outbox (due_at) WHERE {_JOB} AND due_at > 0",
    "CREATE INDEX outbox_parked ON outbox (stream, id) WHERE parked_because IS NOT NULL",
    """CREATE INDEX outbox_pictures ON outbox (id)
        WHERE parked_because IS NULL AND drift_id IS NOT NULL""",
    f"CREATE INDEX outbox_clean ON outbox (thinned, id) WHERE clean AND {_JOB}",
    "CREATE INDEX originals_event ON originals (event)",
    "CREATE INDEX baselines_stream ON baselines (stream, id)",
    "CREATE INDEX baseline_pictures_stream ON baseline_pictures (stream, at)",
    "CREATE INDEX baseline_pictures_number ON baseline_pictures (stream, number)",
    # Floats and JPEGs, which do not get smaller.
    "ALTER TABLE windows ALTER state SET STORAGE EXTERNAL",
    "ALTER TABLE pictures ALTER data SET STORAGE EXTERNAL",
    "ALTER TABLE baseline_pictures ALTER data SET STORAGE EXTERNAL",
    "INSERT INTO shedding (id, bytes, pictures, jobs, unrecorded) VALUES (1, 0, 0, 0, 0)",
    "CREATE TABLE outbox_bytes (slot integer PRIMARY KEY, bytes bigint NOT NULL)",
    f"INSERT INTO outbox_bytes SELECT slot, 0 FROM generate_series(0, {SLOTS - 1}) AS slot",
    *_counting("outbox", "job", "INSERT OR DELETE OR UPDATE OF job"),
    *_counting("pictures", "data", "INSERT OR DELETE"),
    "CREATE TABLE lenswatch_node (version integer NOT NULL)",
    f"INSERT INTO lenswatch_node VALUES ({len(MIGRATIONS)})",
)


def prepare(connection: sa.Connection, name: str) -> None:
    """Make the tables where there are none.

    Args:
        connection: A transaction. Others that prepare wait for its end.
        name: Name of the database, for messages.

    Raises:
        StoreError: The tables are those of a newer version, or another program's.
    """
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({PREPARING})")
    if not _exists(connection, "lenswatch_node"):
        for table in metadata.tables.values():
            if _exists(connection, table.name):
                raise StoreError(
                    f"{name}: has a table {table.name} of another program; give the node a database or a "
                    "schema of its own in storage.database"
                )
        metadata.create_all(connection, checkfirst=False)
        for statement in _PARTS:
            connection.exec_driver_sql(statement)
        return
    version = int(connection.exec_driver_sql("SELECT version FROM lenswatch_node").scalar_one())
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{name}: written by a newer Lenswatch (schema {version}, this one knows "
            f"{len(MIGRATIONS)}); update Lenswatch, or choose another storage.database"
        )
    for number in range(version, len(MIGRATIONS)):
        MIGRATIONS_HERE[number + 1](connection)
    if version < len(MIGRATIONS):
        connection.exec_driver_sql(f"UPDATE lenswatch_node SET version = {len(MIGRATIONS)}")


def _exists(connection: sa.Connection, table: str) -> bool:
    found = connection.exec_driver_sql("SELECT to_regclass(%s)", (table,)).scalar_one()
    return found is not None
