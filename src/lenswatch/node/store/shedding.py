"""A bounded outbox: what goes when `storage.max_bytes` or the last of the disk is reached.

Pictures go first, the oldest first. Then jobs of clean pictures are thinned: every second one of a stream,
the oldest first, and all of them once before any of them twice, so that the series keeps its shape. A job
with a verdict never goes: drift, a warning, a failure, the beginning and the end of an alarm. A new one that
nothing can make room for takes some of the reserve. On a disk that
is nearly full, the answers that are kept for retries go before all that, except the newest.

A job that lost its picture says so in its parameter `picture_shed`, and the next job of a stream after some
that went tells their number in `shed`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from lenswatch.node.store.database import stored_json
from lenswatch.node.store.dialects import outbox_bytes, with_flag
from lenswatch.node.store.gaps import Gap
from lenswatch.node.store.reserve import Reserve, free_bytes, total_bytes
from lenswatch.node.store.statement import Statement
from lenswatch.node.store.tables import answers, outbox, pictures, sending, shedding

__all__ = ["Room", "Shedder"]

DISK_SHARE = 0.05  # of the disk, which an outbox does not use
SMALL_BYTES = 16 * 2**20  # of an outbox that may use it nevertheless: sending needs some
LEAST_FREE_BYTES = 8 * 2**20  # that even a small outbox leaves
STEP_BYTES = 256 * 1024  # shed at once, so that not every picture has to
SLACK_BYTES = 10 * 4096  # for the answer, the window, and the pages of indexes
PICTURES_AT_ONCE = 16
ANSWERS_AT_ONCE = 64
LEAST_ANSWERS = 200  # that stay for retries on a full disk
SPAN = 512  # jobs that are thinned together at first
ENOUGH = 0.5  # of the limit: a fuller outbox is still short of space

Shed = Callable[[sa.Connection, int, dict[str, int]], int]
Kept = Literal["all", "no picture", "nothing"]

_SIZE = Statement(sa.select(outbox_bytes(shedding.c.bytes), shedding.c.since))
_OLDEST_PICTURES = (
    sa.select(pictures.c.outbox_id, sa.func.length(pictures.c.data))
    .order_by(pictures.c.outbox_id)
    .limit(PICTURES_AT_ONCE)
)
_OLDEST_ANSWERS = (
    sa.select(answers.c.id, sa.func.length(answers.c.body))
    .where(answers.c.id <= sa.select(sa.func.max(answers.c.id)).scalar_subquery() - LEAST_ANSWERS)
    .order_by(answers.c.id)
    .limit(ANSWERS_AT_ONCE)
)
_IDS: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
_WITHOUT_PICTURE = (
    sa.update(outbox)
    .where(outbox.c.id.in_(_IDS))
    .values(job=with_flag(outbox.c.job, "picture_shed"))
)
# Not what the server may have by now: it would be counted as missing although it is there.
_MAY_GO = (
    *(outbox.c.clean, outbox.c.parked_because.is_(None), outbox.c.drift_id.is_(None)),
    outbox.c.id.not_in(sa.select(sending.c.outbox_id)),
)
_THINNABLE = (
    sa.select(outbox.c.id, outbox.c.thinned, outbox.c.posted_at, outbox.c.job)
    .where(*_MAY_GO)
    .order_by(outbox.c.thinned, outbox.c.id)
    .limit(sa.bindparam("at_most"))
)


@dataclass(frozen=True)
class Room:
    """The room that was made for a new job.

    Attributes:
        kept: Parts of the job that can be kept.
        reason: What is short; empty if nothing is.
        notice: A message for the log; empty unless something has begun or ended.
    """

    kept: Kept
    reason: str = ""
    notice: str = ""


class Shedder:
    """The limits of an outbox, and the shedding that keeps it within them.

    Args:
        folder: The folder of the database.
        max_bytes: Bytes of jobs and pictures; None for as many as the disk takes.
        reserve: Space of which jobs with a verdict may take some.
        on_disk: The database is on the folder's disk, which must not become full.
    """

    def __init__(
        self, folder: Path, max_bytes: int | None, reserve: Reserve, *, on_disk: bool = True
    ) -> None:
        self._folder = folder
        self._on_disk = on_disk
        self._reserve = reserve
        self.max_bytes = max_bytes

    def make_room(
        self,
        connection: sa.Connection,
        job: int,
        picture: int,
        now: float,
        leaving: int | None = None,
    ) -> Room:
        """Shed what has to go for a new job.

        Args:
            connection: A write transaction.
            job: Bytes of the job.
            picture: Bytes of its picture; 0 without one.
            now: The present time in seconds since 1970.
            leaving: Pieces of the reserve that the job may not take; None if it may take none.
        """
        size, since = _SIZE(connection, {}).fetchone()
        if self._lack(connection, size, job + picture) <= 0:
            if since is None or not self._is_enough(size):
                return Room("all")
            connection.execute(sa.update(shedding).values(since=None))
            return Room("all", notice="drift jobs and pictures are kept again: there is space")
        counts = {"pictures": 0, "jobs": 0, "unrecorded": 0}
        tight = self.is_tight(size + job + picture)
        if tight and self._free(connection, job + picture, _shed_answers, counts):
            return Room("all")
        kept = self._shed(connection, job, picture, counts, leaving)
        values = {name: shedding.c[name] + number for name, number in counts.items()}
        begun = now if since is None else since
        connection.execute(sa.update(shedding).values(since=begun, last=now, **values))
        reason = self.limit(size + job + picture)
        return Room(kept, reason, _notice(size, reason) if since is None else "")

    def limit(self, size: int) -> str:
        """Return the limit that an outbox of this size has met, in words."""
        if self.max_bytes is not None and not self.is_tight(size):
            return f"storage.max_bytes = {self.max_bytes} is reached"
        return f"the disk of {self._folder} has {free_bytes(self._folder) >> 20} MiB left"

    def _shed(
        self,
        connection: sa.Connection,
        job: int,
        picture: int,
        counts: dict[str, int],
        leaving: int | None,
    ) -> Kept:
        if self._free(connection, job + picture, _shed_pictures, counts):
            return "all"
        if not self._free(connection, job, _shed_jobs, counts) and not self._lends(
            connection, job, leaving
        ):
            counts["unrecorded"] += 1
            return "nothing"
        counts["pictures"] += bool(picture)
        return "no picture" if picture else "all"

    def _lends(self, connection: sa.Connection, job: int, leaving: int | None) -> bool:
        """Return True when a job may take space that is kept for sending, and give it some if needed."""
        size, needed = _size(connection), job + SLACK_BYTES
        if leaving is None or (self.max_bytes is not None and size + job > self.max_bytes):
            return False
        if free_bytes(self._folder) < needed:
            self._reserve.release(leaving)
        lent = self._reserve.held < self._reserve.size
        return (lent or size <= SMALL_BYTES) and free_bytes(self._folder) >= needed

    def _free(
        self, connection: sa.Connection, new: int, shed: Shed, counts: dict[str, int]
    ) -> bool:
        """Shed until something new fits and a step more, and return True if it fits at least."""
        more, step = True, min(STEP_BYTES, _size(connection) // 100)
        while more and (lack := self._lack(connection, _size(connection), new)) > 0:
            wanted = lack + step
            while more and wanted > 0:
                freed = shed(connection, wanted, counts)
                more, wanted = freed > 0, wanted - freed
        return self._lack(connection, _size(connection), new) <= 0

    def _lack(self, connection: sa.Connection, size: int, new: int) -> int:
        """Return the bytes that have to go before something new fits; 0 or less if it does."""
        over = 0 if self.max_bytes is None else size + new - self.max_bytes
        if not self.is_tight(size + new):
            return over
        free_pages = int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())
        page = int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
        return max(over, new + SLACK_BYTES - free_pages * page)

    def is_tight(self, size: int = 0) -> bool:
        """Return True when an outbox of this size must not grow, since the disk is nearly full."""
        if not self._on_disk:
            return False
        total = total_bytes(self._folder)
        least = min(LEAST_FREE_BYTES, total // 16)
        if size > SMALL_BYTES:
            least = max(least, int(DISK_SHARE * total))
        return free_bytes(self._folder) < least

    def _is_enough(self, size: int) -> bool:
        full = self.max_bytes is not None and size > ENOUGH * self.max_bytes
        return not full and not self.is_tight(2 * SMALL_BYTES)


def _notice(size: int, reason: str) -> str:
    return (
        f"{reason}, and {size} bytes wait to be sent: the oldest pictures are given up, then every "
        "second job of clean pictures; `lenswatch status` counts them"
    )


def _shed_answers(connection: sa.Connection, wanted: int, _counts: dict[str, int]) -> int:
    """Delete a few of the oldest answers, and return the bytes that were freed; 0 if none may go.

    They are kept for a week, for retries, which come within minutes. They take as much space as the jobs.
    """
    freed, ids = 0, []
    for number, size in connection.execute(_OLDEST_ANSWERS):
        if freed < wanted:
            freed += size
            ids.append(number)
    connection.execute(sa.delete(answers).where(answers.c.id.in_(ids)))
    return freed


def _shed_pictures(connection: sa.Connection, wanted: int, counts: dict[str, int]) -> int:
    """Delete a few of the oldest pictures, and return the bytes that were freed; 0 if there is none."""
    freed, ids = 0, []
    for number, size in connection.execute(_OLDEST_PICTURES):
        if freed < wanted:
            freed += size
            ids.append(number)
    arrived = sa.delete(outbox).where(outbox.c.id.in_(ids), outbox.c.drift_id.is_not(None))
    connection.execute(sa.delete(pictures).where(pictures.c.outbox_id.in_(ids)))
    connection.execute(arrived)  # the server has the job
    connection.execute(_WITHOUT_PICTURE, {"ids": ids})
    counts["pictures"] += len(ids)
    return freed


def _shed_jobs(connection: sa.Connection, wanted: int, counts: dict[str, int]) -> int:
    """Thin some jobs of clean pictures, and return the bytes that were freed; 0 if none may go."""
    span = SPAN
    while True:
        rows = connection.execute(_THINNABLE, {"at_most": span}).all()
        freed = _thin(connection, rows, wanted, counts)
        if freed or len(rows) < span:
            return freed
        span *= 4


def _thin(
    connection: sa.Connection, rows: Sequence[Any], wanted: int, counts: dict[str, int]
) -> int:
    """Delete the first of each two jobs of a stream, and return the bytes that were freed.

    Args:
        connection: A write transaction.
        rows: Rows of `_THINNABLE`. Only those that were thinned least are taken, if there are any two.
        wanted: Bytes after which it ends.
        counts: The number of jobs is added here.
    """
    first: dict[str, Any] = {}  # of a pair, by stream
    gone: list[int] = []
    freed, level = 0, -1
    for row in rows:
        if freed >= wanted or (gone and row.thinned != level):
            break
        if row.thinned != level:
            first, level = {}, row.thinned
        parameters = stored_json(row.job)["parameters"]
        stream = str(parameters.get("stream", ""))
        if stream not in first:
            first[stream] = row, parameters
            continue
        older, before = first.pop(stream)
        freed += _merge(connection, older, row, Gap.of(before), Gap.of(parameters))
        gone.append(older.id)
    if gone:
        connection.execute(sa.delete(outbox).where(outbox.c.id.in_(_IDS)), {"ids": gone})
    counts["jobs"] += len(gone)
    return freed


def _merge(
    connection: sa.Connection, older: Any, newer: Any, before: Gap | None, between: Gap | None
) -> int:
    """Let the newer of two jobs tell that the older one is missing, and return the bytes it takes less."""
    gap = Gap(1, older.posted_at) + before + between
    document = stored_json(newer.job)
    document["parameters"]["shed"] = gap.to_json()
    text = json.dumps(document, separators=(",", ":"))
    values = {"job": text, "thinned": newer.thinned + 1}
    connection.execute(sa.update(outbox).where(outbox.c.id == newer.id).values(values))
    return len(older.job) + len(newer.job) - len(text)


def _size(connection: sa.Connection) -> int:
    return int(_SIZE(connection, {}).fetchone()[0])
