"""Requests of people on the tracking server as rows of `node.db`: taken, done once, and answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import sqlalchemy as sa

from lenswatch.node.store.dialects import insert
from lenswatch.node.store.tables import baseline_requests as table
from lenswatch.node.store.tables import baseline_streams, windows

__all__ = ["Asked", "Untold", "answer", "any_waiting", "take", "tell", "untold", "waiting"]

_REMEMBERED_SECONDS = 86_400.0  # after the answer, so that an old list cannot bring one back


@dataclass(frozen=True)
class Asked:
    """A request that waits; the attributes are columns of its table."""

    id: str
    stream: str
    kind: str
    baseline: int | None
    asked_at: float


@dataclass(frozen=True)
class Untold:
    """An answer of which the server does not know yet."""

    id: str
    state: str
    answer: str
    baseline: int | None


def take(connection: sa.Connection, listed: Sequence[Asked]) -> None:
    """Take over the requests that wait on the server, for streams of this node.

    Those that wait here and no longer there were withdrawn, and go.
    """
    streams = sa.union(sa.select(windows.c.stream), sa.select(baseline_streams.c.stream))
    known = set(connection.execute(streams).scalars())
    for asked in listed:
        if asked.stream in known:
            row = {**asdict(asked), "state": "waiting", "answer": "", "told_at": None}
            connection.execute(insert(table).values(row).on_conflict_do_nothing())
    kept = table.c.id.in_([asked.id for asked in listed])
    connection.execute(sa.delete(table).where(table.c.state == "waiting", sa.not_(kept)))


def waiting(connection: sa.Connection) -> list[Asked]:
    """Return the requests that wait, in the order in which they were asked."""
    columns = [table.c[name] for name in Asked.__dataclass_fields__]
    query = sa.select(*columns).where(table.c.state == "waiting")
    return [Asked(*row) for row in connection.execute(query.order_by(table.c.asked_at))]


def any_waiting(connection: sa.Connection) -> bool:
    """Return True if a request waits."""
    query = sa.select(table.c.id).where(table.c.state == "waiting").limit(1)
    return connection.execute(query).first() is not None


def answer(
    connection: sa.Connection,
    request: str,
    state: Literal["done", "rejected"],
    text: str,
    baseline: int | None = None,
) -> bool:
    """Answer a request that waits, and return True; False if it waits no more."""
    values: dict[str, Any] = {"state": state, "answer": text}
    if baseline is not None:
        values["baseline"] = baseline
    here = (table.c.id == request, table.c.state == "waiting")
    return connection.execute(sa.update(table).where(*here).values(values)).rowcount == 1


def untold(connection: sa.Connection) -> list[Untold]:
    """Return the answers of which the server does not know yet."""
    columns = [table.c[name] for name in Untold.__dataclass_fields__]
    query = sa.select(*columns).where(table.c.state != "waiting", table.c.told_at.is_(None))
    return [Untold(*row) for row in connection.execute(query.order_by(table.c.asked_at))]


def tell(connection: sa.Connection, request: str, now: float) -> None:
    """Note that the server knows an answer, and forget those of the days before."""
    here = table.c.id == request
    connection.execute(sa.update(table).where(here).values(told_at=now))
    old = table.c.told_at < now - _REMEMBERED_SECONDS
    connection.execute(sa.delete(table).where(old))
