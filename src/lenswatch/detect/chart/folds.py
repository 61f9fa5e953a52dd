"""Blocks of the clean footage, each measured by a chart that was fitted to the others.

Neighbouring images are alike, so the footage is split into contiguous blocks, and images near a block are
left out of the fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Fold", "folds_of"]

Kind = TypeVar("Kind", bound=np.generic)

_ENOUGH = 240  # images from which on two blocks are enough
_FEW, _MANY = 2, 4  # blocks
_GAP = 12  # images left out on each side of a block, at most
_GAP_SHARE = 15  # of the images: the gap of less footage


@dataclass(frozen=True)
class Fold:
    """A block of clean images in time order, and the pieces of the footage that it is compared with.

    Attributes:
        block: The images that are measured.
        fit: One or two contiguous pieces before and after them.
    """

    block: slice
    fit: tuple[slice, ...]

    def fitted_to(self, values: NDArray[Kind]) -> NDArray[Kind]:
        """Return the rows of (n, ...) that the fold is fitted to."""
        return np.concatenate([values[piece] for piece in self.fit])


def folds_of(n: int) -> list[Fold]:
    """Return the folds of n images in time order: 4 blocks, or 2 of 240 images or more.

    >>> [fold.block for fold in folds_of(240)]
    [slice(0, 120, None), slice(120, 240, None)]
    >>> folds_of(60)[1]
    Fold(block=slice(15, 30, None), fit=(slice(0, 11, None), slice(34, 60, None)))
    """
    blocks, gap = _FEW if n >= _ENOUGH else _MANY, min(_GAP, n // _GAP_SHARE)
    edges = [round(n * j / blocks) for j in range(blocks + 1)]
    folds = []
    for start, end in pairwise(edges):
        before, after = slice(0, max(0, start - gap)), slice(min(n, end + gap), n)
        fit = tuple(piece for piece in (before, after) if piece.stop > piece.start)
        folds.append(Fold(slice(start, end), fit))
    return folds
