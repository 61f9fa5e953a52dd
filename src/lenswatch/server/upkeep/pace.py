"""Large deletions in small batches with pauses, so that requests go on meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["in_batches"]

RUN_SECONDS = 6.0  # then other chores have their turn
_PAUSE = 2.0  # seconds for each second of work
_WANTED_SECONDS = 0.05  # for one batch, for which writers may have to wait
_FEWEST, _FIRST, _MOST = 10, 100, 1000


def in_batches(step: Callable[[int], bool], stopping: threading.Event) -> bool:
    """Repeat `step`, and return whether it has more to do.

    Args:
        step: Deletes up to so many rows in a transaction of its own, and returns whether more are left.
        stopping: Ends the repetition.
    """
    rows, end = _FIRST, time.monotonic() + RUN_SECONDS
    while not stopping.is_set():
        begun = time.monotonic()
        if not step(rows):
            return False
        taken = time.monotonic() - begun
        if taken > 2 * _WANTED_SECONDS:
            rows = max(_FEWEST, rows // 2)
        elif taken < _WANTED_SECONDS / 2:
            rows = min(_MOST, rows * 2)
        if stopping.wait(taken * _PAUSE) or time.monotonic() > end:
            return True
    return True
