"""Agreement of a picture with a clean scene, block by block: a moved camera moves all of them.

A head or a car that moves takes its own edges along, and the rest of the scene stays in place.
"""

from __future__ import annotations

import numpy as np

from lenswatch.detect.arrays import Floats32

__all__ = ["everywhere", "likeness", "overlap", "share_elsewhere"]

_BLOCKS = (4, 5)
_CLEAR = 0.3  # likeness of a block that can be recognised in either place
_MOST = 0.75  # share of these blocks


def overlap(now: Floats32, then: Floats32, down: int, right: int) -> tuple[Floats32, Floats32]:
    """Return the parts of `now`, moved back by a displacement, and of `then` that lie on each other."""
    height, width = now.shape
    a = now[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    b = then[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
    return a, b


def likeness(now: Floats32, then: Floats32, down: int, right: int) -> float:
    """Return the correlation of `now`, moved back, with `then`, where they overlap and `then` is known."""
    a, b = overlap(now, then, down, right)
    a = a * (b != 0)
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-6))


def everywhere(now: Floats32, there: Floats32, here: Floats32, down: int, right: int) -> bool:
    """Return whether most parts that can be recognised agree better with the scene in another place.

    The arguments are those of `share_elsewhere`.
    """
    return share_elsewhere(now, there, here, down, right) > _MOST


def share_elsewhere(
    now: Floats32, there: Floats32, here: Floats32, down: int = 0, right: int = 0
) -> float:
    """Return the share of the parts that agree better with the scene in another place than in place.

    Only parts that can be recognised in either place count; it is 0 if there are none.

    Args:
        now: (h, w), edges of the picture.
        there: (h, w), edges of the scene as it would be seen after the move, but for a displacement.
        here: (h, w), edges of the scene in place.
        down: Rows by which `now` is displaced against `there`.
        right: Columns.
    """
    moved, then = overlap(now, there, down, right)
    place, _ = overlap(here, here, down, right)
    elsewhere, in_place = _alike(moved, then), _alike(moved, place)
    clear = np.maximum(elsewhere, in_place) > _CLEAR
    return float((elsewhere > in_place)[clear].mean()) if clear.any() else 0.0


def _alike(a: Floats32, b: Floats32) -> Floats32:
    a = a * (b != 0)  # where the scene is known
    both = np.sqrt(_sums(a * a) * _sums(b * b))
    return np.asarray(_sums(a * b) / np.maximum(both, 1e-6), np.float32)


def _sums(values: Floats32) -> Floats32:
    """Return the sums over 4 x 5 blocks."""
    rows, columns = (
        np.linspace(0, size, count, endpoint=False).astype(int)
        for size, count in zip(values.shape, _BLOCKS, strict=True)
    )
    return np.asarray(np.add.reduceat(np.add.reduceat(values, rows, 0), columns, 1), np.float32)
