"""Maximum Mean Discrepancy between a sliding window of embeddings and clean reference embeddings.

Everything here is a pure function of two values: `FittedMMD`, which never changes, and `Window`,
which is given and returned. `lenswatch.MMDStreaming`, a Frouros detector, holds both in one object; nothing
here needs Frouros or SciPy.

With K the kernel, reference x (n samples) and window y (m samples), the unbiased estimate of
Gretton et al. (2012), "A Kernel Two-Sample Test", JMLR 13, equation 3, is::

    MMD^2 = (sum_ij K(xi,xj) - n) / (n(n-1)) + (sum_ij K(yi,yj) - m) / (m(m-1)) - 2 sum_ij K(xi,yj) / (nm)

It is about 0, and often slightly negative, when both come from one distribution.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lenswatch.detect.arrays import Floats
from lenswatch.detect.reduction import Reduction, reduced
from lenswatch.errors import BlindKernelError, EmbeddingError, StoreError

__all__ = ["Entry", "FittedMMD", "Window", "gaussian_kernel", "median_distance"]

Kernel = Callable[[Floats, Floats], Floats]

# Outside this range of mean kernel values between reference samples, the distance hardly changes.
BLIND_BELOW, BLIND_ABOVE = 1e-6, 1 - 1e-6
MEDIAN_SAMPLES = 1000  # of the reference, evenly spaced: enough for a median
_SHAPE = struct.Struct("<II")
_ROWS = 1024  # and columns of a kernel matrix that are held in memory at a time
_FEW = 16  # rows whose differences from all others are cheaper than a matrix product
_CACHED = 2048  # rows of 32 dimensions that the processor keeps at hand


@dataclass(frozen=True)
class Entry:
    """One embedding with its mean kernel to the reference, which is computed once.

    Attributes:
        embedding: (d,) float64.
        to_reference: Mean kernel between the embedding and all reference samples.
    """

    embedding: Floats
    to_reference: float


@dataclass(frozen=True)
class Window:
    """The last embeddings of a stream, oldest first.

    Attributes:
        embeddings: (m, d) float64.
        to_reference: (m,) float64, mean kernel of each embedding to the reference.
    """

    embeddings: Floats
    to_reference: Floats

    @classmethod
    def empty(cls, dimensions: int) -> Window:
        """Return a window without embeddings."""
        return cls(np.empty((0, dimensions)), np.empty(0))

    def __len__(self) -> int:
        return len(self.to_reference)

    def push(self, entry: Entry, size: int) -> Window:
        """Return a window with `entry` at its end that keeps the last `size` entries."""
        keep = slice(max(0, len(self) + 1 - size), None)
        return Window(
            np.concatenate((self.embeddings[keep], entry.embedding[None])),
            np.concatenate((self.to_reference[keep], (entry.to_reference,))),
        )

    def to_bytes(self) -> bytes:
        """Return rows and columns, then (m, d + 1) float64 with the mean kernel in the last column."""
        rows = np.column_stack((self.embeddings, self.to_reference)).astype("<f8", copy=False)
        return _SHAPE.pack(*rows.shape) + rows.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Window:
        """Read what `to_bytes` wrote.

        Raises:
            StoreError: the bytes are damaged.
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
    """A reference and a kernel, from which the distances of windows are computed.

    Attributes:
        reference: (n, d) float64.
        kernel: Function of (a, d) and (b, d) that returns (a, b), with K(x, x) = 1.
        mean_kernel: Mean of K over pairs of different reference samples.
        window_size: Number m of embeddings that a distance is computed from.
        reduction: Few samples that stand for the reference; None for all of them.
    """

    reference: Floats
    kernel: Kernel
    mean_kernel: float
    window_size: int
    reduction: Reduction | None = None

    @classmethod
    def fit(
        cls, X: Any, window_size: int = 12, sigma: float | None = None, kernel: Kernel | None = None
    ) -> FittedMMD:
        """Fit to clean embeddings.

        Args:
            X: (n, d), n >= 2.
            window_size: Number of embeddings that a distance is computed from.
            sigma: Bandwidth of the Gaussian kernel exp(-|a-b|^2 / (2 sigma^2)). By default, the median
                distance between reference samples (Gretton et al. 2012, section 8).
            kernel: Another kernel, with K(x, x) = 1.

        Raises:
            EmbeddingError: X has another shape, or holds NaN or infinite values.
            BlindKernelError: the kernel is 0 or 1 for nearly all pairs of the reference.
        """
        reference = _samples(X)
        if kernel is None:
            kernel = functools.partial(gaussian_kernel, sigma=sigma or _usable_median(reference))
        mean_kernel = _mean_kernel(reference, kernel)
        if not BLIND_BELOW < mean_kernel < BLIND_ABOVE:
            raise BlindKernelError(_blind(reference, mean_kernel))
        return cls(reference, kernel, mean_kernel, window_size)

    @property
    def dimensions(self) -> int:
        """Number d of values in an embedding."""
        return int(self.reference.shape[1])

    @property
    def largest_distance(self) -> float:
        """Upper bound of all distances: equal window samples, far from the reference."""
        return 1 + self.mean_kernel

    @functools.cached_property
    def one_picture_distance(self) -> float:
        """Distance of a window that holds one clean picture `window_size` times.

        It is the median over at most 500 reference samples, each compared with all others.
        """
        step = -(-len(self.reference) // 500)
        own = self.kernel(self.reference[::step], self.reference).sum(axis=1) - 1
        distances = self.largest_distance - 2 * own / (len(self.reference) - 1)
        return float(np.median(distances))

    def reduced(self, samples: int) -> FittedMMD:
        """Return a detector with few samples, whose distances are off by twice their `bound` at most."""
        few = reduced(self.reference, self.kernel, self.mean_kernel, samples)
        return replace(self, reduction=few)

    def entry(self, embedding: Any) -> Entry:
        """Check one embedding, (d,) or (1, d), and evaluate the kernel between it and the reference.

        Raises:
            EmbeddingError: it has NaN or infinite values, or another dimension than the reference.
        """
        row = _checked(embedding, self.dimensions)
        if self.reduction is not None:
            return Entry(row, self.reduction.mean_kernel(self.kernel, row))
        return Entry(row, float(np.mean(self.kernel(row[None], self.reference))))

    def distance(self, window: Window, within: Floats | None = None) -> float | None:
        """Return the unbiased MMD^2 of window and reference, or None until the window is full.

        `within` is the (m, m) kernel matrix of the window, if it is known already.
        """
        m = len(window)
        if m < self.window_size:
            return None
        kernels = self.within(window) if within is None else within
        among = (float(np.sum(kernels)) - m) / (m * m - m)
        return self.mean_kernel + among - 2 * float(np.mean(window.to_reference))

    def within(self, window: Window, before: Floats | None = None) -> Floats:
        """Return the (m, m) kernel matrix of a window.

        With the matrix `before` the last push, only one row is computed.
        """
        if before is None:
            return self.kernel(window.embeddings, window.embeddings)
        m = len(window)
        kernels = np.empty((m, m))
        kept = before[len(before) - m + 1 :, len(before) - m + 1 :]
        kernels[:-1, :-1] = kept
        kernels[-1] = kernels[:, -1] = self.kernel(window.embeddings[-1:], window.embeddings)[0]
        return kernels

    def warm(self, embeddings: Floats | None = None) -> Window:
        """Return a window of the last `window_size` of `embeddings`, by default of the reference."""
        window = Window.empty(self.dimensions)
        rows = self.reference if embeddings is None else embeddings
        for row in rows[-self.window_size :]:
            window = window.push(self.entry(row), self.window_size)
        return window

    def distances(self, embeddings: Any) -> Floats:
        """Return (k,) distances, after each of (k, d) embeddings; NaN until the window is full."""
        window, found = Window.empty(self.dimensions), []
        for row in np.asarray(embeddings, np.float64):
            window = window.push(self.entry(row), self.window_size)
            distance = self.distance(window)
            found.append(np.nan if distance is None else distance)
        return np.array(found)


def gaussian_kernel(X: Floats, Y: Floats, sigma: float) -> Floats:
    """Return exp(-|x-y|^2 / (2 sigma^2)), (a, b), for the rows of (a, d) and (b, d) float64."""
    squares = _squares(X, Y) if len(X) <= _FEW else _squares_by_product(X, Y)
    squares *= -1 / (2 * sigma**2)
    return np.asarray(np.exp(squares, out=squares))


def median_distance(X: Floats) -> float:
    """Return the median Euclidean distance between rows of (n, d), of 1000 rows at most."""
    rows = X[:: -(-len(X) // MEDIAN_SAMPLES)]
    squares = [_squares(rows[i : i + 1], rows[i + 1 :])[0] for i in range(len(rows) - 1)]
    return float(np.median(np.sqrt(np.concatenate(squares))))


def _squares(X: Floats, Y: Floats) -> Floats:
    """Return the squared distances, (a, b), of few rows from others."""
    squares = np.empty((len(X), len(Y)))
    for top in range(0, len(Y), _CACHED):
        part = Y[top : top + _CACHED]
        for found, row in zip(squares[:, top : top + _CACHED], X, strict=True):
            away = part - row
            np.einsum("ij,ij->i", away, away, out=found)
    return squares


def _squares_by_product(X: Floats, Y: Floats) -> Floats:
    """Return the same for many rows, as |x|^2 + |y|^2 - 2xy about the mean, where little cancels out."""
    middle = Y.mean(axis=0)
    x, y = X - middle, Y - middle
    squares: Floats = x @ y.T
    squares *= -2
    squares += np.einsum("ij,ij->i", x, x)[:, None]
    squares += np.einsum("ij,ij->i", y, y)
    np.maximum(squares, 0, out=squares)
    return squares


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
    blocks = [reference[i : i + _ROWS] for i in range(0, n, _ROWS)]
    total = 0.0
    for i, rows in enumerate(blocks):
        total += float(np.sum(kernel(rows, rows)))
        total += 2 * sum(float(np.sum(kernel(rows, others))) for others in blocks[i + 1 :])
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
    """Check the reference and return a copy, (n, d) float64."""
    try:
        reference = np.array(X, np.float64)
    except (TypeError, ValueError) as error:
        raise EmbeddingError(
            f"the reference embeddings are not an array of numbers: {error}"
        ) from None
    if reference.ndim == 1:
        reference = reference[:, None]
    if reference.ndim != 2 or len(reference) < 2 or reference.shape[1] < 1:
        raise EmbeddingError(
            f"the reference embeddings have shape {reference.shape}; (n, d) with n >= 2 is needed"
        )
    if not np.isfinite(reference).all():
        bad = int(np.flatnonzero(~np.isfinite(reference).all(axis=1))[0])
        raise EmbeddingError(
            f"reference embedding {bad} holds NaN or infinite values; "
            "encode that picture again or leave it out"
        )
    return reference


def _checked(embedding: Any, dimensions: int) -> Floats:
    try:
        row = np.array(embedding, np.float64)
    except (TypeError, ValueError) as error:
        raise EmbeddingError(f"the embedding is not an array of numbers: {error}") from None
    if row.shape not in ((dimensions,), (1, dimensions)) and (row.ndim, dimensions) != (0, 1):
        raise EmbeddingError(
            f"the embedding has shape {row.shape}, the reference ({dimensions},); "
            "encode it with the encoder of the reference"
        )
    if not np.isfinite(row).all():
        raise EmbeddingError("the embedding holds NaN or infinite values; the window is unchanged")
    return row.reshape(dimensions)
