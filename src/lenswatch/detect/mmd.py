"""Maximum Mean Discrepancy between a sliding window of embeddings and clean reference embeddings.

Everything here is a pure function of two values: `FittedMMD`, which never changes, and `Window`,
which goes in and comes out. `MMDStreaming`, a Frouros detector, is those two in one object.

With K the kernel, reference x (n samples) and window y (m samples), the unbiased estimate of
Gretton et al. (2012), "A Kernel Two-Sample Test", JMLR 13, equation 3, is::

    MMD^2 = (sum_ij K(xi,xj) - n) / (n(n-1)) + (sum_ij K(yi,yj) - m) / (m(m-1)) - 2 sum_ij K(xi,yj) / (nm)

It is about 0, and often slightly negative, when both come from one distribution.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from frouros.callbacks.streaming.base import BaseCallbackStreaming
from frouros.detectors.data_drift.base import MultivariateData, NumericalData
from frouros.detectors.data_drift.streaming.distance_based.base import (
    BaseDistanceBased,
    DistanceResult,
)
from frouros.utils.kernels import rbf_kernel
from scipy.spatial.distance import pdist

from lenswatch.detect.arrays import Floats
from lenswatch.errors import BlindKernelError, EmbeddingError, StoreError

__all__ = ["Entry", "FittedMMD", "MMDStreaming", "Window", "median_distance"]

Kernel = Callable[[Floats, Floats], Floats]

# Outside these mean kernel values between reference samples, the distance hardly moves for anything.
BLIND_BELOW, BLIND_ABOVE = 1e-6, 1 - 1e-6
MEDIAN_SAMPLES = 1000  # of the reference, evenly spaced: enough for a median, whatever its size
_SHAPE = struct.Struct("<II")
_ROWS = 1024  # of the reference's kernel matrix held in memory at a time


@dataclass(frozen=True)
class Entry:
    """One embedding and what is kept of it: its mean kernel to the reference, computed once."""

    embedding: Floats  # (d,) float64
    to_reference: float


@dataclass(frozen=True)
class Window:
    """The last embeddings of a stream, oldest first.

    Attributes:
        embeddings: (m, d) float64.
        to_reference: (m,) float64, the mean kernel of each embedding to the reference.
    """

    embeddings: Floats
    to_reference: Floats

    @classmethod
    def empty(cls, dimensions: int) -> Window:
        return cls(np.empty((0, dimensions)), np.empty(0))

    def __len__(self) -> int:
        return len(self.to_reference)

    def push(self, entry: Entry, size: int) -> Window:
        """The window with `entry` at its end, and no more than `size` entries."""
        keep = slice(max(0, len(self) + 1 - size), None)
        return Window(
            np.concatenate((self.embeddings[keep], entry.embedding[None])),
            np.concatenate((self.to_reference[keep], (entry.to_reference,))),
        )

    def to_bytes(self) -> bytes:
        """Rows and columns, then (m, d + 1) float64 with the mean kernel in the last column."""
        rows = np.column_stack((self.embeddings, self.to_reference)).astype("<f8", copy=False)
        return _SHAPE.pack(*rows.shape) + rows.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Window:
        """Read what `to_bytes` wrote.

        Raises:
            StoreError: it is damaged.
        """
        try:
            m, columns = _SHAPE.unpack_from(data)
            rows = np.frombuffer(data, "<f8", offset=_SHAPE.size).reshape(m, columns)
            return cls(rows[:, :-1].astype(np.float64), rows[:, -1].astype(np.float64))
        except (struct.error, ValueError, IndexError) as error:
            raise StoreError(
                f"a stored window cannot be read ({error}); clear it with `lenswatch reset STREAM`"
            ) from None


@dataclass(frozen=True)
class FittedMMD:
    """A reference and a kernel, ready to judge windows.

    Attributes:
        reference: (n, d) float64.
        kernel: (a, d), (b, d) -> (a, b), with K(x, x) = 1.
        mean_kernel: mean of K over pairs of different reference samples.
        window_size: m, the number of embeddings a distance is computed from.
    """

    reference: Floats
    kernel: Kernel
    mean_kernel: float
    window_size: int

    @classmethod
    def fit(
        cls, X: Any, window_size: int = 12, sigma: float | None = None, kernel: Kernel | None = None
    ) -> FittedMMD:
        """Fit to clean embeddings (n, d), n >= 2.

        `sigma` is the bandwidth of the Gaussian kernel exp(-|a-b|^2 / (2 sigma^2)); without it, the
        median distance between reference samples (Gretton et al. 2012, section 8). `kernel` is used
        as it is.

        Raises:
            EmbeddingError: X is misshaped or holds NaN or infinite values.
            BlindKernelError: the kernel is 0 or 1 for nearly all pairs of the reference.
        """
        reference = _samples(X)
        if kernel is None:
            kernel = functools.partial(rbf_kernel, sigma=sigma or _usable_median(reference))
        mean_kernel = _mean_kernel(reference, kernel)
        if not BLIND_BELOW < mean_kernel < BLIND_ABOVE:
            raise BlindKernelError(_blind(reference, mean_kernel))
        return cls(reference, kernel, mean_kernel, window_size)

    @property
    def dimensions(self) -> int:
        return int(self.reference.shape[1])

    @property
    def largest_distance(self) -> float:
        """What no distance can exceed: window samples all alike, and far from the reference."""
        return 1 + self.mean_kernel

    @functools.cached_property
    def one_picture_distance(self) -> float:
        """The usual distance of a window that holds one clean picture over and over.

        The median over (at most 500) reference samples, each against all others.
        """
        step = -(-len(self.reference) // 500)
        own = self.kernel(self.reference[::step], self.reference).sum(axis=1) - 1
        distances = self.largest_distance - 2 * own / (len(self.reference) - 1)
        return float(np.median(distances))

    def entry(self, embedding: Any) -> Entry:
        """Check one embedding, (d,) or (1, d), and evaluate the kernel between it and the reference.

        Raises:
            EmbeddingError: NaN, infinite or of another dimension than the reference.
        """
        row = _checked(embedding, self.dimensions)
        return Entry(row, float(np.mean(self.kernel(row[None], self.reference))))

    def distance(self, window: Window, within: Floats | None = None) -> float | None:
        """The unbiased MMD^2 between window and reference; None until the window is full.

        `within` is the (m, m) kernel matrix of the window, if it is at hand.
        """
        m = len(window)
        if m < self.window_size:
            return None
        kernels = self.within(window) if within is None else within
        among = (float(np.sum(kernels)) - m) / (m * m - m)
        return self.mean_kernel + among - 2 * float(np.mean(window.to_reference))

    def within(self, window: Window, before: Floats | None = None) -> Floats:
        """The (m, m) kernel matrix of a window; from the one `before` its last push, a row suffices."""
        if before is None:
            return self.kernel(window.embeddings, window.embeddings)
        m = len(window)
        kernels = np.empty((m, m))
        kept = before[len(before) - m + 1 :, len(before) - m + 1 :]
        kernels[:-1, :-1] = kept
        kernels[-1] = kernels[:, -1] = self.kernel(window.embeddings[-1:], window.embeddings)[0]
        return kernels

    def warm(self, embeddings: Floats | None = None) -> Window:
        """A window filled with the last `window_size` of `embeddings` (of the reference if None)."""
        window = Window.empty(self.dimensions)
        rows = self.reference if embeddings is None else embeddings
        for row in rows[-self.window_size :]:
            window = window.push(self.entry(row), self.window_size)
        return window

    def distances(self, embeddings: Any) -> Floats:
        """The distance after each of (k, d) embeddings in order, NaN until the window is full."""
        window, found = Window.empty(self.dimensions), []
        for row in np.asarray(embeddings, np.float64):
            window = window.push(self.entry(row), self.window_size)
            distance = self.distance(window)
            found.append(np.nan if distance is None else distance)
        return np.array(found)


def median_distance(X: Floats) -> float:
    """The median Euclidean distance between different rows of (n, d), of 1000 rows at most."""
    step = -(-len(X) // MEDIAN_SAMPLES)
    return float(np.median(pdist(X[::step])))


def _usable_median(reference: Floats) -> float:
    sigma = median_distance(reference)
    if sigma > 0:
        return sigma
    raise BlindKernelError(
        f"more than half of the {len(reference)} reference embeddings are the same, so that no bandwidth "
        "can be fitted; give reference pictures that differ, or set detector.sigma"
    )


def _mean_kernel(reference: Floats, kernel: Kernel) -> float:
    n = len(reference)
    rows = (reference[i : i + _ROWS] for i in range(0, n, _ROWS))
    total = sum(float(np.sum(kernel(block, reference))) for block in rows)
    return (total - n) / (n * (n - 1))


def _blind(reference: Floats, mean_kernel: float) -> str:
    extreme = (
        "0: the bandwidth is too small" if mean_kernel < 0.5 else "1: the bandwidth is too large"
    )
    return (
        f"the kernel is blind on this reference: its mean value is {mean_kernel:.3g}, near {extreme} "
        f"for embeddings this far apart; sigma = {median_distance(reference):.4g} would work "
        '(detector.sigma, or "median")'
    )


def _samples(X: Any) -> Floats:
    """A private (n, d) float64 copy of the reference, checked."""
    try:
        reference = np.array(X, np.float64)
    except (TypeError, ValueError) as error:
        raise EmbeddingError(f"the reference embeddings are no array of numbers: {error}") from None
    if reference.ndim == 1:
        reference = reference[:, None]
    if reference.ndim != 2 or len(reference) < 2 or reference.shape[1] < 1:
        raise EmbeddingError(
            f"the reference embeddings have shape {reference.shape}; (n, d) with n >= 2 is needed"
        )
    if not np.isfinite(reference).all():
        bad = int(np.flatnonzero(~np.isfinite(reference).all(axis=1))[0])
        raise EmbeddingError(f"reference embedding {bad} holds NaN or infinite values")
    return reference


def _checked(embedding: Any, dimensions: int) -> Floats:
    try:
        row = np.array(embedding, np.float64)
    except (TypeError, ValueError) as error:
        raise EmbeddingError(f"the embedding is no array of numbers: {error}") from None
    if row.shape not in ((dimensions,), (1, dimensions)) and (row.ndim, dimensions) != (0, 1):
        raise EmbeddingError(f"the embedding has shape {row.shape}, the reference ({dimensions},)")
    if not np.isfinite(row).all():
        raise EmbeddingError("the embedding holds NaN or infinite values; the window is unchanged")
    return row.reshape(dimensions)


class MMDStreaming(BaseDistanceBased):  # type: ignore[misc]  # Frouros has no type hints to check
    """Frouros' `MMDStreaming`, computed incrementally in float64.

    The same distances within 1e-9, the same `None` until the window is full. What differs: each
    embedding's mean kernel to the reference is computed once, not at every update; `reset` clears the
    window and keeps the reference; NaN, infinite and misshaped values are refused before they touch
    the window; the bandwidth is fitted to the reference unless given; a reference on which the kernel
    is blind is refused.

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
        """The immutable part.

        Raises:
            MissingFitError: from Frouros, when `fit` was not called.
        """
        self._check_is_fitted()
        return self._fitted

    @property
    def window(self) -> Window:
        """The window as it is now: a value, unaffected by later updates."""
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

    def _update(self, value: Any) -> DistanceResult | None:  # noqa: ARG002 - judged above, once
        assert self._entry is not None
        self._window = self.window.push(self._entry, self.window_size)
        self._within = self.fitted.within(self._window, self._within)
        distance = self.fitted.distance(self._window, self._within)
        return None if distance is None else DistanceResult(distance=distance)

    def _compare(self, X: Any) -> tuple[DistanceResult, dict[str, Any]]:
        """The distance of any number of samples (k, d), k >= 2, the window left alone."""
        rows = [self.fitted.entry(row) for row in np.asarray(X, np.float64)]
        window = Window.empty(self.fitted.dimensions)
        for row in rows:
            window = window.push(row, len(rows))
        fitted = FittedMMD(
            self.fitted.reference, self.fitted.kernel, self.fitted.mean_kernel, len(rows)
        )
        distance = fitted.distance(window)
        assert distance is not None
        return DistanceResult(distance=distance), {}
