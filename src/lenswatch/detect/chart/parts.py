"""Parts of the lens chart: the values that are followed over time, from the cells of the last images.

Each cell's deviation from clean footage is measured in units of its own scatter, and compressed beyond 4 of
them. The deviations of the last 12 images give, for each channel:

- **level**: the median over the picture's cells, averaged over the last 3 and over the last 12 images.
  An object covers few cells and does not change it; noise, blur, fog and light do.
- **area**: the deviation that the worst 6 % and the worst 10 % of the picture reach. A cell's deviation is
  here what remains without the modes in which clean footage varies, in the median of the last 12 images,
  less the median of all cells. Contrast, sharpness, noise and the blur ratio count only where they fell,
  since dirt removes structure and an object that stops adds some. Light and colour count only where
  contrast did not rise, for the same reason.
- **veiled area**: the same for cells in which the clean scene can still be recognised, so that something
  transparent covers them and not an object.

The modes are the first principal components of the clean deviations: sunset or a lamp changes many cells
together. What remains of a cell without them varies much less than the cell itself, so that dirt stands out
(the residuals of Jackson and Mudholkar 1979, "Control Procedures for Residuals Associated with Principal
Component Analysis", cell by cell).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import linalg

from lenswatch.detect.arrays import Floats, Floats32
from lenswatch.detect.chart.features import AGREEMENT, CHANNELS, GRID

__all__ = ["AREA", "LEVEL", "PARTS", "QUICK", "VEILED", "WINDOW", "Scales", "areas", "parts"]


WINDOW = 12  # images
QUICK = 3  # images
LEVEL, AREA, VEILED = "level", "area", "veiled area"
_SHARES = (0.06, 0.10)  # of the picture
_KINDS = (LEVEL, LEVEL, AREA, VEILED, AREA, VEILED)
PARTS = tuple((kind, channel) for kind in _KINDS for channel in CHANNELS)

_MODES = 6  # principal components
_NOTHING = 1e-6  # squared deviations: modes with less variance are left out
_NO_MODES = np.empty((0, len(CHANNELS) * GRID[0] * GRID[1]))
_KNEE = 4.0  # deviations beyond it are compressed
_FALLING = [CHANNELS.index(name) for name in ("contrast", "sharpness", "noise", "blur")]
_GATED = [CHANNELS.index(name) for name in ("luma", "blue", "red")]
_CONTRAST = CHANNELS.index("contrast")
_ROSE = 1.5  # deviations of contrast: an object has come in front of the cell
_SEEN = 0.5  # agreement with the clean scene above which it can be recognised
# Smallest scatter of each channel: 2 grey levels of luma, 8 % of contrast and so on. Smaller changes, such
# as a white balance that wanders by half a grey level, do not matter to users.
_FLOOR = np.array([2.0, 0.08, 0.10, 0.10, 1.2, 1.2, 0.06])


@dataclass(frozen=True)
class Scales:
    """Location and scatter of the cells in clean footage.

    Attributes:
        median: (7, 8, 10).
        scatter: (7, 8, 10).
        modes: (k, 560), orthonormal: the principal components of the deviations, k <= 6.
        residual: (7, 8, 10), scatter of the deviations without the modes.
    """

    median: Floats
    scatter: Floats
    modes: Floats
    residual: Floats

    @classmethod
    def fit(cls, cells: Floats32) -> Scales:
        """Fit to (n, 7, 8, 10) clean images in time order.

        The scatter is the largest of 1.4826 MAD, 0.3 standard deviations, a floor, and 1.4826 times the
        median distance of either half of the footage from the median of the other. The scatter of the
        residuals is found on each half with the modes of the other.
        """
        median = np.median(cells, axis=0)
        half = len(cells) // 2
        first, second = cells[:half], cells[half:]
        distances = [
            np.median(np.abs(cells - median), axis=0),
            np.median(np.abs(second - np.median(first, axis=0)), axis=0),
            np.median(np.abs(first - np.median(second, axis=0)), axis=0),
        ]
        floor = np.broadcast_to(_FLOOR[:, None, None], median.shape)
        scatter = np.max([*(1.4826 * d for d in distances), 0.3 * cells.std(axis=0), floor], axis=0)
        plain = cls(
            median.astype(np.float64), scatter.astype(np.float64), _NO_MODES, np.ones(median.shape)
        )
        return replace(plain, residual=plain._left(first, second)).centred_on(cells)

    def centred_on(self, cells: Floats32) -> Scales:
        """Return scales with this scatter and the median and modes of other images, (n, 7, 8, 10)."""
        moved = replace(self, median=np.median(cells, axis=0).astype(np.float64))
        return replace(moved, modes=_modes(moved.deviations(cells)))

    def _left(self, first: Floats32, second: Floats32) -> Floats:
        """Return the scatter of residuals, each half measured with the other's median and modes."""
        pairs = (first, second), (second, first)
        left = np.concatenate([self.centred_on(fit).residuals(run) for fit, run in pairs])
        usual = 1.4826 * np.median(np.abs(left), axis=0)
        floor = _FLOOR[:, None, None] / self.scatter
        return np.asarray(np.max([usual, 0.3 * left.std(axis=0), floor], axis=0))

    def deviations(self, cells: NDArray[Any]) -> Floats:
        """Return deviations (..., 7, 8, 10) in units of the scatter, x beyond 4 as 4 (1 + ln(x / 4))."""
        return _compressed((cells[..., :AGREEMENT, :, :] - self.median) / self.scatter)

    def residuals(self, cells: Floats32) -> Floats:
        """Return deviations (n, 7, 8, 10) without the modes, in units of their scatter, compressed."""
        return self.scaled(self.without_modes(cells))

    def scaled(self, left: Floats) -> Floats:
        """Return residuals: deviations without the modes in units of their scatter, compressed."""
        return _compressed(left / self.residual)

    def without_modes(self, cells: NDArray[Any]) -> Floats:
        """Return deviations (n, 7, 8, 10) without the modes."""
        return self.cleared(self.deviations(cells))

    def cleared(self, deviations: Floats) -> Floats:
        """Remove the modes from deviations (n, 7, 8, 10)."""
        flat = deviations.reshape(len(deviations), -1)
        return np.asarray(flat - (flat @ self.modes.T) @ self.modes).reshape(deviations.shape)


def _modes(deviations: Floats) -> Floats:
    """Return the first principal components of (n, 7, 8, 10) about 0 that have variance: (k, 560)."""
    flat = deviations.reshape(len(deviations), -1)
    size = flat.shape[1]
    values, vectors = linalg.eigh(flat.T @ flat, subset_by_index=(size - _MODES, size - 1))
    return np.ascontiguousarray(vectors.T[values > _NOTHING * len(flat)])


def _compressed(values: Floats) -> Floats:
    """Return values x beyond 4 as 4 (1 + ln(x / 4)), with their sign."""
    size = np.abs(values)
    beyond = np.copysign(_KNEE * (1 + np.log(np.maximum(size, _KNEE) / _KNEE)), values)
    return np.where(size <= _KNEE, values, beyond)


def parts(scales: Scales, cells: Floats32) -> Floats:
    """Return the parts after each image from the 12th on: (n - 11, 42), in the order of `PARTS`.

    Args:
        scales: Fitted to clean footage.
        cells: (n, 8, 8, 10), the seven channels and the agreement, n >= 12, in time order.
    """
    deviations = scales.deviations(cells)
    level = _median(deviations.reshape(len(cells), len(CHANNELS), -1))
    quick = sliding_window_view(level, QUICK, axis=0).mean(axis=-1)[WINDOW - QUICK :]
    full = sliding_window_view(level, WINDOW, axis=0).mean(axis=-1)
    area, veiled = _areas(scales.scaled(scales.cleared(deviations)), cells[:, AGREEMENT])
    pair = np.stack([area, veiled], axis=1)  # (n - 11, 2, 7, cells)
    ordered = np.sort(pair, axis=-1)
    last = ordered.shape[-1] - 1
    worst = [ordered[..., round((1 - share) * last)].reshape(len(area), -1) for share in _SHARES]
    return np.concatenate([quick, full, *worst], axis=1)


def areas(scales: Scales, cells: Floats32) -> tuple[Floats, Floats]:
    """Return the local deviations of (12, 8, 8, 10) cells: (7, 8, 10), of all and of veiled cells."""
    area, veiled = _areas(scales.residuals(cells), cells[:, AGREEMENT])
    return area[-1].reshape(-1, *GRID), veiled[-1].reshape(-1, *GRID)


def _areas(residuals: Floats, agreement: Floats32) -> tuple[Floats, Floats]:
    """Return local deviations (n - 11, 7, 80), of all and of veiled cells.

    Args:
        residuals: (n, 7, 8, 10).
        agreement: (n, 8, 10).
    """
    u = residuals.reshape(*residuals.shape[:2], -1)
    lasting = _lasting(u - _median(u)[..., None])
    deviation = np.abs(lasting)
    deviation[:, _FALLING] = np.maximum(-lasting[:, _FALLING], 0)
    still_there = lasting[:, _CONTRAST] < _ROSE
    deviation[:, _GATED] *= still_there[:, None]
    seen = _lasting(agreement.reshape(len(agreement), -1)) > _SEEN
    return deviation, deviation * seen[:, None]


def _lasting(values: NDArray[Any]) -> Floats:
    """Return the median over each 12 images in a row: (n, ...) to (n - 11, ...)."""
    return _median(sliding_window_view(values, WINDOW, axis=0))


def _median(values: NDArray[Any]) -> Floats:
    """Return the median of an even number of values along the last axis, by one partition."""
    middle = values.shape[-1] // 2
    parted = np.partition(values, (middle - 1, middle), axis=-1)
    return np.asarray((parted[..., middle - 1] + parted[..., middle]) / 2, dtype=np.float64)
