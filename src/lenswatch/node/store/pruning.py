"""Pruning of answers by elapsed time and by number, whatever the machine's clock shows.

A clock that jumps may show next year for a while, or 1970. So answers age by the time since the machine was
booted, which cannot jump. Time for which it was off does not count: no answer goes too early.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lenswatch.node.store.dialects import insert
from lenswatch.node.store.tables import answer_ages, answers

__all__ = ["DATABASE_CLOCK", "MOST_ANSWERS", "WEEK_SECONDS", "Pruning", "SharedPruning"]

WEEK_SECONDS = 7 * 24 * 3600.0
MOST_ANSWERS = 200_000  # about 250 MB
LONGEST_STEP_SECONDS = 24 * 3600.0
AT_ONCE = 200  # answers, so that no picture waits for long

# Seconds since 1970 on PostgreSQL's clock, which all replicas share.
DATABASE_CLOCK = sa.select(sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float))
_LAST = sa.select(answer_ages).order_by(answer_ages.c.answer_id.desc()).limit(1)
_NEWEST = sa.select(sa.func.max(answers.c.id))
_OLDEST = sa.select(sa.func.min(answers.c.id))
_note = insert(answer_ages)
_NOTE = _note.on_conflict_do_update(
    index_elements=["answer_id"],
    set_={name: _note.excluded[name] for name in ("elapsed", "boot", "uptime")},
)
_OLD = sa.select(sa.func.max(answer_ages.c.answer_id)).where(
    answer_ages.c.elapsed <= sa.bindparam("before")
)
_PRUNE = sa.delete(answers).where(
    answers.c.id.in_(
        sa.select(answers.c.id)
        .where(answers.c.id <= sa.bindparam("up_to"))
        .order_by(answers.c.id)
        .limit(AT_ONCE)
    )
)
_FORGET = sa.delete(answer_ages).where(answer_ages.c.answer_id < sa.bindparam("oldest"))


@functools.cache
def _boot() -> str:
    """Return a text that differs from boot to boot; empty where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class Pruning:
    """Deletion of old answers, some after each `every` new ones.

    Each time the table `answer_ages` notes the newest answer and the seconds that have elapsed so far.
    Answers up to one that was noted long enough ago are old.

    Args:
        keep_seconds: Seconds for which an answer is kept.
        most: Number of answers that are kept; the oldest go before their time when there are more.
        every: Number of answers after which old ones are deleted.
        uptime: The id of the machine's boot, and the seconds since then.
    """

    def __init__(
        self,
        keep_seconds: float = WEEK_SECONDS,
        most: int = MOST_ANSWERS,
        every: int = 100,
        uptime: Callable[[], tuple[str, float]] = lambda: (_boot(), time.monotonic()),
    ) -> None:
        self._keep_seconds, self._most, self._every = keep_seconds, most, every
        self._uptime = uptime
        self._put = every - 1  # answers since old ones were last deleted

    def after(self, connection: sa.Connection, put: int) -> None:
        """Count answers that a write transaction has put, and delete old ones when it is time."""
        self._put += put
        if self._put < self._every:
            return
        self._put = 0
        newest = connection.execute(_NEWEST).scalar()
        if newest is None:
            return
        before = self._note(connection, newest) - self._keep_seconds
        old = connection.execute(_OLD, {"before": before}).scalar()
        up_to = max(old or 0, newest - self._most)  # ids have no gaps
        if up_to > 0:
            connection.execute(_PRUNE, {"up_to": up_to})
            connection.execute(_FORGET, {"oldest": connection.execute(_OLDEST).scalar()})

    def _note(self, connection: sa.Connection, newest: int) -> float:
        """Note the newest answer's id with the seconds that have elapsed, and return these."""
        boot, uptime = self._now(connection)
        last = connection.execute(_LAST).first()
        elapsed = 0.0 if last is None else last.elapsed + self._since(last, boot, uptime)
        row = {"answer_id": newest, "elapsed": elapsed, "boot": boot, "uptime": uptime}
        connection.execute(_NOTE, row)
        return elapsed

    def _now(self, _connection: sa.Connection) -> tuple[str, float]:
        return self._uptime()

    def _since(self, last: sa.Row[Any], boot: str, uptime: float) -> float:
        """Return the seconds since the last note."""
        return uptime - (float(last.uptime) if boot == last.boot and uptime >= last.uptime else 0.0)


class SharedPruning(Pruning):
    """Deletion of old answers of several machines, by the clock of their database.

    A jump of that clock counts as nothing if it goes back, and as a day at most.
    """

    def _now(self, connection: sa.Connection) -> tuple[str, float]:
        return "database", float(connection.execute(DATABASE_CLOCK).scalar_one())

    def _since(self, last: sa.Row[Any], _boot: str, uptime: float) -> float:
        return min(max(uptime - float(last.uptime), 0.0), LONGEST_STEP_SECONDS)
