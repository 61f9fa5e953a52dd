"""`MMDStreaming`: the distance of a sliding window as a detector of Frouros."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from frouros.callbacks.streaming.base import BaseCallbackStreaming
from frouros.detectors.data_drift.base import MultivariateData, NumericalData
from frouros.detectors.data_drift.streaming.distance_based.base import (
    BaseDistanceBased,
    DistanceResult,
)

from lenswatch.detect.arrays import Floats
from lenswatch.detect.mmd import Entry, FittedMMD, Kernel, Window

__all__ = ["MMDStreaming"]


class MMDStreaming(BaseDistanceBased):  # type: ignore[misc]  # Frouros has no type hints to check
    """Frouros' `MMDStreaming`, computed incrementally in float64.

    Distances equal those of Frouros within 1e-9, and are None until the window is full. The differences:

    - Each embedding's mean kernel to the reference is computed once, not at every update.
    - `reset` clears the window and keeps the reference.
    - NaN, infinite and misshaped values raise an error and leave the window unchanged.
    - The bandwidth is fitted to the reference unless it is given.
    - A reference on which the kernel is nearly constant raises an error.

    >>> import numpy as np
    >>> rng = np.random.default_rng(31)
    >>> detector = MMDStreaming(window_size=10)
    >>> _ = detector.fit(X=rng.normal(size=(100, 2)))
    >>> results = [detector.update(value)[0] for value in rng.normal(3, 1, size=(12, 2))]
    >>> [result is None for result in results].count(True)
    9
    >>> round(float(results[-1].distance), 2) > 0.5
    True
    """

    def __init__(
        self,
        window_size: int = 12,
        sigma: float | None = None,
        *,
        kernel: Kernel | None = None,
        callbacks: BaseCallbackStreaming | list[BaseCallbackStreaming] | None = None,
    ) -> None:
        if window_size < 2:
            raise ValueError(f"window_size = {window_size}: the unbiased distance needs 2 or more")
        if sigma is not None and kernel is not None:
            raise ValueError("give sigma or kernel, not both")
        if sigma is not None and not 0 < sigma < np.inf:
            raise ValueError(f"sigma = {sigma}: must be a number greater than 0")
        super().__init__(
            data_type=NumericalData(), statistical_type=MultivariateData(), callbacks=callbacks
        )
        self.window_size = window_size
        self.sigma = sigma
        self.kernel = kernel
        self._window: Window | None = None
        self._within: Floats | None = (
            None  # kernels in the window, kept so that only one row is new
        )
        self._entry: Entry | None = None

    @property
    def fitted(self) -> FittedMMD:
        """Fitted reference and kernel, which never change.

        Raises:
            MissingFitError: from Frouros, when `fit` was not called.
        """
        self._check_is_fitted()
        return self._fitted

    @property
    def window(self) -> Window:
        """Window as it is now: a value that later updates do not change."""
        return Window.empty(self.fitted.dimensions) if self._window is None else self._window

    def reset(self) -> None:
        """Clear the window and keep the reference."""
        self._reset()

    def _fit(self, X: Floats) -> None:
        self._fitted = FittedMMD.fit(X, self.window_size, self.sigma, self.kernel)
        self.X_ref = self._fitted.reference
        self._reset()

    def _reset(self) -> None:
        self.num_instances = 0
        self._window = None
        self._within = None

    def _specific_checks(self, X: Any) -> None:
        self._entry = self.fitted.entry(X)

    def _update(self, value: Any) -> DistanceResult | None:  # noqa: ARG002 - checked above, once
        assert self._entry is not None
        self._window = self.window.push(self._entry, self.window_size)
        self._within = self.fitted.within(self._window, self._within)
        distance = self.fitted.distance(self._window, self._within)
        return None if distance is None else DistanceResult(distance=distance)

    def _compare(self, X: Any) -> tuple[DistanceResult, dict[str, Any]]:
        """Return the distance of any number of samples (k, d), k >= 2; the window stays as it is."""
        fitted = replace(self.fitted, window_size=len(X))
        distance = fitted.distance(fitted.warm(np.asarray(X, np.float64)))
        assert distance is not None
        return DistanceResult(distance=distance), {}
