"""The parts of the lens chart: what is followed over time, computed from the last images' cells.

Each cell's deviation from clean footage is measured in units of its own scatter, and compressed
beyond 4 of them. From the deviations of the last 12 images come, for each channel:

- **level**: the median over the picture's cells, averaged over the last 3 and over the last 12 images.
  An object covers few cells and does not move it; noise, blur, fog and light do.
- **area**: each cell's median over the last 12 images, less the level; of that, how much the worst 6 %
  and the worst 10 % of the picture deviate at least. Contrast, sharpness, noise and the blur ratio
  count only where they fell, since dirt takes structure away and an object that stops brings some;
  light and colour only where contrast did not rise, for the same reason.
- **veiled area**: the same, over cells where the clean scene can still be made out: something
  transparent lies before them, not an object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lenswatch.lens_features import AGREEMENT, CHANNELS, GRID

__all__ = ["AREA", "LEVEL", "PARTS", "QUICK", "VEILED", "WINDOW", "Scales", "areas", "parts"]

Floats = NDArray[np.float64]

WINDOW = 12  # images
QUICK = 3  # images
LEVEL, AREA, VEILED = "level", "area", "veiled area"
_SHARES = (0.06, 0.10)  # of the picture
_KINDS = (LEVEL, LEVEL, AREA, VEILED, AREA, VEILED)
PARTS = tuple((kind, channel) for kind in _KINDS for channel in CHANNELS)

_KNEE = 4.0  # deviations beyond it are compressed
_FALLING = [CHANNELS.index(name) for name in ("contrast", "sharpness", "noise", "blur")]
_GATED = [CHANNELS.index(name) for name in ("luma", "blue", "red")]
_CONTRAST = CHANNELS.index("contrast")
_ROSE = 1.5  # deviations of contrast: something has come in front of the cell
_SEEN = 0.5  # agreement with the clean scene from which on it can be made out
# The least scatter that matters: 2 grey levels of luma, 8 % of contrast and so on. A camera's white
# balance wanders by half a grey level; that is not what anybody wants to be woken for.
_FLOOR = np.array([2.0, 0.08, 0.10, 0.10, 1.2, 1.2, 0.06])


@dataclass(frozen=True)
class Scales:
    """What cells look like in clean footage: (7, 8, 10) each."""

    median: Floats
    scatter: Floats

    @classmethod
    def fit(cls, cells: NDArray[np.float32]) -> Scales:
        """From (n, 7, 8, 10) clean images in time order.

        The scatter is the largest of 1.4826 MAD, 0.3 standard deviations, a floor, and how far either
        half of the footage lies from the median of the other (1.4826 times the median distance).
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
        return cls(median.astype(np.float64), scatter.astype(np.float64))

    def deviations(self, cells: NDArray[np.float32]) -> Floats:
        """(..., 7, 8, 10) in units of the scatter, beyond 4 as 4 (1 + ln(x / 4))."""
        plain = (cells[..., :AGREEMENT, :, :] - self.median) / self.scatter
        size = np.abs(plain)
        beyond = np.copysign(_KNEE * (1 + np.log(np.maximum(size, _KNEE) / _KNEE)), plain)
        return np.where(size <= _KNEE, plain, beyond)


def parts(scales: Scales, cells: NDArray[np.float32]) -> Floats:
    """The parts after each image from the 12th on: (n - 11, 42).

    Args:
        scales: fitted to clean footage.
        cells: (n, 8, 8, 10), the seven channels and the agreement, n >= 12, in time order.
    """
    u = scales.deviations(cells).reshape(len(cells), len(CHANNELS), -1)
    level = np.median(u, axis=-1)
    quick = sliding_window_view(level, QUICK, axis=0).mean(axis=-1)[WINDOW - QUICK :]
    full = sliding_window_view(level, WINDOW, axis=0).mean(axis=-1)
    area, veiled = _areas(u, cells[:, AGREEMENT].reshape(len(cells), -1))
    pair = np.stack([area, veiled], axis=1)  # (n - 11, 2, 7, cells)
    ordered = np.sort(pair, axis=-1)
    last = ordered.shape[-1] - 1
    worst = [ordered[..., round((1 - share) * last)].reshape(len(area), -1) for share in _SHARES]
    return np.concatenate([quick, full, *worst], axis=1)


def areas(scales: Scales, cells: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Local deviations over the last 12 of (12, 8, 8, 10): (7, 8, 10), all and veiled ones."""
    u = scales.deviations(cells).reshape(len(cells), len(CHANNELS), -1)
    area, veiled = _areas(u, cells[:, AGREEMENT].reshape(len(cells), -1))
    return area[-1].reshape(-1, *GRID), veiled[-1].reshape(-1, *GRID)


def _areas(u: Floats, agreement: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """(n, 7, cells) and (n, cells) to deviations of cells, (n - 11, 7, cells), all and veiled ones."""
    local = u - np.median(u, axis=-1, keepdims=True)
    lasting = _median(local)
    deviation = np.abs(lasting)
    deviation[:, _FALLING] = np.maximum(-lasting[:, _FALLING], 0)
    still_there = lasting[:, _CONTRAST] < _ROSE
    deviation[:, _GATED] *= still_there[:, None]
    seen = _median(agreement) > _SEEN
    return deviation, deviation * seen[:, None]


def _median(values: NDArray[Any]) -> Floats:
    """The median over each 12 images in a row: (n, ...) to (n - 11, ...)."""
    windows = sliding_window_view(values, WINDOW, axis=0)
    middle = np.partition(windows, (WINDOW // 2 - 1, WINDOW // 2), axis=-1)
    return np.asarray(
        (middle[..., WINDOW // 2 - 1] + middle[..., WINDOW // 2]) / 2, dtype=np.float64
    )
