"""The state of a stream made anew from its newest jobs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete, or_, select, update

from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import cursors, drifts, events, pictures, streams
from lenswatch.server.jobs.state_events import agree
from lenswatch.server.jobs.state_fold import Stream, fold, known, settled
from lenswatch.server.jobs.state_job import Seen
from lenswatch.server.jobs.state_newest import Newest, of_stream, read_newest
from lenswatch.server.jobs.state_rows import Row, forget, is_described, read_rows, span_of, write
from lenswatch.server.jobs.state_span import Span

__all__ = ["MOST", "lock", "rebuild", "refresh", "start_of"]

_FEW = 200  # jobs, enough for letters, gaps and most states
MOST = 2000  # jobs that are looked at to find since when a state holds
_AT_ONCE = 100  # streams looked up together


def rebuild(
    connection: Connection,
    experiment: int,
    name: str,
    row: Row | None,
    new: Sequence[Seen] = (),
    old: Sequence[Seen] = (),
) -> None:
    """Make the state of a stream anew.

    Args:
        connection: A transaction that has locked the experiment's cursor.
        experiment: Number of the experiment.
        name: The stream.
        row: Its state before, or None.
        new: Jobs that were added since.
        old: Jobs that were removed since.
    """
    stale = row is not None and row.stale
    newest, stream, ended = _fold(connection, experiment, name, stale)
    if stream is None:
        if row is None or not is_described(connection, experiment, name):
            forget(connection, experiment, name)
            return
        stream = known(row.stream.first_at)
    begin = None if newest.whole else newest.begin
    change = sum(1 for seen in new if seen.letter) - sum(1 for seen in old if seen.letter)
    stored = _stored(connection, experiment, name, begin)
    kept, gone = agree([*ended, *stream.spans], stored, begin, change)
    connection.execute(delete(events).where(events.c.number.in_(gone)))
    stream = replace(stream, spans=tuple(span for span in kept if span.ended_at is None))
    ended = [span for span in kept if span.ended_at is not None]
    before = None if row is None or stale else row.stream
    stream = _since_before(stream, newest, before)
    if row is not None:
        stream = _carried(stream, row.stream, new, change, stale=stale)
    stream, silence = _still_silent(stream, before, newest)
    ended += silence
    stream = replace(stream, first_at=newest.first_at or stream.first_at)
    write(connection, experiment, {name: settled(stream)}, [(name, span) for span in ended])
    _find_picture(connection, experiment, name)


def refresh(database: Database, stopping: threading.Event | None = None) -> None:
    """Make the states anew that a migration left to be found.

    Each has a transaction of its own, since it may take a second, for which writers wait.
    """
    query = select(streams.c.experiment, streams.c.stream).where(streams.c.stale.is_(True))
    while True:
        with database.read() as connection:
            found = connection.execute(query.order_by(*streams.primary_key).limit(_AT_ONCE)).all()
        if not found:
            return
        for experiment, name in found:
            if stopping and stopping.is_set():
                return
            with database.write() as connection:
                if lock(connection, experiment):
                    _refresh(connection, experiment, name)


def _refresh(connection: Connection, experiment: int, name: str) -> None:
    for row in read_rows(connection, experiment, [name]).values():
        if row.stale:
            rebuild(connection, experiment, name, row)


def lock(connection: Connection, experiment: int) -> bool:
    """Move the experiment's cursor as each change does; return whether the experiment is there."""
    move = update(cursors).where(cursors.c.experiment == experiment)
    moved = connection.execute(move.values(seq=cursors.c.seq + 1).returning(cursors.c.seq))
    return moved.first() is not None


def _fold(
    connection: Connection, experiment: int, name: str, stale: bool
) -> tuple[Newest, Stream | None, list[Span]]:
    """Fold in as many of the newest jobs as tell since when the state holds."""
    for most in (MOST,) if stale else (_FEW, MOST):
        newest = read_newest(connection, experiment, name, most)
        stream, ended = fold(start_of(newest), newest.jobs)
        if newest.whole or stream is None or stream.since != newest.begin:
            break
    return newest, stream, ended


def start_of(newest: Newest) -> Stream | None:
    """Return the state before the newest jobs of a stream; None if nothing made the stream before."""
    return None if newest.whole and not newest.late else known()


def _stored(connection: Connection, experiment: int, name: str, begin: int | None) -> list[Span]:
    here = (events.c.experiment == experiment) & (events.c.stream == name)
    query = select(events).where(here, events.c.kind != "silent").order_by(events.c.begun_at)
    if begin is not None:
        query = query.where(or_(events.c.ended_at.is_(None), events.c.ended_at >= begin))
    return [span_of(row) for row in connection.execute(query).mappings()]


def _since_before(stream: Stream, newest: Newest, before: Stream | None) -> Stream:
    """Return the state with the moments that lie before the jobs that were looked at."""
    if newest.whole:
        return stream
    known_since = {span.kind: span for span in stream.spans}
    if stream.verdict_since == newest.begin:
        span = known_since.get(stream.verdict or "")
        if span is not None:
            stream = replace(stream, verdict_since=span.begun_at)
        elif before is not None and before.verdict == stream.verdict:
            stream = replace(stream, verdict_since=before.verdict_since)
    if stream.failed_at == newest.begin and "failing" in known_since:
        span = known_since["failing"]
        stream = replace(stream, failed_at=span.begun_at, failed_job=span.first_job)
    failing = stream.state == "failing"
    return replace(stream, since=stream.failed_at if failing else stream.verdict_since)


def _carried(
    stream: Stream, before: Stream, new: Sequence[Seen], change: int, *, stale: bool
) -> Stream:
    """Return the state with all that the stream's newest jobs do not tell."""
    stream = replace(stream, retired_at=before.retired_at, interval_set=before.interval_set)
    if stale:
        return stream
    if (stream.state, stream.since) == (before.state, before.since):
        who = before.acknowledged_by
        stream = replace(stream, acknowledged_at=before.acknowledged_at, acknowledged_by=who)
    return replace(
        stream,
        shed=before.shed + sum(seen.shed for seen in new),
        judged=before.judged + max(0, change),
        undecided=before.undecided + 1,
    )


def _still_silent(
    stream: Stream, before: Stream | None, newest: Newest
) -> tuple[Stream, list[Span]]:
    """Return the state that is still silent unless a job came after, and the silence that ended."""
    silent = [span for span in before.spans if span.kind == "silent"] if before else []
    if not before or not silent:
        return stream, []
    if (stream.last_at or 0) > (before.last_at or 0):
        last = next(seen for seen in reversed(newest.jobs) if seen.letter)
        return stream, [span.ended_by(last) for span in silent]
    spans = (*stream.spans, *silent)
    return replace(stream, silent_since=before.silent_since, spans=spans), []


def _find_picture(connection: Connection, experiment: int, name: str) -> None:
    """Find the newest of the newest jobs that has a picture."""
    here = (drifts.c.experiment == experiment) & of_stream(name) & drifts.c.late.is_(False)
    order = (drifts.c.created_at.desc(), drifts.c.number.desc())
    newest = select(drifts.c.number, drifts.c.created_at).where(here).order_by(*order).limit(MOST)
    jobs = newest.subquery("jobs")
    last = select(jobs.c.number).join(pictures, pictures.c.drift == jobs.c.number)
    last = last.order_by(jobs.c.created_at.desc(), jobs.c.number.desc()).limit(1)
    row = (streams.c.experiment == experiment) & (streams.c.stream == name)
    connection.execute(update(streams).where(row).values(last_pictured=last.scalar_subquery()))
