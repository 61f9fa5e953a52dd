"""The lens chart as a detector of scikit-learn's kind, whose rows are pictures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from lenswatch.detect.arrays import Floats
from lenswatch.detect.chart.chart import LensChart as Chart
from lenswatch.detect.chart.features import measure, measure_all, view
from lenswatch.detect.chart.fitting import fit_chart
from lenswatch.estimators.pixels import Source, read_all

__all__ = ["LensChart"]


class LensChart(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no type hints to check
    """The control chart on sharpness, contrast, light and colour, as the node has it.

    Pictures are paths, the bytes of files, or (h, w, 3) uint8, in the order of time. Its checks of tables of
    numbers do not apply, since a row is a picture.

    Args:
        expected_run_time: Mean number of clean pictures between two false alarms that is aimed at.
        size: Height and width that each picture is scaled to first.

    Attributes:
        chart_: The fitted chart as a JSON object.
        threshold_: Score above which a picture is drift.
    """

    def __init__(
        self, expected_run_time: float = 200.0, size: tuple[int, int] = (216, 384)
    ) -> None:
        self.expected_run_time = expected_run_time
        self.size = size

    def fit(self, X: Iterable[Source], y: Any = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learn from clean pictures.

        Raises:
            ImageError: One cannot be read.
            InputError: There are fewer than 10.
        """
        found = fit_chart(measure_all(read_all(X, self.size)), ert=self.expected_run_time)
        self.chart_ = found.chart.to_json()
        self.threshold_ = float(found.threshold.drift)
        return self

    def score_samples(self, X: Iterable[Source]) -> Floats:
        """Return (n,) the negative score after each picture of a new stream: lower is more abnormal.

        Raises:
            ImageError: A picture cannot be read.
        """
        check_is_fitted(self)
        chart = Chart.from_json(self.chart_)
        state, found = chart.start(), list[float]()
        for pixels in read_all(X, self.size):
            state = chart.update(state, measure(view(pixels)))
            score = chart.score(state)
            assert score is not None  # there was a picture
            found.append(-score)
        return np.array(found)

    def predict(self, X: Iterable[Source]) -> Any:
        """Return (n,) int: -1 where a picture is drift, else 1."""
        return np.where(-self.score_samples(X) > self.threshold_, -1, 1)
