"""Deliveries: each message to each channel, tried until it arrives or is given up.

A try is recorded before anything is sent, and its result after it. If the process dies between the two, the
outcome is unknown, and the message is sent again with the same id: a receiver may then see it twice.
A message whose sending had not begun is never sent twice, and no message is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from lenswatch.server.db.tables import channels, deliveries, experiments, messages

__all__ = ["LEASE_SECONDS", "Outcome", "claim", "counts", "drop_waiting", "finish", "prune"]

SECOND = 10**6
LEASE_SECONDS = 90.0  # for one try; a process that has not finished by then has died
RETRY_SECONDS = (10, 30, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600)  # after each failure
LONGEST_WAIT_SECONDS = 12 * 3600  # that a receiver may ask for
KEPT_DAYS = 90  # of deliveries that are over
_PRUNED = 500  # messages deleted at once
_RESULT = 200  # characters

Row = Mapping[Any, Any]
_other = deliveries.alias("other")


@dataclass(frozen=True)
class Outcome:
    """The result of one try.

    Attributes:
        delivered: Whether the receiver took it.
        result: What it said, in words.
        final: Whether another try makes no sense.
        retry_after: Seconds that the receiver asks to wait.
    """

    delivered: bool
    result: str
    final: bool = False
    retry_after: float | None = None


def claim(connection: Connection, now: int) -> tuple[Row, Row] | None:
    """Record the next try that is due, and return the rows of its delivery and channel; None if none is.

    A channel gets one message at a time, the oldest first, so that a slow one delays no other.
    """
    busy = (
        select(_other.c.number)
        .where(
            _other.c.channel == deliveries.c.channel,
            _other.c.state == "sending",
            _other.c.due_at > now,
        )
        .exists()
    )
    query = (
        select(deliveries)
        .where(deliveries.c.due_at <= now, deliveries.c.channel.is_not(None), ~busy)
        .order_by(deliveries.c.due_at, deliveries.c.number)
        .limit(1)
        .with_for_update(skip_locked=True, of=deliveries)
    )
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    taken = {
        "state": "sending",
        "tries": row["tries"] + 1,
        "unknown": row["unknown"] + (row["state"] == "sending"),
        "due_at": now + int(LEASE_SECONDS * SECOND),
    }
    here = deliveries.c.number == row["number"]
    claimed = connection.execute(update(deliveries).where(here).values(taken).returning(deliveries))
    channel = select(channels).where(channels.c.number == row["channel"])
    return claimed.mappings().one(), connection.execute(channel).mappings().one()


def finish(
    connection: Connection, delivery: Row, outcome: Outcome, seconds: float, now: int
) -> None:
    """Record the result of a try, unless another process has begun a later one.

    Args:
        connection: A transaction.
        delivery: The row as `claim` returned it.
        outcome: The result.
        seconds: Time that the try took.
        now: The present moment.
    """
    values: dict[str, Any] = {"result": outcome.result[:_RESULT], "seconds": round(seconds, 3)}
    wait = wait_after(delivery["tries"] - delivery["unknown"], outcome.retry_after)
    if outcome.delivered:
        values |= {"state": "delivered", "due_at": None, "ended_at": now}
    elif outcome.final or wait is None:
        values |= {"state": "given up", "due_at": None, "ended_at": now}
    else:
        values |= {"state": "waiting", "due_at": now + int(wait * SECOND)}
    # What has arrived has arrived, though another process may have begun a later try.
    here = deliveries.c.number == delivery["number"]
    if outcome.delivered:
        here &= deliveries.c.due_at.is_not(None)
    else:
        here &= (deliveries.c.state == "sending") & (deliveries.c.tries == delivery["tries"])
    connection.execute(update(deliveries).where(here).values(values))


def wait_after(tries: int, asked: float | None = None) -> float | None:
    """Return the seconds to wait after so many failed tries; None to give up.

    >>> [wait_after(tries) for tries in (1, 2, 9, 10)]
    [10, 30, 43200, None]
    >>> wait_after(1, asked=100)
    100
    """
    if tries > len(RETRY_SECONDS):
        return None
    return max(RETRY_SECONDS[tries - 1], min(asked or 0, LONGEST_WAIT_SECONDS))


def drop_waiting(connection: Connection, channel: int, reason: str, now: int) -> None:
    """Record that messages to a channel are not sent, since it is being deleted."""
    waiting = (deliveries.c.channel == channel) & deliveries.c.due_at.is_not(None)
    dropped = {"state": "not sent", "result": reason, "due_at": None, "ended_at": now}
    connection.execute(update(deliveries).where(waiting).values(dropped))


def counts(connection: Connection) -> list[tuple[str, str, int]]:
    """Return numbers of deliveries by experiment id and state."""
    kind = (experiments.c.id, deliveries.c.state)
    query = select(*kind, func.count()).join_from(deliveries, experiments).group_by(*kind)
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def prune(connection: Connection, now: int) -> bool:
    """Delete some messages that are older than KEPT_DAYS, and return whether there may be more."""
    old = messages
    waiting = select(deliveries.c.number).where(
        deliveries.c.message == old.c.number, deliveries.c.due_at.is_not(None)
    )
    query = (
        select(old.c.number)
        .where(old.c.created_at < now - KEPT_DAYS * 86400 * SECOND, ~waiting.exists())
        .limit(_PRUNED)
    )
    found = connection.execute(query).scalars().all()
    if found:
        connection.execute(delete(messages).where(messages.c.number.in_(found)))
    return len(found) == _PRUNED
