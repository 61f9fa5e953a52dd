"""Annotations that wait in `node.db` to be sent to the tracking server.

Each carries an id that the server stores once, so it may be sent again by whoever finds it here: the command
that made it, and the sender of a node.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa

from lenswatch.client.client import TrackingClient
from lenswatch.config import TrackingConfig
from lenswatch.errors import TrackingRefused, TrackingUnavailable
from lenswatch.node.store.database import stored_json
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.tables import notes as table
from lenswatch.outbox.blame import REFUSALS, reason_of
from lenswatch.outbox.rows import OutboxRows
from lenswatch.outbox.target import Target
from lenswatch.wire import to_json

__all__ = ["MOST", "TAKES_NONE", "NoteDelivery", "Notes", "WaitingNote", "put_note"]

log = logging.getLogger(__name__)

MOST = 1000  # that wait; the oldest go first
TAKES_NONE = "this server takes no annotations"
_AT_ONCE = 20
_RETRY_SECONDS = 30.0  # while the server cannot be reached
_LAPSED_SECONDS = 600.0  # while it does not accept us
_LACKING_SECONDS = 86_400.0  # while it takes no annotations


@dataclass(frozen=True)
class WaitingNote:
    """An annotation that waits to be sent."""

    id: int
    body: dict[str, Any]
    because: str | None  # why the last attempt failed


class Notes:
    """Reads and writes of the annotations that wait."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store

    def add(self, body: Mapping[str, Any]) -> WaitingNote:
        """Keep an annotation until it is sent."""
        with self._store.begin() as transaction:
            return put_note(transaction.connection, body, self._store.clock())

    def due(self, at_most: int = _AT_ONCE) -> list[WaitingNote]:
        """Return the oldest that are due. One that is due far in the future was put off by a wrong clock."""
        now = self._store.clock()
        is_due = sa.or_(table.c.due_at <= now, table.c.due_at > now + _LACKING_SECONDS)
        return self._select(sa.select(table).where(is_due).order_by(table.c.id).limit(at_most))

    def all(self) -> list[WaitingNote]:
        """Return all that wait, the oldest first."""
        return self._select(sa.select(table).order_by(table.c.id))

    def delete(self, note: WaitingNote) -> None:
        """Delete one that was sent, or that the server refused."""
        with self._store.begin() as transaction:
            transaction.connection.execute(sa.delete(table).where(table.c.id == note.id))

    def put_off(self, note: WaitingNote, seconds: float, because: str) -> None:
        """Send one later."""
        later = {"due_at": self._store.clock() + seconds, "because": because}
        change = sa.update(table).where(table.c.id == note.id)
        with self._store.begin() as transaction:
            transaction.connection.execute(change.values(attempts=table.c.attempts + 1, **later))

    def _select(self, query: sa.Select[Any]) -> list[WaitingNote]:
        with self._store.read() as connection:
            return [_waiting(row) for row in connection.execute(query)]


class NoteDelivery:
    """A sender of annotations that are due, active while `may_send` returns True."""

    def __init__(
        self,
        store: NodeStore,
        client: TrackingClient,
        config: TrackingConfig,
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        self._notes = Notes(store)
        self._target = Target(OutboxRows(store), client, config)
        self._client = client
        self._may_send = may_send

    def once(self) -> bool:
        """Send what is due, and return True if any of it arrived. No failure of the server is raised."""
        arrived = False
        for note in self._notes.due():
            if not self._may_send():
                break
            because = ""
            try:
                if self.send(note):
                    break  # the others would meet the same
                arrived = True
            except TrackingRefused as refused:
                because = reason_of(refused)
            if because:
                log.warning("an annotation was refused: %s (%s)", because, note.body)
        return arrived

    def send(self, note: WaitingNote) -> str:
        """Send one. Returns why it still waits; empty if the server has stored it.

        Raises:
            TrackingRefused: The server refused it for what it is, so that it waits no more.
        """
        if note.because == TAKES_NONE:
            self._client.look_again()
        try:
            stored = self._client.annotate(self._target.id(), note.body)
        except TrackingUnavailable as unavailable:
            seconds = max(_RETRY_SECONDS, unavailable.retry_after)
            return self._put_off(note, seconds, reason_of(unavailable))
        except TrackingRefused as refused:
            if refused.status not in REFUSALS:
                return self._put_off(note, _LAPSED_SECONDS, reason_of(refused))
            self._notes.delete(note)
            raise
        if stored is None:
            return self._put_off(note, _LACKING_SECONDS, TAKES_NONE)
        self._notes.delete(note)
        return ""

    def _put_off(self, note: WaitingNote, seconds: float, because: str) -> str:
        self._notes.put_off(note, seconds, because)
        return because


def put_note(connection: sa.Connection, body: Mapping[str, Any], now: float) -> WaitingNote:
    """Keep an annotation within a transaction until it is sent."""
    row = {"posted_at": now, "due_at": 0.0, "attempts": 0, "body": to_json(body)}
    number = connection.execute(sa.insert(table).values(row)).inserted_primary_key
    oldest = sa.select(table.c.id).order_by(table.c.id.desc()).offset(MOST)
    connection.execute(sa.delete(table).where(table.c.id.in_(oldest)))
    return WaitingNote(cast(Any, number)[0], dict(body), None)


def _waiting(row: sa.Row[Any]) -> WaitingNote:
    return WaitingNote(row.id, stored_json(row.body), row.because)
