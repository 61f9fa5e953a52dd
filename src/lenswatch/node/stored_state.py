"""The state of a stream as node.db has it, or what follows on one that cannot be gone on with."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict

from lenswatch.errors import StoreError
from lenswatch.node.store.salvage import DAMAGED
from lenswatch.node.stream import StreamState
from lenswatch.node.unrecorded import Stored

__all__ = ["LOST", "REBUILT", "KnownStates", "state_of"]

log = logging.getLogger(__name__)

REBUILT = (
    "The window starts anew, since node.db was damaged; an alarm stays until clean pictures end it."
)
LOST = "The window starts anew and an alarm is forgotten, since the stream's state was damaged."
MOST_STATES = 64  # of some 80 KB


class KnownStates:
    """States as this process wrote them, which need not be read again while they are what is stored.

    Any number of threads may share them. Another process that writes a stream makes its row another one.

    Args:
        most: Streams that are kept; the one that was not wanted for longest goes first.
    """

    def __init__(self, most: int = MOST_STATES) -> None:
        self._most = most
        self._kept: OrderedDict[str, tuple[tuple[str, bytes], StreamState]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, stream: str, data: bytes) -> StreamState:
        """Return a stored state.

        Raises:
            StoreError: The data is damaged.
        """
        known = self._kept.get(stream)
        if known is not None and known[0][1] == data:
            return known[1]
        return StreamState.from_bytes(data)

    def row(self, stream: str) -> Stored:
        """Return the row that this process wrote last, for when nobody can look; None if it is not kept."""
        known = self._kept.get(stream)
        return None if known is None else known[0]

    def wrote(self, stream: str, row: tuple[str, bytes], state: StreamState) -> None:
        """Keep what was written for a stream."""
        with self._lock:
            self._kept[stream] = row, state
            self._kept.move_to_end(stream)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)


_NONE = KnownStates(0)


def state_of(
    stored: Stored,
    start: StreamState,
    stream: str,
    digest: str,
    known: KnownStates | None = None,
) -> tuple[StreamState, list[str]]:
    """Return the stream's state, or what follows on another one, and notes for the answer.

    That is its state under another reference, or in a node.db that was damaged.

    Args:
        stored: The row of the stream in the database.
        start: State of a new stream.
        stream: Name of the stream.
        digest: The reference.
        known: States that this process wrote, if it keeps them.
    """
    if stored is None:
        return start, []
    try:
        state = (known or _NONE).read(stream, stored[1])
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
