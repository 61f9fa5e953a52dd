"""Pictures that are copies of others, and pictures that are like no other; arrays in, indices out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lenswatch.detect.arrays import Floats32, Pixels
from lenswatch.detect.chart.features import median_scene

__all__ = ["equal_groups", "near_copies", "unlike_all"]

COPY = (
    0.92  # correlation of what two pictures show beside the scene, above which it is one exposure
)
NEIGHBOURS = 6  # pictures that show the scene as it was then
BLOCK = 512  # pictures that are compared with all others at once
UNLIKE = 8.0  # times the usual difference of a picture from the one most like it
LEAST_UNLIKE = 6.0  # grey levels, root mean square; less is never unlike
FEWEST = 8  # pictures of which one can be unlike the others


def equal_groups(digests: Sequence[str]) -> list[list[int]]:
    """Return the positions of files with the same content, in groups of two or more."""
    groups: dict[str, list[int]] = {}
    for i, digest in enumerate(digests):
        groups.setdefault(digest, []).append(i)
    return [group for group in groups.values() if len(group) > 1]


def near_copies(thumbs: Pixels) -> list[tuple[int, int]]:
    """Return pairs of pictures that show the same moment: other files of one exposure.

    Two exposures of a fixed camera differ at least in their noise. So what is compared is what each picture
    has beside the scene: first that of all pictures, then that of those most like it, such as other nights.

    Args:
        thumbs: (n, 64, 80) uint8, luma.

    Returns:
        Pairs (i, j) with i < j, the second most like the first.
    """
    if len(thumbs) < NEIGHBOURS:
        return []
    fine = _fine(thumbs.astype(np.float32))
    rest = _without(fine, _fine(median_scene(thumbs)[None].astype(np.float32))[0])
    pairs = set()
    for start in range(0, len(rest), BLOCK):
        for i, values in enumerate(rest[start : start + BLOCK] @ rest.T, start):
            values[i] = -1
            likest = np.argsort(values)[::-1][: NEIGHBOURS + 1]
            j, others = int(likest[0]), likest[1:]
            if values[j] > COPY and _is_copy(fine, i, j, others):
                pairs.add((min(i, j), max(i, j)))
    return sorted(pairs)


def _is_copy(fine: Floats32, i: int, j: int, others: npt.NDArray[np.intp]) -> bool:
    """Return True when two pictures share more than the scene as others most like them show it."""
    first, second = _without(fine[[i, j]], fine[others].mean(axis=0))
    return bool(first @ second > COPY)


def _without(fine: Floats32, scene: Floats32) -> Floats32:
    """Return (n, 5120) of length 1: what each picture has beside a scene."""
    scene = scene / max(float(np.linalg.norm(scene)), 1e-6)
    rest = fine - np.outer(fine @ scene, scene)
    norms = np.linalg.norm(rest, axis=1, keepdims=True)
    return np.asarray(rest / np.maximum(norms, 1e-6), np.float32)


def _fine(thumbs: Floats32) -> Floats32:
    """Return (n, 5120): each thumb less its means over 8 x 8 pixels."""
    n, rows, columns = thumbs.shape
    blocks = thumbs.reshape(n, rows // 8, 8, columns // 8, 8)
    return np.asarray((blocks - blocks.mean(axis=(2, 4), keepdims=True)).reshape(n, -1))


def unlike_all(thumbs: Pixels) -> list[int]:
    """Return the positions of pictures that differ from all others far more than these among themselves.

    Args:
        thumbs: (n, 64, 80) uint8, luma.
    """
    if len(thumbs) < FEWEST:
        return []
    flat = thumbs.reshape(len(thumbs), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    squares = np.square(flat).sum(axis=1)
    nearest = np.empty(len(flat))
    for start in range(0, len(flat), BLOCK):
        part = slice(start, start + BLOCK)
        distances = squares[part, None] + squares[None] - 2 * flat[part] @ flat.T
        rows = np.arange(len(distances))
        distances[rows, start + rows] = np.inf
        nearest[part] = np.sqrt(np.maximum(distances.min(axis=1), 0) / flat.shape[1])
    limit = max(LEAST_UNLIKE, UNLIKE * float(np.median(nearest)))
    return [int(i) for i in np.flatnonzero(nearest > limit)]
