"""Smooth randomness: textures in the picture and in space, values that drift in time."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Array", "Random", "fractal", "generator", "pixels", "sample", "smoothstep", "wander"]

Array = NDArray[np.float32]
Random = np.random.Generator


def generator(seed: int, *path: int) -> Random:
    """Return the random generator of one thing in the picture, independent of all others."""
    return np.random.default_rng([seed % 2**32, *(part % 2**32 for part in path)])


def smoothstep(low: float, high: float, values: Array | float) -> Array:
    """Return 0 below `low`, 1 above `high` and a smooth S between."""
    t = np.clip((np.asarray(values) - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)


def fractal(rng: Random, shape: tuple[int, ...], cells: float, slope: float) -> Array:
    """Return tileable noise in two or three dimensions, mean 0 and deviation 1.

    `cells` is the number of the largest blobs along the shortest side; the amplitude falls with
    the spatial frequency to the power of `slope`, so that a small one gives rough noise.
    """
    sizes = [np.fft.fftfreq(n) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    squares = np.meshgrid(*((min(shape) * f) ** 2 for f in sizes), indexing="ij", sparse=True)
    spectrum = np.asarray(sum(squares) + np.float64(cells**2)) ** (-0.5 * slope)
    spectrum[(0,) * len(shape)] = 0.0
    noise, axes = rng.standard_normal(shape), tuple(range(len(shape)))
    field = np.fft.irfftn(np.fft.rfftn(noise) * spectrum, shape, axes)
    return np.asarray(field / field.std(), np.float32)


def sample(tile: Array, *places: Array) -> Array:
    """Read a tile of noise at fractional positions along its axes, wrapping at its edges."""
    sizes = zip(places, tile.shape, strict=True)
    return np.asarray(tile[tuple((p * n).astype(np.int32) % n for p, n in sizes)])


def wander(seed: int, seconds: float, period: float) -> float:
    """Return a value in about -1..1 that drifts with time, a pure function of the time."""
    rng = generator(seed, 0x77)
    phases, factors = rng.uniform(0.0, 2.0 * np.pi, 4), rng.uniform(0.95, 1.05, 4)
    turns = seconds / period * factors * (1.0, 1.618, 2.414, 0.377)
    return float(np.sin(2.0 * np.pi * turns + phases) @ (0.4, 0.25, 0.15, 0.35))


def pixels(values: Array) -> Image.Image:
    """Return values in 0..1 as a picture of mode L, RGB or RGBA."""
    return Image.fromarray(np.rint(255.0 * np.clip(values, 0.0, 1.0)).astype(np.uint8))
