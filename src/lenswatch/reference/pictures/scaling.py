"""Bilinear scaling with antialiasing, exactly as torch scales 8 bits, in NumPy.

Training and serving scale with this code, and serving needs no torch for it. torch's method is that of Pillow
(a triangle as wide as the ratio, columns before rows, rounding in between) with weights of 16 bits. Their
products with pixels add up to integers that floating point holds exactly, so that matrix products give the
same pixels on every processor, in whatever order they add.
"""

from __future__ import annotations

import functools
import itertools
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats, Pixels

__all__ = ["resized"]

_LARGEST_WEIGHT = 2**15 - 1
_MOST_BITS = 22
_FLOAT32_BITS = 16  # of weights: 255 times their sum is below 2**24, which float32 still counts
_STEP = 8  # columns or rows that one product finds: more would multiply with more zeros
_CHUNK = 3 * 2**20  # bytes of rows that are converted at a time, to stay in the processor's cache


@dataclass(frozen=True)
class _Block:
    """Neighbouring columns or rows of the result.

    Attributes:
        found: Their places.
        used: Places of what they are made of.
        weights: (used, found).
    """

    found: slice
    used: slice
    weights: NDArray[Any]


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Return pixels scaled to another size.

    Args:
        pixels: (height, width, channels) uint8.
        size: Height and width.

    Returns:
        (*size, channels) uint8, contiguous; `pixels` themselves if they have that size.
    """
    if pixels.shape[:2] == size:
        return pixels
    height, width, channels = pixels.shape
    rows: NDArray[Any] = pixels.reshape(height, width * channels)
    if width != size[1]:
        rows = _narrowed(rows, _blocks(width, size[1], channels))
    if height != size[0]:
        rows = _flattened(rows, _blocks(height, size[0], 1))
    return rows.astype(np.uint8, copy=False).reshape(*size, channels)


def _narrowed(rows: NDArray[Any], blocks: tuple[_Block, ...]) -> NDArray[Any]:
    """Return rows scaled in width, as whole numbers."""
    precision = blocks[0].weights.dtype
    narrow = np.empty((len(rows), blocks[-1].found.stop), np.uint8)
    step = max(1, _CHUNK // (rows.shape[1] * precision.itemsize))
    for top in range(0, len(rows), step):
        wide = rows[top : top + step].astype(precision)
        found = np.empty((len(wide), narrow.shape[1]), precision)
        for block in blocks:
            np.matmul(wide[:, block.used], block.weights, out=found[:, block.found])
        found += 0.5
        narrow[top : top + step] = found  # rounded down
    return narrow


def _flattened(rows: NDArray[Any], blocks: tuple[_Block, ...]) -> NDArray[Any]:
    """Return rows scaled in height, to be rounded down."""
    precision = blocks[0].weights.dtype
    flat = np.empty((blocks[-1].found.stop, rows.shape[1]), precision)
    for block in blocks:
        tall = rows[block.used].astype(precision, copy=False)
        np.matmul(block.weights.T, tall, out=flat[block.found])
    flat += 0.5
    return flat


@functools.lru_cache(maxsize=32)  # a camera's pictures have one size, and so do their thumbnails
def _blocks(before: int, after: int, channels: int) -> tuple[_Block, ...]:
    """Return the products that scale one side, with interleaved channels."""
    taps, bits = _taps(before, after)
    precision = np.float32 if bits <= _FLOAT32_BITS else np.float64
    blocks = []
    for first in range(0, after, _STEP):
        group = taps[first : first + _STEP]
        start = group[0][0]
        stop = max(low + len(weights) for low, weights in group)
        table = np.zeros((stop - start, channels, len(group), channels), precision)
        for (i, (low, weights)), channel in itertools.product(enumerate(group), range(channels)):
            table[low - start : low - start + len(weights), channel, i, channel] = weights
        blocks.append(
            _Block(
                slice(first * channels, (first + len(group)) * channels),
                slice(start * channels, stop * channels),
                (table / 2**bits).reshape(-1, len(group) * channels),
            )
        )
    return tuple(blocks)


def _taps(before: int, after: int) -> tuple[list[tuple[int, Floats]], int]:
    """Return, for each place of the result, the first place it is made of and its weights, and their bits.

    Weights are whole numbers. Bits are as many as the largest weight allows.
    """
    ratio = before / after
    reach = max(ratio, 1.0)
    taps = []
    for place in range(after):
        centre = ratio * (place + 0.5)
        low = max(int(centre - reach + 0.5), 0)
        high = min(int(centre + reach + 0.5), before)
        weights = [max(0.0, 1 - abs((k - centre + 0.5) * (1 / reach))) for k in range(low, high)]
        total = functools.reduce(operator.add, weights)  # `sum` adds otherwise since Python 3.12
        taps.append((low, np.array([weight / total for weight in weights])))
    largest = max(float(weights.max()) for _, weights in taps)
    bits = 0
    while bits < _MOST_BITS and int(0.5 + largest * 2 ** (bits + 1)) <= _LARGEST_WEIGHT:
        bits += 1
    return [(low, np.floor(0.5 + weights * 2**bits)) for low, weights in taps], bits
