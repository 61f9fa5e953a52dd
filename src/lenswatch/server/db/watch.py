"""Polling for changes in the experiments that clients follow, by one query for all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import anyio
import anyio.to_thread
from sqlalchemy import select

from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import cursors

__all__ = ["Watch"]

POLL_SECONDS = 0.5


class Watch:
    """A shared poll of the cursors of all followed experiments.

    The listeners of a process share each poll, so their number makes no difference to the database.
    """

    def __init__(self, database: Database, poll_seconds: float = POLL_SECONDS) -> None:
        self.database = database
        self.poll_seconds = poll_seconds
        self._followed: Counter[int] = Counter()
        self._cursors: dict[int, int] = {}
        self._look: asyncio.Task[None] | None = None
        self._reading = False
        self._limiter = anyio.CapacityLimiter(1)

    @contextmanager
    def following(self, experiment: int) -> Iterator[None]:
        """Include the experiment of this number in polls."""
        self._followed[experiment] += 1
        try:
            yield
        finally:
            self._followed[experiment] -= 1
            if not self._followed[experiment]:
                del self._followed[experiment]

    async def next_look(self, experiment: int, known: int) -> int:
        """Return the experiment's cursor at the next poll, or `known` if it was not polled or is gone.

        Raises:
            Outage: The database cannot answer now.
        """
        if self._reading and self._look:  # began before this call, so it may miss the latest change
            await asyncio.shield(self._look)
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._look_once())
            self._look.add_done_callback(_retrieve)
        await asyncio.shield(self._look)
        return self._cursors.get(experiment, known)

    async def _look_once(self) -> None:
        await anyio.sleep(self.poll_seconds)
        numbers = tuple(self._followed)
        self._reading = True
        try:
            self._cursors = await anyio.to_thread.run_sync(
                self._read, numbers, limiter=self._limiter, abandon_on_cancel=True
            )
        finally:
            self._reading = False

    def _read(self, numbers: Sequence[int]) -> dict[int, int]:
        query = select(cursors.c.experiment, cursors.c.seq).where(cursors.c.experiment.in_(numbers))
        with self.database.read() as connection:
            return {row.experiment: row.seq for row in connection.execute(query)}


def _retrieve(look: asyncio.Task[None]) -> None:
    """Retrieve the exception of a poll that no listener waits for, so that asyncio does not log it."""
    if not look.cancelled():
        look.exception()
