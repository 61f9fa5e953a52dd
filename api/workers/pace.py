"""The usual time of a call, by which one that hangs can be told from one that takes long."""

from __future__ import annotations

import statistics
from collections import deque

__all__ = ["Pace"]

CALLS = 21  # the last ones, of which the median counts
TIMES = 10  # the median, after which a call is slow
LEAST_SECONDS = 10.0  # before which none is slow
UNKNOWN_SECONDS = 20.0  # the same before the first call has ended


class Pace:
    """The durations of the last calls that had an answer."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=CALLS)

    def add(self, seconds: float) -> None:
        """Take the duration of a call into account."""
        self._seconds.append(seconds)

    @property
    def slow_seconds(self) -> float:
        """Seconds after which a call takes far longer than usual."""
        if not self._seconds:
            return UNKNOWN_SECONDS
        return max(LEAST_SECONDS, TIMES * statistics.median(self._seconds))
