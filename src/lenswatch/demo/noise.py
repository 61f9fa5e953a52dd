"""Smooth randomness: fields over the picture, textures over the world, and values drifting in time."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Array", "fractal", "generator", "sample", "smoothstep", "turbulence3", "wander"]

Array = NDArray[np.float32]


def generator(seed: int, *path: int) -> np.random.Generator:
    """A random generator of its own for each thing in the picture, so that none shifts another."""
    return np.random.default_rng([seed % 2**32, *(part % 2**32 for part in path)])


def smoothstep(low: float, high: float, values: Array) -> Array:
    """0 below `low`, 1 above `high`, a smooth S between."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


def fractal(
    rng: np.random.Generator, shape: tuple[int, int], cells: int, octaves: int, gain: float = 0.5
) -> Array:
    """A tileable fractal field of `shape` (h, w) float32, mean about 0 and deviation 1.

    `cells` is the number of random cells along the shorter side in the coarsest octave.
    """
    height, width = shape
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        count = cells * 2**octave
        rows = max(2, round(count * height / min(shape)))
        columns = max(2, round(count * width / min(shape)))
        grid = rng.standard_normal((rows, columns)).astype(np.float32)
        total += gain**octave * _upscaled(grid, shape)
        if min(rows, columns) * 2 > min(shape):
            break
    total -= total.mean()
    return np.asarray(total / max(float(total.std()), 1e-6), dtype=np.float32)


def _upscaled(grid: Array, shape: tuple[int, int]) -> Array:
    """`grid` stretched over `shape`, wrapping at the edges."""
    rows, columns = grid.shape
    height, width = shape
    wrapped = Image.fromarray(np.pad(grid, 2, mode="wrap"))
    box = (2.0, 2.0, columns + 2.0, rows + 2.0)
    return np.asarray(wrapped.resize((width, height), Image.Resampling.BICUBIC, box=box))


def sample(tile: Array, u: Array, v: Array) -> Array:
    """`tile` read at fractional positions (u, v) in tiles, bilinear and wrapping."""
    rows, columns = tile.shape
    x, y = (u % 1.0) * columns, (v % 1.0) * rows
    left, top = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    fx, fy = x - left, y - top
    left, top = left % columns, top % rows
    right, below = (left + 1) % columns, (top + 1) % rows
    upper = tile[top, left] * (1 - fx) + tile[top, right] * fx
    lower = tile[below, left] * (1 - fx) + tile[below, right] * fx
    return np.asarray(upper * (1 - fy) + lower * fy, dtype=np.float32)


def turbulence3(tile: Array, points: Array, frequency: float) -> Array:
    """A texture in space without seams: three planar samples of `tile` at `points` (n, 3)."""
    x, y, z = (points[:, axis] * frequency for axis in range(3))
    planes = sample(tile, x + 0.31 * z, y) + sample(tile, z, y + 0.17 * x) + sample(tile, x, z)
    return np.asarray(planes / np.sqrt(3.0), dtype=np.float32)


def wander(seed: int, seconds: float, period: float) -> float:
    """A value in about -1..1 that drifts with time: near moments alike, distant ones unrelated.

    A sum of incommensurate waves, so that it is a pure function of the time.
    """
    factors, phases = _waves(seed)
    waves = np.sin(2.0 * np.pi * seconds / period * factors + phases)
    return float(waves @ np.array([0.4, 0.25, 0.15, 0.35]))


@lru_cache(maxsize=64)
def _waves(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = generator(seed, 0x77)
    phases = rng.uniform(0.0, 2.0 * np.pi, 4)
    return np.array([1.0, 1.618, 2.414, 0.377]) * rng.uniform(0.95, 1.05, 4), phases
