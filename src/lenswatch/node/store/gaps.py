"""The gaps of the outbox: drift jobs that were not kept, by stream, and counts of all that went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from lenswatch.node.store.dialects import outbox_bytes
from lenswatch.node.store.statement import Statement
from lenswatch.node.store.tables import gaps, shedding

__all__ = ["Gap", "ShedCounts", "add_gap", "note_unrecorded", "shed_counts", "take_gap"]

_GAP = Statement(
    sa.select(gaps.c.jobs, gaps.c.since).where(gaps.c.stream == sa.bindparam("of_stream"))
)


@dataclass(frozen=True)
class Gap:
    """Drift jobs of a stream that are missing before one that is there.

    Attributes:
        jobs: Their number.
        since: Time of the first of them, in seconds since 1970.
    """

    jobs: int
    since: float

    def to_json(self) -> dict[str, Any]:
        """Return the parameter `shed` of a drift job."""
        since = datetime.fromtimestamp(self.since, UTC).isoformat(timespec="milliseconds")
        return {"jobs": self.jobs, "since": since.replace("+00:00", "Z")}

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Gap | None:
        """Return the gap before the job with these parameters, or None."""
        shed = parameters.get("shed")
        if not isinstance(shed, dict):
            return None
        return cls(int(shed["jobs"]), datetime.fromisoformat(shed["since"]).timestamp())

    def __add__(self, other: Gap | None) -> Gap:
        if other is None:
            return self
        return Gap(self.jobs + other.jobs, min(self.since, other.since))


@dataclass(frozen=True)
class ShedCounts:
    """Size of the outbox, and what had to go.

    Attributes:
        bytes: Bytes of the jobs and pictures that wait.
        pictures: Pictures shed so far.
        jobs: Jobs shed so far.
        unrecorded: Pictures that were judged, but not recorded, so far.
        since: Time since which space is short, in UTC; None while there is enough.
        last: Time at which something was shed last, in UTC; None if never.
    """

    bytes: int
    pictures: int
    jobs: int
    unrecorded: int
    since: datetime | None
    last: datetime | None


def add_gap(connection: sa.Connection, stream: str, gap: Gap) -> None:
    """Note that drift jobs of a stream are missing before its next one."""
    before = take_gap(connection, stream)
    row = {"stream": stream, **vars(gap + before)}
    connection.execute(sa.insert(gaps), row)


def take_gap(connection: sa.Connection, stream: str) -> Gap | None:
    """Return the drift jobs that are missing before the next one of a stream, and forget them."""
    row = _GAP(connection, {"of_stream": stream}).fetchone()
    if row is None:
        return None
    connection.execute(sa.delete(gaps).where(gaps.c.stream == stream))
    return Gap(*row)


def note_unrecorded(connection: sa.Connection, stream: str, gap: Gap) -> None:
    """Count pictures of a stream that were judged while nothing could be written."""
    connection.execute(sa.update(shedding).values(unrecorded=shedding.c.unrecorded + gap.jobs))
    add_gap(connection, stream, gap)


def shed_counts(connection: sa.Connection) -> ShedCounts:
    """Return the size of the outbox, and what had to go."""
    size = outbox_bytes(shedding.c.bytes).label("size")
    row = connection.execute(sa.select(size, shedding)).one()
    numbers = (row.size, row.pictures, row.jobs, row.unrecorded)
    return ShedCounts(*numbers, _time(row.since), _time(row.last))


def _time(stamp: float | None) -> datetime | None:
    return None if stamp is None else datetime.fromtimestamp(stamp, UTC)
