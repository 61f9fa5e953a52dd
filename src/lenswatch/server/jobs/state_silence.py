"""Silence: streams of which nothing came for as long as three times their usual interval.

It is measured by the arrival of jobs, on the clock of the server.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, select, update

from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import streams
from lenswatch.server.jobs.state_fold import Stream
from lenswatch.server.jobs.state_rebuild import lock
from lenswatch.server.jobs.state_rows import read_rows, write
from lenswatch.server.jobs.state_span import Span
from lenswatch.server.values import stamps

__all__ = ["find_silent", "postpone", "silent"]

_AT_ONCE = 500  # streams of one transaction


def find_silent(database: Database, stopping: threading.Event) -> None:
    """Mark the streams that have become silent."""
    while not stopping.is_set():
        now = stamps.now()
        query = select(streams.c.experiment, streams.c.stream).where(streams.c.due_at <= now)
        with database.read() as connection:
            due = connection.execute(query.order_by(*streams.primary_key).limit(_AT_ONCE)).all()
        for experiment, rows in itertools.groupby(due, key=lambda row: int(row.experiment)):
            with database.write() as connection:
                if lock(connection, experiment):
                    _mark(connection, experiment, [row.stream for row in rows], now)
        if len(due) < _AT_ONCE:
            return


def postpone(connection: Connection, ended: int) -> None:
    """Leave out the time since `ended`, in which no server could receive anything."""
    away = stamps.now() - ended
    if away > 0:
        due = streams.c.due_at.is_not(None)
        connection.execute(update(streams).where(due).values(due_at=streams.c.due_at + away))


def silent(stream: Stream) -> Stream:
    """Return the state of a stream that is overdue; it is silent since the arrival of its last job."""
    since = stream.last_at or 0
    span = Span("silent", since, first_job=stream.last_job)
    return replace(
        stream,
        due_at=None,
        silent_since=since,
        spans=(*stream.spans, span),
        acknowledged_at=None,
        acknowledged_by=None,
        undecided=stream.undecided + 1,
    )


def _mark(connection: Connection, experiment: int, names: Sequence[str], now: int) -> None:
    rows = read_rows(connection, experiment, names)
    overdue = {
        name: silent(row.stream)
        for name, row in rows.items()
        if row.stream.due_at is not None
        and row.stream.due_at <= now  # a job may have come meanwhile
    }
    write(connection, experiment, overdue, [])
