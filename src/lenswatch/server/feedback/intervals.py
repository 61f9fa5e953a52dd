"""Intervals for shares and medians of few observations."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["CONFIDENCE", "median", "median_interval", "share_interval"]

CONFIDENCE = 0.95
_Z = 1.959963984540054  # quantile of the normal distribution at (1 + CONFIDENCE) / 2


def share_interval(hits: int, of: int) -> tuple[float, float] | None:
    """Return the interval of a share (Wilson 1927), or None if there is nothing to count.

    Args:
        hits: Observations that count.
        of: All observations.

    >>> [round(bound, 3) for bound in share_interval(8, 10)]
    [0.49, 0.943]
    """
    if of == 0:
        return None
    share, spread = hits / of, _Z**2 / of
    middle = share + spread / 2
    half = _Z * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return (0.0 if hits == 0 else low), (1.0 if hits == of else high)


def median(ordered: Sequence[float]) -> float | None:
    """Return the median of values in ascending order, or None if there are none."""
    if not ordered:
        return None
    half = len(ordered) // 2
    return float(ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2)


def median_interval(ordered: Sequence[float]) -> tuple[float, float] | None:
    """Return two of the values that enclose the median, whatever the distribution (Thompson 1936).

    The number of values below the median is binomial with 1/2, so the k-th value from either end encloses it
    unless fewer than k values are on one side. It is None for fewer than 6 values, which cannot tell.

    Args:
        ordered: Values in ascending order.

    >>> median_interval([1, 2, 3, 4, 5, 6]), median_interval([1, 2, 3, 4, 5])
    ((1.0, 6.0), None)
    """
    count = len(ordered)
    outside = 0  # ways, of 2 ** count, in which fewer than `rank` values are on one given side
    rank = 0
    while rank < count and (outside + math.comb(count, rank)) * 2 <= (1 - CONFIDENCE) * 2**count:
        outside += math.comb(count, rank)
        rank += 1
    return (float(ordered[rank - 1]), float(ordered[count - rank])) if rank else None
