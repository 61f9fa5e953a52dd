"""The nearest of many embeddings, found by one matrix product."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Nearest"]

ROUNDING = 4e-7  # for each value, of the squared lengths: more than float32 rounds by


class Nearest:
    """Embeddings of which the nearest to another is wanted again and again.

    Args:
        embeddings: (n, d) float32, n >= 1; they must not be changed.
    """

    def __init__(self, embeddings: npt.NDArray[np.float32]) -> None:
        self._embeddings = embeddings
        self._lengths = (embeddings * embeddings).sum(axis=1)
        self._largest = float(self._lengths.max())

    def row(self, embedding: npt.NDArray[np.float32]) -> int:
        """Return the number of the nearest embedding to (d,), the first of several.

        The product only tells which rows are near; those are compared as they are.
        """
        about = self._lengths - 2 * (self._embeddings @ embedding)
        rounded = ROUNDING * (len(embedding) + 4)
        margin = rounded * (self._largest + float(embedding @ embedding))
        near = np.flatnonzero(about <= about.min() + margin)
        away = ((self._embeddings[near] - embedding) ** 2).sum(axis=1)
        return int(near[away.argmin()])
