"""The deaths of worker processes, counted by the request that they had."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

__all__ = ["Deaths"]

MOST = 1000  # requests that are remembered
FORGET_SECONDS = 3600.0  # after the last death


class Deaths:
    """A count of deaths for each request, by any key that identifies it.

    Only tries that follow each other count: of requests that were lost together, when memory ran out for
    example, none may be to blame.

    Args:
        clock: Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._counted: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()  # and the last time

    def __bool__(self) -> bool:
        """Return False when no death is remembered."""
        return bool(self._counted)

    def count(self, key: Hashable) -> int:
        """Return the number of deaths."""
        count, last = self._counted.get(key, (0, 0.0))
        return count if self.clock() - last < FORGET_SECONDS else 0

    def add(self, key: Hashable, began: float) -> int:
        """Count a death, and return the number of deaths.

        Args:
            key: The request.
            began: Time of the clock at which this try of it began.
        """
        count = self.count(key)
        if not count or began >= self._counted[key][1]:
            count += 1
            self._counted[key] = (count, self.clock())
            self._counted.move_to_end(key)
        while len(self._counted) > MOST:
            self._counted.popitem(last=False)
        return count

    def forget(self, key: Hashable) -> None:
        """Begin again at 0."""
        self._counted.pop(key, None)
