"""Common drift detectors to compare Lenswatch with. All of them use its encoder.

Each maker takes clean images in time order, the expected run time and a seed; and an `encoder`, if one
that was trained on these images is at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from scipy import stats

from lenswatch.detect.arrays import Floats, Pixels
from lenswatch.detect.mmd import FittedMMD
from lenswatch.detect.thresholds import level_with_events
from lenswatch.evaluate.compare import domain_classifier_auc
from lenswatch.evaluate.encoding import Encoder, encoder_for
from lenswatch.evaluate.protocol import MakeDetector

__all__ = ["RIVALS", "Windowed", "smallest_ks_p_value"]

WindowScore = Callable[[Floats], float]

_MMD_WINDOW = 12
_SAMPLE = 30  # embeddings that are tested together by KS and the classifier
_TUTORIAL = (0.05, 0.10)  # warning and drift distance of the DriftWatch tutorial, at sigma = 0.3


class Windowed:
    """A detector that compares a score of the last `size` embeddings with fixed thresholds.

    Attributes:
        threshold: Score above which it is drift.
    """

    def __init__(
        self, encoder: Encoder, size: int, score: WindowScore, warning: float, threshold: float
    ) -> None:
        self._encoder, self._size, self._score = encoder, size, score
        self._warning, self.threshold = warning, threshold
        self.reset()

    def reset(self) -> None:
        """Empty the window."""
        self._window: list[Floats] = []

    def update(self, image: Pixels) -> tuple[float | None, bool, bool]:
        """Take one more image and return (score, warning, drift); no score while the window fills."""
        embedding = self._encoder(image).astype(np.float64)
        self._window = [*self._window[1 - self._size :], embedding]
        if len(self._window) < self._size:
            return None, False, False
        score = self._score(np.stack(self._window))
        return score, score > self._warning, score > self.threshold


def _tutorial(
    clean: Sequence[Pixels], _: float, seed: int, encoder: Encoder | None = None
) -> Windowed:
    """Frouros' MMD with the tutorial's bandwidth and fixed distances."""
    from frouros.detectors.data_drift import MMDStreaming
    from frouros.utils.kernels import rbf_kernel

    encoder = encoder_for(clean, seed, encoder)
    detector = MMDStreaming(window_size=_MMD_WINDOW, kernel=partial(rbf_kernel, sigma=0.3))
    detector.fit(X=encoder.embeddings.astype(np.float64))

    def score(window: Floats) -> float:
        """Return what `update` would after these; a detector is only emptied by a new fit."""
        result, _logs = detector.compare(X=window)
        return float(result.distance)

    return Windowed(encoder, _MMD_WINDOW, score, *_TUTORIAL)


def _independent_mmd(
    clean: Sequence[Pixels], ert: float, seed: int, encoder: Encoder | None = None
) -> Windowed:
    """MMD with thresholds simulated from independent draws of the reference."""
    encoder = encoder_for(clean, seed, encoder)
    fitted = FittedMMD.fit(encoder.embeddings, _MMD_WINDOW)
    rng = np.random.default_rng(seed)
    drawn = rng.choice(fitted.reference, size=int(max(4000, 10 * ert)))
    scores = fitted.distances(drawn)
    warning, threshold = (_for_run_time(scores, e) for e in (ert / 4, ert))

    def score(window: Floats) -> float:
        return float(fitted.distances(window)[-1])

    return Windowed(encoder, _MMD_WINDOW, score, warning, threshold)


def _ks(clean: Sequence[Pixels], ert: float, seed: int, encoder: Encoder | None = None) -> Windowed:
    """Kolmogorov-Smirnov test in each dimension, with Bonferroni's correction, at level 1/ERT."""
    encoder = encoder_for(clean, seed, encoder)
    reference = np.sort(encoder.embeddings.astype(np.float64), axis=0)

    def score(window: Floats) -> float:
        smallest = smallest_ks_p_value(reference, window)
        return float(-np.log10(max(smallest * reference.shape[1], 1e-300)))

    return Windowed(encoder, _SAMPLE, score, float(np.log10(ert / 4)), float(np.log10(ert)))


def smallest_ks_p_value(reference: Floats, window: Floats) -> float:
    """Return the smallest p-value of the asymptotic two-sample test over the dimensions.

    Args:
        reference: (n, d), each column sorted.
        window: (m, d).
    """
    n, m = len(reference), len(window)
    largest = max(
        _ks_distance(a, b) for a, b in zip(reference.T, np.sort(window, axis=0).T, strict=True)
    )
    return float(stats.kstwo.sf(largest, round(n * m / (n + m))))


def _ks_distance(a: Floats, b: Floats) -> float:
    """Largest difference between the distribution functions of two sorted samples."""
    both = np.concatenate([a, b])
    below = np.searchsorted(a, both, side="right") / len(a)
    below -= np.searchsorted(b, both, side="right") / len(b)
    return float(np.abs(below).max())


def _classifier(
    clean: Sequence[Pixels], ert: float, seed: int, encoder: Encoder | None = None
) -> Windowed:
    """AUC of a classifier between window and reference; thresholds from independent draws."""
    encoder = encoder_for(clean, seed, encoder)
    reference = encoder.embeddings.astype(np.float64)
    rng = np.random.default_rng(seed)
    drawn = [
        domain_classifier_auc(reference, rng.choice(reference, size=_SAMPLE)) for _ in range(400)
    ]
    warning, threshold = (float(np.quantile(drawn, 1 - 1 / e)) for e in (ert / 4, ert))
    score = partial(domain_classifier_auc, reference)
    return Windowed(encoder, _SAMPLE, score, warning, threshold)


def _for_run_time(scores: Floats, ert: float) -> float:
    return level_with_events([scores], int(len(scores) / ert), refractory=_MMD_WINDOW)


RIVALS: dict[str, MakeDetector] = {
    "tutorial": _tutorial,
    "independent MMD": _independent_mmd,
    "KS": _ks,
    "domain classifier": _classifier,
}
