"""Drift detectors with scikit-learn's methods: the last rows before each row are compared with clean ones.

Rows are in the order of time, so a row's score depends on those before it. At the beginning the window is
filled up with the last clean rows, as a node fills it.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from lenswatch.detect.arrays import Floats
from lenswatch.detect.mmd import FittedMMD
from lenswatch.detect.thresholds import calibrate_scores
from lenswatch.evaluate.compare import FEWEST, domain_classifier_auc

__all__ = ["DomainClassifierDrift", "KSDrift", "MMDDrift"]


class _Windowed(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no type hints to check
    """The parts that these detectors share.

    Subclasses compute `_distances(clean, rows)`, one for each row of (n, d).
    """

    def __init__(self, window_size: int = 12, expected_run_time: float = 200.0) -> None:
        self.window_size = window_size
        self.expected_run_time = expected_run_time

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learn from clean rows (n, d) in the order of time, and find the threshold.

        Each half of them is scored against the other. With fewer than two windows no threshold can be
        found, and `predict` finds no drift.
        """
        clean = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        self.clean_ = clean
        half = len(clean) // 2
        self.threshold_ = np.inf
        if half > self.window_size:
            first, second = clean[:half], clean[half:]
            runs = [self._distances(a, b) for a, b in ((first, second), (second, first))]
            ert = self.expected_run_time
            self.threshold_ = calibrate_scores(runs, ert=ert, tail="additive").drift
        return self

    def score_samples(self, X: Any) -> Floats:
        """Return (n,) the negative distance of the window that ends at each row: lower is more abnormal."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        return -self._distances(self.clean_, rows)

    def predict(self, X: Any) -> Any:
        """Return (n,) int: -1 where the window that ends at a row has drifted, else 1."""
        return np.where(-self.score_samples(X) > self.threshold_, -1, 1)

    def _distances(self, clean: Floats, rows: Floats) -> Floats:
        raise NotImplementedError


class MMDDrift(_Windowed):
    """Maximum Mean Discrepancy between the last rows and clean ones, as the node computes it.

    >>> rng = np.random.default_rng(0)
    >>> detector = MMDDrift().fit(rng.normal(size=(300, 4)))
    >>> detector.predict(rng.normal(3, 1, size=(20, 4)))[-1]
    np.int64(-1)

    Args:
        window_size: Rows that are compared at once, at least 2.
        expected_run_time: Mean number of clean rows between two false alarms that the threshold aims at.

    Attributes:
        clean_: (n, d) the clean rows.
        threshold_: Distance above which a window has drifted.
    """

    def _distances(self, clean: Floats, rows: Floats) -> Floats:
        fitted = FittedMMD.fit(clean, self.window_size)
        start = fitted.warm()
        window, found = start, []
        for row in rows:
            window = window.push(fitted.entry(row), self.window_size)
            distance = fitted.distance(window)
            found.append(0.0 if distance is None else distance)
        return np.array(found)


class DomainClassifierDrift(_Windowed):
    """The AUC of a linear classifier between the last rows and clean ones (Lopez-Paz and Oquab 2017).

    It is cross-validated, and 0.5 where the rows cannot be told apart. A window of fewer than 4 rows has no
    score of its own, and gets 0.5.

    Args:
        window_size: Rows that are compared at once.
        expected_run_time: Mean number of clean rows between two false alarms that the threshold aims at.

    Attributes:
        clean_: (n, d) the clean rows.
        threshold_: AUC above which a window has drifted.
    """

    def __init__(self, window_size: int = 30, expected_run_time: float = 200.0) -> None:
        super().__init__(window_size, expected_run_time)

    def _distances(self, clean: Floats, rows: Floats) -> Floats:
        # The clean rows that fill the first windows are not on the other side, too.
        fill = min(self.window_size - 1, len(clean) // 2)
        kept = clean[: len(clean) - fill] if len(clean) - fill >= FEWEST else clean
        history = np.concatenate((clean[len(clean) - fill :], rows))
        found = []
        for end in range(fill + 1, len(history) + 1):
            window = history[max(0, end - self.window_size) : end]
            enough = min(len(window), len(kept)) >= FEWEST
            found.append(domain_classifier_auc(kept, window) if enough else 0.5)
        return np.array(found)


class KSDrift(_Windowed):
    """The largest Kolmogorov-Smirnov distance of any column between the last rows and clean ones.

    Args:
        window_size: Rows that are compared at once.
        expected_run_time: Mean number of clean rows between two false alarms that the threshold aims at.

    Attributes:
        clean_: (n, d) the clean rows.
        threshold_: Distance above which a window has drifted.
    """

    def _distances(self, clean: Floats, rows: Floats) -> Floats:
        size, ordered = self.window_size, np.sort(clean, axis=0)
        history = np.concatenate((clean[-(size - 1) :] if size > 1 else clean[:0], rows))
        ends = range(len(history) - len(rows) + 1, len(history) + 1)
        return np.array([_largest(ordered, history[max(0, end - size) : end]) for end in ends])


def _largest(clean: Floats, window: Floats) -> float:
    """Return the largest distance of a column of (m, d) from that of sorted (n, d)."""
    best = 0.0
    for known, now in zip(clean.T, np.sort(window, axis=0).T, strict=True):
        both = np.concatenate((known, now))
        shares = [np.searchsorted(each, both, side="right") / len(each) for each in (known, now)]
        best = max(best, float(np.abs(shares[0] - shares[1]).max()))
    return best
