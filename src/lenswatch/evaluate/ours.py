"""Lenswatch itself as a detector to be judged: the product's functions from decoded image to verdict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lenswatch.calibration import calibrate_mmd
from lenswatch.detector import FittedMMD, Window
from lenswatch.evaluate.encoding import Encoder, encoder_for, scaled
from lenswatch.lens_chart import ChartFit, ChartState, fit_chart
from lenswatch.lens_features import measure, measure_all, view
from lenswatch.verdict import Rule, Statistic, combine, share

__all__ = ["Ours", "make_chart", "make_detector", "make_mmd"]

Pixels = NDArray[np.uint8]
_WINDOW = 12


class Ours:
    """MMD and lens chart with calibrated thresholds; `score` is the largest of value over threshold."""

    threshold = 1.0

    def __init__(self, encoder: Encoder, chart: ChartFit, ert: float, rule: Rule) -> None:
        self._encoder, self._chart, self._rule = encoder, chart, rule
        self._mmd = FittedMMD.fit(encoder.embeddings, _WINDOW)
        self._limit = calibrate_mmd(
            encoder.embeddings,
            window_size=_WINDOW,
            ert=ert * share(rule, "mmd"),
            scores=lambda fit, run: FittedMMD.fit(fit, _WINDOW).distances(run),
            reach=self._mmd.largest_distance,
        )
        self.reset()

    def reset(self) -> None:
        """Start anew, the window filled with the last clean embeddings as a new stream's is."""
        self._window: Window = self._mmd.warm()
        self._state: ChartState = self._chart.chart.start()

    def update(self, image: Pixels) -> tuple[float | None, bool, bool]:
        """One more image: (score, warning, drift)."""
        small = scaled(image, self._encoder.transform)
        entry = self._mmd.entry(self._encoder(small))
        self._window = self._window.push(entry, _WINDOW)
        self._state = self._chart.chart.update(self._state, measure(view(small)))
        mmd = Statistic.of(self._mmd.distance(self._window), self._limit)
        chart = self._chart.chart
        score = Statistic.of(chart.score(self._state), self._chart.threshold)
        look = chart.slow_score(self._state) > self._chart.slow.drift
        verdict = combine(self._rule, mmd, score, look=look)
        return verdict.ratio, verdict.warning, verdict.drift


def make_detector(clean_images: Sequence[Pixels], target_ert: float, seed: int) -> Ours:
    """Lenswatch, configured on clean images (uint8 RGB, of any one size, in time order)."""
    return _make(clean_images, target_ert, seed, "either")


def make_chart(clean_images: Sequence[Pixels], target_ert: float, seed: int) -> Ours:
    """The lens chart alone."""
    return _make(clean_images, target_ert, seed, "chart")


def make_mmd(clean_images: Sequence[Pixels], target_ert: float, seed: int) -> Ours:
    """The MMD distance alone, calibrated by the half-split."""
    return _make(clean_images, target_ert, seed, "mmd")


def _make(clean: Sequence[Pixels], ert: float, seed: int, rule: Rule) -> Ours:
    encoder = encoder_for(clean, seed)
    measured = measure_all(scaled(image, encoder.transform) for image in clean)
    return Ours(encoder, fit_chart(measured, ert=ert * share(rule, "chart")), ert, rule)
