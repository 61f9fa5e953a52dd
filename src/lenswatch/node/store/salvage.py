"""The recovery of rows from a damaged `node.db` into a new one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from lenswatch.node.store.pages import Pages, StoredRow, Value
from lenswatch.wire import EVENT_ID, STREAM

__all__ = ["DAMAGED", "Recovered", "salvage"]

DAMAGED = "damaged:"  # before the digest of a state that nobody should go on with
AT_ONCE = 1000  # rows in a transaction
SPARE_IDS = 1_000_000  # left out of the outbox when nothing tells which ids were in use

_KINDS = ("judged", "refused", "too large")


@dataclass
class Recovered:
    """Numbers of rows that were recovered.

    Attributes:
        jobs: Drift jobs, those that were parked too.
        parked: Drift jobs that were parked.
        pictures: Pictures of drift jobs.
        answers: Answers to event ids.
        streams: Streams whose alarm is known; their windows start anew.
        unreadable: Pages and rows that could not be read.
    """

    jobs: int = 0
    parked: int = 0
    pictures: int = 0
    answers: int = 0
    streams: int = 0
    unreadable: int = 0

    def to_json(self) -> str:
        """Return the numbers as a JSON object."""
        return json.dumps(asdict(self))

    def __str__(self) -> str:
        parked = f" ({self.parked} parked)" if self.parked else ""
        return (
            f"{self.jobs} drift jobs{parked}, {self.pictures} pictures, {self.answers} answers and the "
            f"alarms of {self.streams} streams were recovered, {self.unreadable} pages or rows were not"
        )


def salvage(pages: Pages, target: sqlite3.Connection) -> Recovered:
    """Copy all rows that can be read and that make sense into a new database.

    Jobs keep their ids and their order. They are marked as tried, so that a server which has one of them
    already is asked first.

    Args:
        pages: The damaged file.
        target: A connection without an open transaction to an empty file with the present schema.
    """
    statements = (row for stored in pages.rows() if (row := _insertion(stored)) is not None)
    _run(target, statements)
    pages.unreadable, unreadable = 0, pages.unreadable
    pictures = (row for stored in pages.rows() if (row := _picture(stored)) is not None)
    _run(target, pictures)
    _raise_ids(target)
    counted = (
        "SELECT (SELECT count(*) FROM outbox),"
        " (SELECT count(*) FROM outbox WHERE parked_because IS NOT NULL),"
        " (SELECT count(*) FROM pictures), (SELECT count(*) FROM answers),"
        " (SELECT count(DISTINCT stream) FROM windows)"
    )
    jobs, parked, kept_pictures, answers, streams = target.execute(counted).fetchone()
    return Recovered(jobs, parked, kept_pictures, answers, streams, unreadable)


_Insertion = tuple[str, tuple[Value, ...]]


def _run(target: sqlite3.Connection, statements: Iterator[_Insertion]) -> None:
    while some := list(islice(statements, AT_ONCE)):
        target.execute("BEGIN IMMEDIATE")
        for sql, values in some:
            target.execute(sql, values)
        target.execute("COMMIT")


def _insertion(stored: StoredRow) -> _Insertion | None:
    """Return the statement that writes a row again; None if it is damaged or not needed."""
    values = stored.values
    maker = _MAKERS.get(min(len(values), 8))  # later versions may have added columns to the outbox
    return None if maker is None else maker(stored.rowid, values)


def _job(rowid: int, values: tuple[Value, ...]) -> _Insertion | None:
    match values:
        case (
            None,
            int() | float(),
            int() | float(),
            int(),
            int(),
            drift_id,
            parked,
            str() as job,
            *later,
        ):
            document = _object(job)
            parameters = document.get("parameters")
            if "job_status" not in document or not isinstance(parameters, Mapping):
                return None
            if not all(each is None or isinstance(each, str) for each in (drift_id, parked)):
                return None
            # A file holds added columns last, and one of an earlier version lacks them.
            added = [*later, *(0, 0, None, 0)[len(later) :]]
            clean, thinned, parked_at, out_of_turn = added[:4]
            if parked is not None:
                parked_at, out_of_turn = parked_at or values[1], 1
            kept = (rowid, values[1], drift_id, parked, job, clean, thinned, parked_at, out_of_turn)
            return (
                "INSERT OR IGNORE INTO outbox (id, posted_at, due_at, attempts, tried, drift_id,"
                " parked_because, job, clean, thinned, parked_at, out_of_turn)"
                " VALUES (?, ?, 0, 0, 1, ?, ?, ?, ?, ?, ?, ?)",
                kept,
            )
    return None


def _answer_or_window(rowid: int, values: tuple[Value, ...]) -> _Insertion | None:
    match values:
        case (None, str() as event_id, int() | float(), str() as kind, str() as body):
            if kind not in _KINDS or not EVENT_ID.match(event_id) or not _object(body):
                return None
            columns = "id, event_id, answered_at, kind, body"
            return (
                f"INSERT OR IGNORE INTO answers ({columns}) VALUES (?, ?, ?, ?, ?)",
                (rowid, *values[1:]),
            )
        case (str() as stream, str() as digest, int(), int() | float(), bytes()):
            if not STREAM.match(stream):
                return None
            marked = (stream, DAMAGED + digest.removeprefix(DAMAGED), *values[2:])
            columns = "stream, digest, images, updated_at, state"
            newest = (
                "state = excluded.state, images = excluded.images, updated_at = excluded.updated_at"
            )
            return (
                f"INSERT INTO windows ({columns}) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
                f" SET {newest} WHERE excluded.updated_at > updated_at",
                marked,
            )
    return None


def _note(rowid: int, values: tuple[Value, ...]) -> _Insertion | None:
    match values:
        case (None, int() | float(), int() | float(), int(), str() | None, str() as body):
            if not {"id", "kind"} <= _object(body).keys():
                return None
            return (
                "INSERT OR IGNORE INTO notes (id, posted_at, due_at, attempts, because, body)"
                " VALUES (?, ?, 0, ?, ?, ?)",
                (rowid, values[1], *values[3:]),
            )
    return None


def _experiment_or_gap(_rowid: int, values: tuple[Value, ...]) -> _Insertion | None:
    match values:
        case (str() as stream, int(), int() | float()) if STREAM.match(stream):
            return ("INSERT OR IGNORE INTO gaps (stream, jobs, since) VALUES (?, ?, ?)", values)
        case (str(), str(), str()):
            return ("INSERT OR IGNORE INTO experiments (url, name, id) VALUES (?, ?, ?)", values)
    return None


def _collection_or_sequence(_rowid: int, values: tuple[Value, ...]) -> _Insertion | None:
    match values:
        case (str() as stream, str() as state) if STREAM.match(stream) and _object(state):
            return ("INSERT OR IGNORE INTO collections (stream, state) VALUES (?, ?)", values)
        case ("outbox", int()):
            return ("UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1", values)
    return None


def _collected_or_repair(_rowid: int, values: tuple[Value, ...]) -> _Insertion | None:
    match values:
        case (None, str(), str(), str()):
            return ("INSERT INTO repairs (at, kept_as, recovered) VALUES (?, ?, ?)", values[1:])
        case (str() as stream, str(), int() | float(), str()) if STREAM.match(stream):
            columns = "stream, digest, taken, file"
            return (f"INSERT OR IGNORE INTO collected ({columns}) VALUES (?, ?, ?, ?)", values)
    return None


def _shed_counts(rowid: int, values: tuple[Value, ...]) -> _Insertion | None:
    match values:
        case (None, int(), int(), int(), int(), since, int() | float() | None) if rowid == 1:
            if not isinstance(since, int | float | None):
                return None
            return (
                "UPDATE shedding SET pictures = max(pictures, ?), jobs = max(jobs, ?),"
                " unrecorded = max(unrecorded, ?), since = ?, last = ?",
                values[2:],
            )
    return None


def _picture(stored: StoredRow) -> _Insertion | None:
    match stored.values:
        case (None, bytes() as data):
            return (
                "INSERT OR IGNORE INTO pictures (outbox_id, data)"
                " SELECT id, ?2 FROM outbox WHERE id = ?1",
                (stored.rowid, data),
            )
    return None


_MAKERS: Mapping[int, Callable[[int, tuple[Value, ...]], _Insertion | None]] = {
    8: _job,
    7: _shed_counts,
    6: _note,
    5: _answer_or_window,
    4: _collected_or_repair,
    3: _experiment_or_gap,
    2: _collection_or_sequence,
}


def _object(text: str) -> Mapping[str, Any]:
    """Return a JSON object; an empty one if the text is something else."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _raise_ids(target: sqlite3.Connection) -> None:
    """Let new jobs have ids above all of the old file: an acknowledgement may still name one of those."""
    ((sequence,),) = target.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
    ((largest,),) = target.execute("SELECT coalesce(max(id), 0) FROM outbox")
    if sequence <= largest:  # the old file's count is lost
        target.execute(
            "UPDATE sqlite_sequence SET seq = ? WHERE name = 'outbox'", (largest + SPARE_IDS,)
        )
