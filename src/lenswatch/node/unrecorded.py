"""Pictures that were judged while `node.db` could not be written, for want of space.

They live in the memory of one process. A stream goes on from there when it can be written again, unless
another worker has written it meanwhile. Several workers with a full disk judge by a window of their own each.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from lenswatch.node.store.gaps import Gap
from lenswatch.node.stream import StreamState

__all__ = ["Stored", "Unrecorded", "not_recorded"]

log = logging.getLogger(__name__)

ANSWERS = 256  # kept for retries

Stored = (
    tuple[str, bytes] | None
)  # a stream's row in the database: the reference's digest, and its state


@dataclass(frozen=True)
class _Ahead:
    stored: Stored  # the row that the state went on from
    state: StreamState


class Unrecorded:
    """States, answers and counts of the pictures that could not be recorded."""

    def __init__(self) -> None:
        self._states: dict[str, _Ahead] = {}
        self._gaps: dict[str, Gap] = {}
        self._answers: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def state(self, stream: str, stored: Stored) -> StreamState | None:
        """Return the state of a stream after its last picture, if that was not recorded.

        Args:
            stream: The stream.
            stored: Its row in the database now.
        """
        ahead = self._states.get(stream)
        return ahead.state if ahead is not None and ahead.stored == stored else None

    def answer(self, event_id: str) -> dict[str, Any] | None:
        """Return the answer to a picture that was not recorded, for its retry."""
        return self._answers.get(event_id)

    def gap(self, stream: str) -> Gap | None:
        """Return the pictures of a stream that were not recorded since its last one that was."""
        return self._gaps.get(stream)

    def keep(
        self, stored: Stored, state: StreamState | None, answer: dict[str, Any], now: float
    ) -> None:
        """Keep what is known after a picture that could not be recorded.

        Args:
            stored: The row of its stream in the database.
            state: The state of its stream after it; None if it does not change that.
            answer: The answer.
            now: The present time in seconds since 1970.
        """
        stream = answer["stream"]
        with self._lock:
            if not self._gaps:
                log.warning(
                    "pictures are judged, but not recorded: /healthz says why nothing can be written"
                )
            self._gaps[stream] = Gap(1, now) + self._gaps.get(stream)
            if state is not None:
                self._states[stream] = _Ahead(stored, state)
            self._answers[answer["event_id"]] = answer
            while len(self._answers) > ANSWERS:
                self._answers.popitem(last=False)

    def recorded(self, stream: str) -> None:
        """Forget a stream, since its newest picture and the gap before it were recorded."""
        if not self._gaps:
            return
        with self._lock:
            self._states.pop(stream, None)
            gap = self._gaps.pop(stream, None)
        if gap is not None:
            log.warning(
                "stream %s is recorded again; %d pictures were judged only", stream, gap.jobs
            )


def not_recorded(because: str) -> dict[str, Any]:
    """Return what the answer to a picture says that was judged, but not recorded."""
    return {"recorded": False, "not_recorded_because": because}
