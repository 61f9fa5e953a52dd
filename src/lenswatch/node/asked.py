"""Requests of people on the tracking server, each done once: accept, go back to the calibration, undo."""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa

from lenswatch.config import Config
from lenswatch.errors import ArtefactError, InputError
from lenswatch.node.renewing import Done, Leave, Renewing
from lenswatch.node.store import requests as rows
from lenswatch.node.store.requests import Asked
from lenswatch.node.store.store import NodeStore
from lenswatch.wire import CLOCK_ERROR

__all__ = ["fulfil"]

_AT_ONCE_SECONDS = 600.0  # a request this young is about the pictures up to now
_LONGEST_SECONDS = 86_400.0  # an older "this is clean" was about other pictures than those of now
_TRIES = 2  # the other process may have changed the baseline for another reason


def fulfil(config: Config, store: NodeStore, leave: Leave) -> list[tuple[str, str]]:
    """Do what people have asked for, and return each stream with a sentence on what became of it.

    The answer is written in the transaction of the deed, so that a crash between them is impossible.

    Args:
        config: The settings.
        store: The node's database.
        leave: Keeps an annotation within a transaction, to be sent later.
    """
    with store.read() as connection:
        waiting = rows.waiting(connection)
    found = []
    for asked in waiting:
        text = _answered(config, store, leave, asked)
        if text:
            found.append((asked.stream, text))
    return found


def _answered(config: Config, store: NodeStore, leave: Leave, asked: Asked) -> str:
    """Do a request or reject it, and return what was answered; empty if another process did."""

    def mark(connection: sa.Connection, kind: str, done: Done) -> None:
        if not rows.answer(connection, asked.id, "done", done.text, done.number):
            raise _Elsewhere(asked.id)
        # The page has noted the cleaning already, with the time and the name of who asked.
        leave(connection, "note" if kind == "lens cleaned" else kind, done)

    renewing = Renewing(config, store, mark)
    complaint = ""
    for _ in range(_TRIES):
        try:
            return _do(renewing, asked, store.clock()).text
        except _Elsewhere:
            return ""
        except (InputError, ArtefactError) as error:
            complaint = str(error)
    return _tell(store, asked, "rejected", complaint)


def _do(renewing: Renewing, asked: Asked, now: float) -> Done:
    if asked.kind == "cleaned":
        return renewing.cleaned(asked.stream)
    if asked.kind == "undo":
        return renewing.undo(asked.stream, asked.baseline)
    age = now - asked.asked_at
    if age > _LONGEST_SECONDS:
        raise InputError(
            f"stream {asked.stream}: this was asked over a day ago; look at the newest pictures and ask again"
        )
    seen = asked.asked_at + CLOCK_ERROR.total_seconds()
    return renewing.accept(asked.stream, None if age <= _AT_ONCE_SECONDS else seen)


def _tell(store: NodeStore, asked: Asked, state: Literal["done", "rejected"], text: str) -> str:
    """Answer a request that changed nothing, and return the text; empty if another process answered it."""
    with store.begin() as transaction:
        return text if rows.answer(transaction.connection, asked.id, state, text) else ""


class _Elsewhere(Exception):  # noqa: N818 - it only ends a transaction
    """Another process answered the request first."""
