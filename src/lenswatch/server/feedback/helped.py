"""Did it help? The judged pictures before something was done against those after it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Literal

from lenswatch.server.feedback.intervals import median

__all__ = ["COMPARED", "FEWEST_BEFORE", "Verdict", "chance", "verdict"]

COMPARED = 10  # pictures on each side
FEWEST_BEFORE = 3  # pictures, below which there is nothing to compare with
_LEVEL = 0.05  # largest chance at which lower values are not called chance

Verdict = Literal["helped", "did not help", "too early"]


def verdict(before: Sequence[float], after: Sequence[float]) -> Verdict | None:
    """Return whether it helped; None if there are too few pictures before it.

    It helped if the values after it are lower by more than chance, and their median is no drift.

    Args:
        before: Value over drift threshold of up to the last `COMPARED` judged pictures before.
        after: The same of the first ones after.
    """
    if len(before) < FEWEST_BEFORE:
        return None
    if len(after) < COMPARED:
        return "too early"
    middle = median(sorted(after))
    helped = middle is not None and middle < 1 and chance(before, after) <= _LEVEL
    return "helped" if helped else "did not help"


def chance(before: Sequence[float], after: Sequence[float]) -> float:
    """Return how likely so many pairs with a lower value after are if nothing has changed.

    This is the exact one-sided test of Mann and Whitney (1947). A pair of equal values is not lower.

    >>> round(chance([3, 4, 5], [0, 1, 2]), 2)
    0.05
    """
    lower = sum(b > a for b in before for a in after)
    pairs = len(before) * len(after)
    ways = sum(_ways(len(before), len(after), count) for count in range(lower, pairs + 1))
    return ways / math.comb(len(before) + len(after), len(before))


@cache
def _ways(before: int, after: int, lower: int) -> int:
    """Return in how many orders of the values exactly `lower` pairs have a lower value after."""
    if lower < 0 or lower > before * after:
        return 0
    if before == 0 or after == 0:
        return 1
    # The largest value of all is one of before, which is above all of after, or one of after.
    return _ways(before - 1, after, lower - after) + _ways(before, after - 1, lower)
