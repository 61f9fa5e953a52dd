"""Feature vectors of another model, watched by Maximum Mean Discrepancy as embeddings of pictures are."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lenswatch.detect.arrays import Floats
from lenswatch.detect.mmd import Entry, FittedMMD, Window
from lenswatch.detect.thresholds import Threshold, calibrate_scores
from lenswatch.errors import EmbeddingError
from lenswatch.sources.series import check_clean

__all__ = ["VectorSeries"]


@dataclass(frozen=True)
class VectorSeries:
    """The clean feature vectors of a series.

    Attributes:
        clean: (n, d) float64, in the order of time.
        window_size: Vectors that are compared at once.
        ert: Expected run time that the thresholds aim at, in vectors.
        digest: Identifies the clean vectors.
    """

    clean: Floats
    window_size: int
    ert: float
    digest: str

    def __post_init__(self) -> None:
        if self.clean.ndim != 2 or not np.isfinite(self.clean).all():
            raise EmbeddingError(
                f"clean vectors of shape {self.clean.shape}: give finite numbers of shape (n, d)"
            )
        check_clean(len(self.clean), self.window_size)

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return int(self.clean.shape[1])

    @functools.cached_property
    def _fitted(self) -> FittedMMD:
        return FittedMMD.fit(self.clean, self.window_size)

    @functools.cached_property
    def thresholds(self) -> Mapping[str, Threshold]:
        """The thresholds of the distance, from each half of the clean span compared with the other."""
        half = len(self.clean) // 2
        first, second = self.clean[:half], self.clean[half:]
        runs = [
            FittedMMD.fit(reference, self.window_size).distances(other)
            for reference, other in ((first, second), (second, first))
        ]
        fitted = self._fitted
        reach, least = fitted.largest_distance, fitted.one_picture_distance
        return {
            "mmd": calibrate_scores(runs, ert=self.ert, tail="additive", reach=reach, least=least)
        }

    def entry(self, vector: Any) -> Entry:
        """Check one vector (d,) and return it as an entry of a window."""
        return self._fitted.entry(vector)

    def statistics(self, window: Window) -> dict[str, float]:
        """Return the distance of a full window."""
        distance = self._fitted.distance(window)
        return {} if distance is None else {"mmd": distance}
