"""The migrations of `node.db`: each brings the file from one schema to the next."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from lenswatch.errors import StoreError
from lenswatch.node.store.tables import STREAM_OF_JOB

__all__ = ["MIGRATIONS"]

_TABLES_1 = (
    """CREATE TABLE windows (
        stream TEXT NOT NULL, digest TEXT NOT NULL, images INTEGER NOT NULL,
        updated_at REAL NOT NULL, state BLOB NOT NULL, PRIMARY KEY (stream, digest))""",
    """CREATE TABLE answers (
        id INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, answered_at REAL NOT NULL,
        status INTEGER NOT NULL, body TEXT NOT NULL)""",
    # AUTOINCREMENT never reuses an id, so that a late acknowledgement cannot delete another row.
    """CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT, posted_at REAL NOT NULL,
        due_at REAL NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
        tried INTEGER NOT NULL DEFAULT 0, drift_id TEXT, parked_because TEXT, job TEXT NOT NULL)""",
    # One table holds three queues, and each row is in exactly one of them.
    "CREATE INDEX outbox_jobs ON outbox (id) WHERE parked_because IS NULL AND drift_id IS NULL",
    """CREATE INDEX outbox_pictures ON outbox (id)
        WHERE parked_because IS NULL AND drift_id IS NOT NULL""",
    "CREATE INDEX outbox_parked ON outbox (id) WHERE parked_because IS NOT NULL",
    """CREATE TABLE pictures (
        outbox_id INTEGER PRIMARY KEY REFERENCES outbox (id) ON DELETE CASCADE,
        data BLOB NOT NULL)""",
    "CREATE TABLE lease (name TEXT PRIMARY KEY, holder TEXT NOT NULL, expires_at REAL NOT NULL)",
    """CREATE TABLE experiments (
        url TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (url, name))""",
)


def _create_tables(connection: sa.Connection) -> None:
    if connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
        raise StoreError(
            f"{connection.engine.url.database}: another program's database; move it away or choose another "
            "storage.path"
        )
    for statement in _TABLES_1:
        connection.exec_driver_sql(statement)


def _name_answers(connection: sa.Connection) -> None:
    """Replace the HTTP status of an answer by its kind."""
    for statement in (
        """CREATE TABLE named (
            id INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, answered_at REAL NOT NULL,
            kind TEXT NOT NULL, body TEXT NOT NULL)""",
        """INSERT INTO named SELECT id, event_id, answered_at,
            CASE status WHEN 200 THEN 'judged' WHEN 413 THEN 'too large' ELSE 'refused' END, body
            FROM answers""",
        "DROP TABLE answers",
        "ALTER TABLE named RENAME TO answers",
    ):
        connection.exec_driver_sql(statement)


def _add_collections(connection: sa.Connection) -> None:
    """Add the tables of clean pictures that a running node collects."""
    for statement in (
        "CREATE TABLE collections (stream TEXT PRIMARY KEY, state TEXT NOT NULL)",
        """CREATE TABLE collected (
            stream TEXT NOT NULL, digest TEXT NOT NULL, taken REAL NOT NULL, file TEXT NOT NULL,
            PRIMARY KEY (stream, digest))""",
    ):
        connection.exec_driver_sql(statement)


def _add_shedding(connection: sa.Connection) -> None:
    """Let the outbox know its size, and which of its jobs may go when space is short."""
    for statement in (
        "ALTER TABLE outbox ADD COLUMN clean INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE outbox ADD COLUMN thinned INTEGER NOT NULL DEFAULT 0",
        # A job of before is clean when neither it nor the one before it in its stream has a verdict.
        """UPDATE outbox SET clean = 1 WHERE id IN (
            SELECT id FROM (
                SELECT id, plain, lag(plain, 1, plain) OVER (PARTITION BY stream ORDER BY id) AS before
                FROM (
                    SELECT id, json_extract(job, '$.parameters.stream') AS stream,
                        json_extract(job, '$.job_status') = 'Completed'
                        AND NOT coalesce(json_extract(job, '$.drift_detected'), 0)
                        AND NOT coalesce(json_extract(job, '$.parameters.warning'), 0)
                        AND NOT coalesce(json_extract(job, '$.parameters.alarm'), 0) AS plain
                    FROM outbox))
            WHERE plain AND before)""",
        """CREATE INDEX outbox_clean ON outbox (thinned, id)
            WHERE clean AND parked_because IS NULL AND drift_id IS NULL""",
        "CREATE TABLE gaps (stream TEXT PRIMARY KEY, jobs INTEGER NOT NULL, since REAL NOT NULL)",
        """CREATE TABLE shedding (
            id INTEGER PRIMARY KEY CHECK (id = 1), bytes INTEGER NOT NULL, pictures INTEGER NOT NULL,
            jobs INTEGER NOT NULL, unrecorded INTEGER NOT NULL, since REAL, last REAL)""",
        """INSERT INTO shedding (id, pictures, jobs, unrecorded, bytes) SELECT 1, 0, 0, 0,
            (SELECT coalesce(sum(length(job)), 0) FROM outbox)
            + (SELECT coalesce(sum(length(data)), 0) FROM pictures)""",
        """CREATE TRIGGER outbox_posted AFTER INSERT ON outbox BEGIN
            UPDATE shedding SET bytes = bytes + length(NEW.job); END""",
        """CREATE TRIGGER outbox_deleted AFTER DELETE ON outbox BEGIN
            UPDATE shedding SET bytes = bytes - length(OLD.job); END""",
        """CREATE TRIGGER outbox_changed AFTER UPDATE OF job ON outbox BEGIN
            UPDATE shedding SET bytes = bytes + length(NEW.job) - length(OLD.job); END""",
        """CREATE TRIGGER picture_posted AFTER INSERT ON pictures BEGIN
            UPDATE shedding SET bytes = bytes + length(NEW.data); END""",
        """CREATE TRIGGER picture_deleted AFTER DELETE ON pictures BEGIN
            UPDATE shedding SET bytes = bytes - length(OLD.data); END""",
    ):
        connection.exec_driver_sql(statement)


def _keep_order(connection: sa.Connection) -> None:
    """Add what keeps the order of each stream, and the time of parking."""
    job = "parked_because IS NULL AND drift_id IS NULL"
    for statement in (
        "ALTER TABLE outbox ADD COLUMN parked_at REAL",
        "ALTER TABLE outbox ADD COLUMN out_of_turn INTEGER NOT NULL DEFAULT 0",
        f"ALTER TABLE outbox ADD COLUMN stream TEXT GENERATED ALWAYS AS ({STREAM_OF_JOB}) VIRTUAL",
        "UPDATE outbox SET parked_at = posted_at, out_of_turn = 1 WHERE parked_because IS NOT NULL",
        "DROP INDEX outbox_jobs",
        "DROP INDEX outbox_parked",
        # With all that tells whether a job is due, so that those held back are passed over quickly.
        f"CREATE INDEX outbox_jobs ON outbox (id, stream, due_at, out_of_turn) WHERE {job}",
        f"CREATE INDEX outbox_streams ON outbox (stream, id) WHERE {job}",
        f"CREATE INDEX outbox_put_off ON outbox (due_at) WHERE {job} AND due_at > 0",
        "CREATE INDEX outbox_parked ON outbox (stream, id) WHERE parked_because IS NOT NULL",
        # For counting; the table itself is as large as the pictures.
        "CREATE INDEX pictures_of ON pictures (outbox_id)",
    ):
        connection.exec_driver_sql(statement)


def _add_answer_ages(connection: sa.Connection) -> None:
    """Add the table by which answers age, however the clock jumps."""
    connection.exec_driver_sql(
        """CREATE TABLE answer_ages (
            answer_id INTEGER PRIMARY KEY, elapsed REAL NOT NULL, boot TEXT NOT NULL,
            uptime REAL NOT NULL)"""
    )


def _add_repairs(connection: sa.Connection) -> None:
    """Add the table of damaged files that this file has replaced."""
    connection.exec_driver_sql(
        """CREATE TABLE repairs (
            id INTEGER PRIMARY KEY, at TEXT NOT NULL, kept_as TEXT NOT NULL, recovered TEXT NOT NULL)"""
    )


def _add_originals(connection: sa.Connection) -> None:
    """Add the table of kept originals."""
    for statement in (
        """CREATE TABLE originals (
            id INTEGER PRIMARY KEY, event TEXT NOT NULL, file TEXT NOT NULL, bytes INTEGER NOT NULL,
            upto INTEGER NOT NULL)""",
        "CREATE INDEX originals_event ON originals (event)",
    ):
        connection.exec_driver_sql(statement)


def _add_waiting(connection: sa.Connection) -> None:
    """Add the table of the reasons why the outbox waits."""
    connection.exec_driver_sql(
        "CREATE TABLE waiting (queue TEXT PRIMARY KEY, because TEXT NOT NULL, since REAL NOT NULL)"
    )


def _add_references(connection: sa.Connection) -> None:
    """Add the table of references whose clean pictures are sent."""
    connection.exec_driver_sql(
        """CREATE TABLE sent_references (
            experiment TEXT NOT NULL, digest TEXT NOT NULL, pictures INTEGER NOT NULL,
            sent INTEGER NOT NULL, because TEXT, PRIMARY KEY (experiment, digest))"""
    )


def _add_notes(connection: sa.Connection) -> None:
    """Add the table of annotations that wait to be sent."""
    connection.exec_driver_sql(
        """CREATE TABLE notes (
            id INTEGER PRIMARY KEY AUTOINCREMENT, posted_at REAL NOT NULL, due_at REAL NOT NULL,
            attempts INTEGER NOT NULL, because TEXT, body TEXT NOT NULL)"""
    )


def _add_sending(connection: sa.Connection) -> None:
    """Add the table of jobs that the server may have by now."""
    connection.exec_driver_sql(
        """CREATE TABLE sending (
            outbox_id INTEGER PRIMARY KEY REFERENCES outbox (id) ON DELETE CASCADE)"""
    )


def _add_baselines(connection: sa.Connection) -> None:
    """Add the tables of baselines that live, and of the pictures that renew them."""
    for statement in (
        """CREATE TABLE baseline_streams (
            stream TEXT PRIMARY KEY, origin TEXT NOT NULL, in_force INTEGER NOT NULL,
            first INTEGER NOT NULL, day REAL NOT NULL, evenings INTEGER NOT NULL, since REAL NOT NULL,
            testimony TEXT, because TEXT NOT NULL)""",
        """CREATE TABLE baselines (
            id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, origin TEXT NOT NULL,
            kind TEXT NOT NULL, at REAL NOT NULL, pictures INTEGER NOT NULL, first INTEGER NOT NULL,
            since REAL NOT NULL, undone REAL, document TEXT)""",
        "CREATE INDEX baselines_stream ON baselines (stream, id)",
        """CREATE TABLE baseline_pictures (
            id INTEGER PRIMARY KEY, stream TEXT NOT NULL, number INTEGER NOT NULL, at REAL NOT NULL,
            quiet INTEGER NOT NULL, data BLOB NOT NULL)""",
        "CREATE INDEX baseline_pictures_stream ON baseline_pictures (stream, at)",
        "CREATE INDEX baseline_pictures_number ON baseline_pictures (stream, number)",
    ):
        connection.exec_driver_sql(statement)


def _add_baseline_requests(connection: sa.Connection) -> None:
    """Add the table of what people on the tracking server ask for."""
    connection.exec_driver_sql(
        """CREATE TABLE baseline_requests (
            id TEXT PRIMARY KEY, stream TEXT NOT NULL, kind TEXT NOT NULL, baseline INTEGER,
            asked_at REAL NOT NULL, state TEXT NOT NULL, answer TEXT NOT NULL, told_at REAL)"""
    )


def _add_shadows(connection: sa.Connection) -> None:
    """Add the table of states under the reference in shadow."""
    connection.exec_driver_sql(
        "CREATE TABLE shadows (stream TEXT PRIMARY KEY, digest TEXT NOT NULL, state BLOB NOT NULL)"
    )


MIGRATIONS: tuple[Callable[[sa.Connection], None], ...] = (
    _create_tables,
    _name_answers,
    _add_collections,
    _add_shedding,
    _add_answer_ages,
    _add_repairs,
    _keep_order,
    _add_originals,
    _add_waiting,
    _add_references,
    _add_notes,
    _add_sending,
    _add_baselines,
    _add_baseline_requests,
    _add_shadows,
)
