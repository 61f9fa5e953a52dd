"""Parts of the lens chart: the values that are followed over time, from the cells of the last images.

Each cell's deviation from clean footage is measured in units of its own scatter, and compressed beyond 4 of
them. The deviations of the last w images, 12 or fewer, give for each channel:

- **level**: the median over the picture's cells, averaged over the last 3 and over the last w images.
  An object covers few cells and does not change it; noise, blur, fog and light do.
- **area**: the deviation that the worst 6 % and the worst 10 % of the picture reach. A cell's deviation is
  here what remains without the modes in which clean footage varies, in the median of the last w images,
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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats, Floats32
from lenswatch.detect.chart.features import AGREEMENT, CHANNELS, GRID
from lenswatch.detect.chart.folds import Fold

__all__ = [
    "AREA",
    "LEVEL",
    "PARTS",
    "QUICK",
    "VEILED",
    "WINDOW",
    "Measure",
    "Scales",
    "areas",
    "compressed",
    "parts",
    "parts_of_window",
    "parts_of_windows",
    "row_median",
]


WINDOW = 12  # images
QUICK = 3  # images
LEVEL, AREA, VEILED = "level", "area", "veiled area"
_SHARES = (0.06, 0.10)  # of the picture
_KINDS = (LEVEL, LEVEL, AREA, VEILED, AREA, VEILED)
PARTS = tuple((kind, channel) for kind in _KINDS for channel in CHANNELS)

_MODES = 6  # principal components
_IMAGES_A_MODE = 3  # clean images needed for each of them
_NOTHING = 1e-6  # squared deviations: modes with less variance are left out
_NO_MODES = np.empty((0, len(CHANNELS) * GRID[0] * GRID[1]))
_KNEE = 4.0  # deviations beyond it are compressed
_FALLING = np.isin(CHANNELS, ("contrast", "sharpness", "noise", "blur"))[:, None]
_GATED = np.isin(CHANNELS, ("luma", "blue", "red"))[:, None]
_CONTRAST = CHANNELS.index("contrast")
_ROSE = 1.5  # deviations of contrast: an object has come in front of the cell
_SEEN = 0.5  # agreement with the clean scene above which it can be recognised
# Smallest scatter of each channel: 2 grey levels of luma, 8 % of contrast and so on. Smaller changes, such
# as a white balance that wanders by half a grey level, do not matter to users.
_FLOOR = np.array([2.0, 0.08, 0.10, 0.10, 1.2, 1.2, 0.06])


class Measure(Protocol):
    """Scales of one light or of several."""

    def both(self, cells: NDArray[Any]) -> tuple[Floats, Floats]:
        """Return deviations and residuals, each (n, 7, 8, 10)."""
        ...

    def residuals(self, cells: NDArray[Any]) -> Floats:
        """Return residuals (n, 7, 8, 10)."""
        ...


@dataclass(frozen=True)
class Scales:
    """Location and scatter of the cells in clean footage.

    Attributes:
        median: (7, 8, 10).
        scatter: (7, 8, 10).
        modes: (k, 560), orthonormal: the principal components of the deviations, k <= 6, k <= n / 3.
        residual: (7, 8, 10), scatter of the deviations without the modes.
    """

    median: Floats
    scatter: Floats
    modes: Floats
    residual: Floats

    @classmethod
    def fit(cls, cells: Floats32, folds: Sequence[Fold]) -> Scales:
        """Fit to (n, 7, 8, 10) clean images in time order.

        The scatter is the largest of 1.4826 MAD, 0.3 standard deviations, a floor, and 1.4826 times the
        median distance of either half of the footage from the median of the other. The scatter of the
        residuals is found on each block with the median and modes of the others.

        Args:
            cells: The clean images.
            folds: Blocks of them, as `folds_of` returns.
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
        return replace(plain, residual=plain._left(cells, folds)).centred_on(cells)

    def centred_on(self, cells: Floats32) -> Scales:
        """Return scales with this scatter and the median and modes of other images, (n, 7, 8, 10)."""
        moved = replace(self, median=np.median(cells, axis=0).astype(np.float64))
        return replace(moved, modes=_modes(moved.deviations(cells)))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return arrays that `from_arrays` reads."""
        return {
            "median": self.median,
            "scatter": self.scatter,
            "modes": self.modes,
            "residual": self.residual,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], suffix: str = "") -> Self:
        """Read what `to_arrays` wrote, from names with a suffix.

        Raises:
            KeyError: One is missing.
        """
        median, scatter, modes, residual = (
            arrays[name + suffix] for name in ("median", "scatter", "modes", "residual")
        )
        return cls(median, scatter, modes, residual)

    def _left(self, cells: Floats32, folds: Sequence[Fold]) -> Floats:
        """Return the scatter of residuals, each block measured with the others' median and modes."""
        left = np.concatenate(
            [self.centred_on(fold.fitted_to(cells)).residuals(cells[fold.block]) for fold in folds]
        )
        usual = 1.4826 * np.median(np.abs(left), axis=0)
        floor = _FLOOR[:, None, None] / self.scatter
        return np.asarray(np.max([usual, 0.3 * left.std(axis=0), floor], axis=0))

    def deviations(self, cells: NDArray[Any]) -> Floats:
        """Return deviations (..., 7, 8, 10) in units of the scatter, x beyond 4 as 4 (1 + ln(x / 4))."""
        return compressed((cells[..., :AGREEMENT, :, :] - self.median) / self.scatter)

    def residuals(self, cells: NDArray[Any]) -> Floats:
        """Return deviations (n, 7, 8, 10) without the modes, in units of their scatter, compressed."""
        return self.both(cells)[1]

    def both(self, cells: NDArray[Any]) -> tuple[Floats, Floats]:
        """Return deviations and residuals."""
        deviations = self.deviations(cells)
        return deviations, compressed(self.cleared(deviations) / self.residual)

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
    most = min(_MODES, len(flat) // _IMAGES_A_MODE)
    if most == 0:
        return _NO_MODES
    few = (
        len(flat) < flat.shape[1]
    )  # the products of images have the same values then, and are fewer
    values, vectors = np.linalg.eigh(flat @ flat.T if few else flat.T @ flat)
    varies = values[-most:] > _NOTHING * len(flat)
    values, modes = values[-most:][varies], vectors.T[-most:][varies]
    if few:
        modes = modes @ flat / np.sqrt(values)[:, None]
    return np.ascontiguousarray(modes)


def compressed(values: Floats) -> Floats:
    """Return values x beyond 4 as 4 (1 + ln(x / 4)), with their sign."""
    size = np.abs(values)
    beyond = np.copysign(_KNEE * (1 + np.log(np.maximum(size, _KNEE) / _KNEE)), values)
    return np.where(size <= _KNEE, values, beyond)


def parts(scales: Measure, cells: Floats32, window: int = WINDOW) -> Floats:
    """Return the parts after each image from number `window` on: (n - window + 1, 42), as in `PARTS`.

    Args:
        scales: Fitted to clean footage.
        cells: (n, 8, 8, 10), the seven channels and the agreement, n >= window, in time order.
        window: Images that the parts are found from, 1 to 12.
    """
    (found,) = parts_of_windows(scales, cells, (window,))
    return found


def parts_of_windows(scales: Measure, cells: Floats32, windows: Sequence[int]) -> list[Floats]:
    """Return what `parts` returns for each of several windows; the deviations are found only once."""
    deviations, residuals = scales.both(cells)
    level = row_median(deviations.reshape(len(cells), len(CHANNELS), -1))
    return [_parts(level, residuals, cells[:, AGREEMENT], window) for window in windows]


def parts_of_window(
    level: Floats, residuals: Floats, middle: Floats, agreement: Floats32
) -> Floats:
    """Return the parts (42,) of one window of w images, as `parts` finds them, by what is known of each.

    Args:
        level: (w, 7), median deviation of each channel.
        residuals: (w, 7, 80).
        middle: (w, 7), median residual of each channel.
        agreement: (w, 8, 10).
    """
    lasting = row_median(np.moveaxis(residuals - middle[..., None], 0, -1))
    seen = row_median(agreement.reshape(len(agreement), -1).T) > _SEEN
    area = _deviating(lasting[None])[0]
    pair = np.stack([area, area * seen])  # (2, 7, cells)
    end = pair.shape[-1] - 1
    ranks = [round((1 - share) * end) for share in _SHARES]
    ordered = np.partition(pair, ranks, axis=-1)
    worst = [ordered[..., rank].ravel() for rank in ranks]
    return np.concatenate([_mean(level[-QUICK:]), _mean(level), *worst])


def _parts(level: Floats, residuals: Floats, agreement: Floats32, window: int) -> Floats:
    last = min(QUICK, window)
    quick = sliding_window_view(level, last, axis=0).mean(axis=-1)[window - last :]
    full = sliding_window_view(level, window, axis=0).mean(axis=-1)
    area, veiled = _areas(residuals, agreement, window)
    pair = np.stack([area, veiled], axis=1)  # (n - window + 1, 2, 7, cells)
    ordered = np.sort(pair, axis=-1)
    end = ordered.shape[-1] - 1
    worst = [ordered[..., round((1 - share) * end)].reshape(len(area), -1) for share in _SHARES]
    return np.concatenate([quick, full, *worst], axis=1)


def areas(scales: Measure, cells: Floats32) -> tuple[Floats, Floats]:
    """Return the local deviations of (w, 8, 8, 10) cells: (7, 8, 10), of all and of veiled cells."""
    area, veiled = _areas(scales.residuals(cells), cells[:, AGREEMENT], len(cells))
    return area[-1].reshape(-1, *GRID), veiled[-1].reshape(-1, *GRID)


def _areas(residuals: Floats, agreement: Floats32, window: int) -> tuple[Floats, Floats]:
    """Return local deviations (n - window + 1, 7, 80), of all and of veiled cells.

    Args:
        residuals: (n, 7, 8, 10).
        agreement: (n, 8, 10).
        window: Images whose median is taken.
    """
    u = residuals.reshape(*residuals.shape[:2], -1)
    deviation = _deviating(_lasting(u - row_median(u)[..., None], window))
    seen = _lasting(agreement.reshape(len(agreement), -1), window) > _SEEN
    return deviation, deviation * seen[:, None]


def _deviating(lasting: Floats) -> Floats:
    """Return the sizes of lasting deviations (k, 7, 80), 0 where they do not count."""
    deviation = np.where(_FALLING, np.maximum(-lasting, 0), np.abs(lasting))
    still_there = lasting[:, _CONTRAST, None] < _ROSE
    return np.asarray(deviation * (still_there | ~_GATED))


def _lasting(values: NDArray[Any], window: int) -> Floats:
    """Return the median over each `window` images in a row: (n, ...) to (n - window + 1, ...)."""
    return row_median(sliding_window_view(values, window, axis=0))


def _mean(rows: Floats) -> Floats:
    """Return the mean of a few rows (n, k); `np.mean` takes longer for its checks."""
    return np.asarray(np.add.reduce(rows, axis=0) / len(rows))


def row_median(values: NDArray[Any]) -> Floats:
    """Return the median along the last axis, by one partition; of few values by sorting, which is faster."""
    count = values.shape[-1]
    middle = count // 2
    if count <= WINDOW:
        ordered = np.sort(np.ascontiguousarray(values), axis=-1)
        pair = ordered[..., middle], ordered[..., middle - 1 + count % 2]
        return np.asarray((pair[0] + pair[1]) / 2, dtype=np.float64)
    if values.shape[-1] % 2:
        return np.asarray(np.partition(values, middle, axis=-1)[..., middle], dtype=np.float64)
    parted = np.partition(values, (middle - 1, middle), axis=-1)
    return np.asarray((parted[..., middle - 1] + parted[..., middle]) / 2, dtype=np.float64)
