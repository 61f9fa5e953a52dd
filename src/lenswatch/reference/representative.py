"""A choice of few clean pictures that stand for all of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["representative_rows"]


def representative_rows(embeddings: npt.NDArray[np.float32], most: int) -> list[int]:
    """Return rows such that no embedding is far from a chosen one.

    The first is the one nearest to the mean, and each further one is the farthest from all before it
    (Gonzalez 1985, "Clustering to minimize the maximum intercluster distance"): the largest distance to a
    chosen one is at most twice the smallest possible. Equal embeddings are chosen once.

    Args:
        embeddings: (n, d).
        most: The most rows to choose.

    Returns:
        The rows in ascending order.
    """
    mean = embeddings.mean(axis=0)
    chosen = [int(_squared(embeddings, mean).argmin())]
    away = _squared(embeddings, embeddings[chosen[0]])
    while len(chosen) < most and away.max() > 0:
        chosen.append(int(away.argmax()))
        away = np.minimum(away, _squared(embeddings, embeddings[chosen[-1]]))
    return sorted(chosen)


def _squared(
    embeddings: npt.NDArray[np.float32], point: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    squared: npt.NDArray[np.float32] = ((embeddings - point) ** 2).sum(axis=1)
    return squared
