"""The state of each stream, kept by the transactions that change jobs.

Jobs that arrive are folded into the state before them. A change or removal of a job that the state was made
of, or a job with an earlier arrival, has it made anew from the stream's newest jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from lenswatch.server.jobs.state_fold import Stream, fold
from lenswatch.server.jobs.state_job import Seen, read_job
from lenswatch.server.jobs.state_rebuild import rebuild
from lenswatch.server.jobs.state_rows import Row, read_rows, write
from lenswatch.server.jobs.state_span import Span

__all__ = ["keep_streams"]

Job = Mapping[Any, Any]


def keep_streams(
    connection: Connection, experiment: int, added: Sequence[Job], removed: Sequence[Job]
) -> None:
    """Bring the states of the streams of an experiment up to date.

    Args:
        connection: The transaction that changes the jobs and has moved the experiment's cursor.
        experiment: Number of the experiment.
        added: Rows of jobs that were stored, in the order of their arrival.
        removed: Rows of jobs that were deleted. A job that was changed is both.
    """
    arrived, gone = _by_stream(added), _by_stream(removed)
    rows = read_rows(connection, experiment, arrived.keys() | gone.keys())
    states: dict[str, Stream] = {}
    ended: list[tuple[str, Span]] = []
    for name in arrived.keys() | gone.keys():
        row, (new, old) = rows.get(name), _changes(arrived.get(name, []), gone.get(name, []))
        if not new and not old:
            continue
        if _must_rebuild(row, new, old):
            rebuild(connection, experiment, name, row, new, old)
            continue
        stream, closed = fold(row and row.stream, new)
        if stream is not None:
            states[name] = stream
            ended += ((name, span) for span in closed)
    write(connection, experiment, states, ended)


def _changes(new: list[Seen], old: list[Seen]) -> tuple[list[Seen], list[Seen]]:
    """Return what was added and removed, without jobs that say the same as before."""
    if not old:
        return new, old
    before = {seen.number: seen.shed for seen in old}
    changed = [seen for seen in new if seen not in old]
    return [
        replace(seen, shed=max(0, seen.shed - before.get(seen.number, 0))) for seen in changed
    ], [seen for seen in old if seen not in new]


def _by_stream(rows: Sequence[Job]) -> dict[str, list[Seen]]:
    found: dict[str, list[Seen]] = {}
    for row in rows:
        found.setdefault(row["stream"] or "", []).append(read_job(row))
    return found


def _must_rebuild(row: Row | None, new: list[Seen], old: list[Seen]) -> bool:
    """Return whether the jobs cannot be folded in: something counted that does not, or comes in between."""
    if row is None:
        return bool(old)
    stream = row.stream
    if row.stale or any(seen.letter for seen in old):
        return True
    if old and stream.state == "waiting" and not any(s.letter and not s.refused for s in new):
        return True  # perhaps nothing makes the stream any more
    newest = (stream.last_at or 0, stream.last_job or 0)
    return any(seen.letter and (seen.arrived, seen.number) <= newest for seen in new)
