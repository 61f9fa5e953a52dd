"""The predictions of another model, watched by their number, confidence and classes.

Each picture's predictions become one vector: their number, their mean confidence, and the number of each
class. A window of them is compared with the clean span: number and confidence by the Kolmogorov-Smirnov
distance, the shares of the classes by the population stability index (PSI).
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lenswatch.detect.arrays import Floats
from lenswatch.detect.mmd import Entry, Window
from lenswatch.detect.thresholds import Threshold, calibrate_scores
from lenswatch.errors import EmbeddingError, InputError
from lenswatch.sources.series import check_clean

__all__ = ["OutputSeries", "classes_of", "vector_of"]

NONE = -1.0  # mean confidence of a picture without predictions
MOST_CLASSES = 50  # those that are rarer count together
LEAST = {"number": 0.25, "confidence": 0.25, "classes": 0.1}  # smaller differences never matter
HALF = 0.5  # added to the number of each class, so that a class without predictions has a share

Prediction = Mapping[str, Any]


def classes_of(clean: Iterable[Sequence[Prediction]]) -> tuple[str, ...]:
    """Return the classes of clean predictions, the most frequent first, at most 50."""
    counted = Counter(str(each["class"]) for one in clean for each in one if "class" in each)
    return tuple(name for name, _ in counted.most_common(MOST_CLASSES))


def vector_of(predictions: Sequence[Prediction], classes: Sequence[str]) -> Floats:
    """Return the vector (3 + number of classes,) of one picture's predictions.

    Args:
        predictions: For each prediction its `score` from 0 to 1 and its `class`; either may be missing.
        classes: The known classes; the others count as one.

    Raises:
        InputError: A score is not a finite number.
    """
    scores = [each["score"] for each in predictions if each.get("score") is not None]
    try:
        known = [float(score) for score in scores]
    except (TypeError, ValueError):
        raise InputError(f"scores {scores!r}: give numbers") from None
    if not all(map(math.isfinite, known)):
        raise InputError(f"scores {known}: give finite numbers")
    counted = Counter(str(each["class"]) for each in predictions if "class" in each)
    mean = sum(known) / len(known) if known else NONE
    numbers = [counted[name] for name in classes]
    return np.array([len(predictions), mean, *numbers, counted.total() - sum(numbers)], np.float64)


@dataclass(frozen=True)
class OutputSeries:
    """The predictions of a clean span.

    Attributes:
        clean: (n, d) float64, a row of `vector_of` for each picture, in the order of time.
        window_size: Pictures that are compared at once.
        ert: Expected run time that the thresholds aim at, in pictures.
        digest: Identifies the clean span.
    """

    clean: Floats
    window_size: int
    ert: float
    digest: str

    def __post_init__(self) -> None:
        check_clean(len(self.clean), self.window_size)

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return int(self.clean.shape[1])

    @functools.cached_property
    def thresholds(self) -> Mapping[str, Threshold]:
        """The thresholds of the statistics, from each half of the clean span compared with the other."""
        half = len(self.clean) // 2
        first, second = self.clean[:half], self.clean[half:]
        runs = [self._run(a, b) for a, b in ((first, second), (second, first))]
        return {
            name: calibrate_scores(
                [[values.get(name, math.nan) for values in run] for run in runs],
                ert=self.ert,
                ert_factor=len(LEAST),  # each raises false alarms of its own
                tail="additive",
                least=LEAST[name],
            )
            for name in LEAST
            if any(name in values for run in runs for values in run)
        }

    def entry(self, vector: Any) -> Entry:
        """Check one vector and return it as an entry of a window."""
        row = np.asarray(vector, np.float64)
        if row.shape != (self.dimensions,) or not np.isfinite(row).all():
            raise EmbeddingError(f"a vector of shape {row.shape}: {self.dimensions} are needed")
        return Entry(row, 0.0)

    def statistics(self, window: Window) -> dict[str, float]:
        """Return the distances of a full window from the clean span."""
        return _compared(self.clean, window.embeddings)

    def _run(self, reference: Floats, rows: Floats) -> list[dict[str, float]]:
        size = self.window_size
        return [_compared(reference, rows[end - size : end]) for end in range(size, len(rows) + 1)]


def _compared(clean: Floats, window: Floats) -> dict[str, float]:
    found = {"number": _ks(clean[:, 0], window[:, 0])}
    sure, now = (rows[rows[:, 1] != NONE, 1] for rows in (clean, window))
    if len(sure) and len(now):
        found["confidence"] = _ks(sure, now)
    if clean[:, 2:].any() and window[:, 2:].any():
        found["classes"] = _psi(clean[:, 2:].sum(axis=0), window[:, 2:].sum(axis=0))
    return found


def _ks(a: Floats, b: Floats) -> float:
    """Return the largest difference of two empirical distribution functions."""
    a, b, both = np.sort(a), np.sort(b), np.concatenate((a, b))
    shares = [np.searchsorted(each, both, side="right") / len(each) for each in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


def _psi(clean: Floats, now: Floats) -> float:
    """Return the population stability index of two histograms over the same classes."""
    p, q = (each + HALF for each in (clean, now))
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())
