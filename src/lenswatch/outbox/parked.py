"""Parked jobs: rows of the outbox that are not sent until somebody decides so, or a day is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from lenswatch.node.store.database import stored_json
from lenswatch.node.store.dialects import text_of
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.tables import outbox

__all__ = ["Parked", "ParkedGroup", "ParkedJobs", "Selection"]

CLOCK_STEP_SECONDS = 3600.0  # a job that was parked further in the future: the clock was set back

_PARKED = outbox.c.parked_because.is_not(None)
_parked_at = sa.func.coalesce(outbox.c.parked_at, outbox.c.posted_at)
_event_id = text_of(outbox.c.job, "event_id")


@dataclass(frozen=True)
class Parked:
    """A drift job, or a picture of a stored one, that is not sent, with the reason."""

    id: int
    event_id: str
    stream: str
    posted_at: datetime  # UTC
    parked_at: datetime  # UTC
    reason: str
    picture_only: bool  # the job itself was stored


@dataclass(frozen=True)
class ParkedGroup:
    """Parked jobs that have one reason."""

    reason: str
    jobs: int
    oldest: datetime  # UTC; time of the first parking


@dataclass(frozen=True)
class Selection:
    """Which parked jobs; each condition that is given must hold.

    Attributes:
        ids: Row ids.
        event_ids: Event ids.
        stream: Name of the stream.
        reason: Text in the reason, in any letter case; `*` stands for any characters.
        parked_until: Seconds since 1970; jobs that were parked later are left out.
    """

    ids: Sequence[int] | None = None
    event_ids: Sequence[str] | None = None
    stream: str | None = None
    reason: str | None = None
    parked_until: float | None = None

    @property
    def is_narrow(self) -> bool:
        """True when a condition is given, other than the time."""
        given = (self.ids, self.event_ids, self.stream, self.reason)
        return any(each is not None for each in given)

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on rows of the outbox."""
        found: list[sa.ColumnElement[bool]] = [_PARKED]
        if self.ids is not None:
            found.append(outbox.c.id.in_(list(self.ids)))
        if self.event_ids is not None:
            found.append(_event_id.in_(list(self.event_ids)))
        if self.stream is not None:
            found.append(outbox.c.stream == self.stream)
        if self.reason is not None:
            escaped = self.reason
            for special in "\\%_":
                escaped = escaped.replace(special, f"\\{special}")
            like = outbox.c.parked_because.ilike(f"%{escaped.replace('*', '%')}%", escape="\\")
            found.append(like)
        if self.parked_until is not None:
            found.append(sa.func.coalesce(outbox.c.parked_at, 0.0) <= self.parked_until)
        return found


ALL = Selection()


class ParkedJobs:
    """Reads and writes of parked jobs. Each method is one transaction; a running node may go on meanwhile."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store

    def find(self, selection: Selection = ALL, at_most: int = 100) -> list[Parked]:
        """Return the oldest selected jobs."""
        columns = (
            outbox.c.id,
            outbox.c.job,
            outbox.c.posted_at,
            outbox.c.parked_at,
            outbox.c.parked_because,
            outbox.c.drift_id,
        )
        statement = sa.select(*columns).where(*selection.conditions())
        with self._store.read() as connection:
            rows = connection.execute(statement.order_by(outbox.c.id).limit(at_most))
            return [_parked(*row) for row in rows]

    def count(self, selection: Selection = ALL) -> int:
        """Return the number of selected jobs."""
        statement = sa.select(sa.func.count()).select_from(outbox).where(*selection.conditions())
        with self._store.read() as connection:
            return int(connection.execute(statement).scalar_one())

    def groups(self, at_most: int = 5) -> list[ParkedGroup]:
        """Return the reasons with their numbers of jobs, the most frequent first."""
        jobs = sa.func.count().label("jobs")
        statement = (
            sa.select(outbox.c.parked_because, jobs, sa.func.min(_parked_at))
            .where(_PARKED)
            .group_by(outbox.c.parked_because)
            .order_by(jobs.desc(), outbox.c.parked_because)
            .limit(at_most)
        )
        with self._store.read() as connection:
            return [
                ParkedGroup(reason, number, datetime.fromtimestamp(oldest, UTC))
                for reason, number, oldest in connection.execute(statement)
            ]

    def retry(self, selection: Selection = ALL) -> int:
        """Let the selected jobs be sent again, and return their number."""
        return self._retry(selection.conditions(), attempts=0)

    def retry_old(self, seconds: float, attempts: int, at_most: int) -> int:
        """Let jobs that were parked `seconds` ago be sent once more, and return their number.

        The time is kept in the row, so that a restart changes nothing.

        Args:
            seconds: Time since a job was parked last.
            attempts: Failed attempts that are counted already.
            at_most: Number of jobs, the oldest first.
        """
        now = self._store.clock()
        parked_at = sa.func.coalesce(outbox.c.parked_at, 0.0)
        is_old = sa.or_(parked_at <= now - seconds, parked_at > now + CLOCK_STEP_SECONDS)
        with self._store.read() as connection:
            found = sa.select(outbox.c.id).where(_PARKED, is_old).order_by(outbox.c.id)
            ids = list(connection.execute(found.limit(at_most)).scalars())
        return self._retry([_PARKED, outbox.c.id.in_(ids)], attempts) if ids else 0

    def drop(self, selection: Selection = ALL) -> int:
        """Delete the selected jobs with their pictures, and return their number."""
        with self._store.begin() as transaction:
            statement = sa.delete(outbox).where(*selection.conditions())
            return int(transaction.connection.execute(statement).rowcount)

    def _retry(self, conditions: Sequence[sa.ColumnElement[bool]], attempts: int) -> int:
        values = {"parked_because": None, "attempts": attempts, "due_at": 0.0}
        with self._store.begin() as transaction:
            statement = sa.update(outbox).where(*conditions).values(values)
            retried = int(transaction.connection.execute(statement).rowcount)
        if retried:
            self._store.posted.set()
        return retried


def _parked(
    row_id: int,
    job: str,
    posted_at: float,
    parked_at: float | None,
    reason: str,
    drift_id: str | None,
) -> Parked:
    parameters = stored_json(job)["parameters"]
    return Parked(
        row_id,
        str(parameters.get("event_id", "")),
        str(parameters.get("stream", "")),
        datetime.fromtimestamp(posted_at, UTC),
        datetime.fromtimestamp(posted_at if parked_at is None else parked_at, UTC),
        reason,
        drift_id is not None,
    )
