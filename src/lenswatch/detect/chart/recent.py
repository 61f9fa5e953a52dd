"""Deviations of the images of a window, each found once, when it arrives.

A picture shares all but one of its window's images with the picture before it. Here what is known of each
image by itself is kept for the next pictures: the values are those of measuring it again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lenswatch.detect.arrays import Floats, Floats32
from lenswatch.detect.chart.features import CHANNELS
from lenswatch.detect.chart.parts import Measure, row_median

__all__ = ["Recent", "RecentImages"]

MOST = 4096  # images that are kept, of 4.7 KB each: windows of 341 streams


@dataclass(frozen=True)
class Recent:
    """Everything known of w images by themselves.

    Attributes:
        level: (w, 7), median deviation of each channel.
        residuals: (w, 7, 80).
        middle: (w, 7), median residual of each channel.
    """

    level: Floats
    residuals: Floats
    middle: Floats


class RecentImages:
    """Images that were measured lately in the same scales, for any number of threads.

    Args:
        scales: Scales in which images are measured.
        most: Images that are kept; the one that was not wanted for longest goes first.
    """

    def __init__(self, scales: Measure, most: int = MOST) -> None:
        self._scales, self._most = scales, most
        self._kept: OrderedDict[bytes, tuple[Floats, Floats, Floats]] = OrderedDict()
        self._lock = threading.Lock()
        self._last: tuple[Floats32, Recent] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle without what is kept."""
        return RecentImages, (self._scales, self._most)

    def of(self, cells: Floats32) -> Recent:
        """Return what is known of images (w, 8, 8, 10), w >= 1.

        The array must not be changed afterwards. Each image is measured by itself, so that its values do not
        depend on the images beside it.
        """
        last = self._last
        if last is not None and last[0] is cells:
            return last[1]
        rows = [self._row(image) for image in cells]
        found = Recent(*(np.stack(values) for values in zip(*rows, strict=True)))
        self._last = cells, found
        return found

    def know(self, image: Floats32) -> None:
        """Measure one image (8, 8, 10) now, so that it is known when it is part of a window."""
        self._row(image)

    def _row(self, image: Floats32) -> tuple[Floats, Floats, Floats]:
        key = image.tobytes()
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
                return known
        row = measured(self._scales.both, image)
        with self._lock:
            self._kept[key] = row
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return row


def measured(
    both: Callable[[Floats32], tuple[Floats, Floats]], image: Floats32
) -> tuple[Floats, Floats, Floats]:
    """Return level, residuals and middle of one image (8, 8, 10)."""
    deviations, residuals = (found.reshape(len(CHANNELS), -1) for found in both(image[None]))
    return row_median(deviations), residuals, row_median(residuals)
