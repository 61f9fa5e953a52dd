"""The state of a stream as node.db has it, or what follows on one that cannot be gone on with."""

from __future__ import annotations

import logging

from lenswatch.errors import StoreError
from lenswatch.node.store.salvage import DAMAGED
from lenswatch.node.stream import StreamState
from lenswatch.node.unrecorded import Stored

__all__ = ["LOST", "REBUILT", "state_of"]

log = logging.getLogger(__name__)

REBUILT = (
    "The window starts anew, since node.db was damaged; an alarm stays until clean pictures end it."
)
LOST = "The window starts anew and an alarm is forgotten, since the stream's state was damaged."


def state_of(
    stored: Stored, start: StreamState, stream: str, digest: str
) -> tuple[StreamState, list[str]]:
    """Return the stream's state, or what follows on another one, and notes for the answer.

    That is its state under another reference, or in a node.db that was damaged.

    Args:
        stored: The row of the stream in the database.
        start: State of a new stream.
        stream: Name of the stream.
        digest: The reference.
    """
    if stored is None:
        return start, []
    try:
        state = StreamState.from_bytes(stored[1])
    except StoreError:
        state = None
    if state is None:
        log.warning(
            "stream %s: its state under reference %s is damaged, so its window starts anew and an alarm "
            "it may have had is lost",
            stream,
            stored[0],
        )
        return start, [LOST]
    if stored[0] == digest:
        return state, []
    notes = [REBUILT] if stored[0].startswith(DAMAGED) else []
    return state.restarted(start.window), notes
