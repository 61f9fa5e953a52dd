"""Corruptions of a camera's pictures, with a severity from 0 (nothing) to 5.

The kinds and strengths follow ImageNet-C (Hendrycks and Dietterich 2019, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations"), whose pictures are 224 pixels high. Lengths are
scaled to the height of the picture, so that a severity looks alike at any size. Strengths between whole
severities are interpolated. The smudge is not from ImageNet-C: at severity s it covers 3 s % of the picture
with an opacity of 0.15 s.

Properties of the camera (the direction of a blur, the shape of fog, the place of a smudge) are drawn once
from the seed. Noise is drawn for each picture.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft

from lenswatch.detect.arrays import Floats32, Pixels
from lenswatch.errors import InputError

__all__ = [
    "CORRUPTIONS",
    "HEIGHT",
    "MAX_SEVERITY",
    "Corruption",
    "Maker",
    "clouds",
    "corruption",
    "smudge_mask",
    "to_bytes",
]

Corruption = Callable[[Pixels, float], Pixels]
Maker = Callable[[np.random.Generator], Corruption]
Shape = tuple[int, int]
Made = TypeVar("Made")

MAX_SEVERITY = 5.0
HEIGHT = 224.0  # of ImageNet-C's pictures


def corruption(name: str, seed: int = 0, makers: Mapping[str, Maker] | None = None) -> Corruption:
    """Return a corruption for the pictures of one camera: `corrupt(image, severity) -> image`.

    Pictures are (h, w, 3) uint8 RGB.

    >>> corrupt = corruption("brightness")
    >>> int(corrupt(np.full((2, 2, 3), 100, np.uint8), 1).max())
    126

    Args:
        name: One of `makers`.
        seed: Seed of what stays the same from picture to picture.
        makers: Functions that make corruptions, by name; None takes `CORRUPTIONS`.

    Raises:
        InputError: the name is unknown; or, from `corrupt`, the severity is not from 0 to 5.
    """
    makers = CORRUPTIONS if makers is None else makers
    if name not in makers:
        raise InputError(f"unknown corruption {name!r}; known are: {', '.join(makers)}")
    inner = makers[name](np.random.default_rng([seed, *name.encode()]))

    def corrupt(image: Pixels, severity: float) -> Pixels:
        if not 0 <= severity <= MAX_SEVERITY:
            raise InputError(f"severity {severity}: give one from 0 to {MAX_SEVERITY:g}")
        return image if severity == 0 else inner(image, severity)

    return corrupt


def _strength(severity: float, levels: tuple[float, ...], nothing: float = 0.0) -> float:
    """Interpolate the strength at a severity from those at 1 to 5."""
    return float(np.interp(severity, range(len(levels) + 1), (nothing, *levels)))


def _latest(make: Callable[..., Made]) -> Callable[..., Made]:
    """Cache the last result: most pictures in a row need the same one."""
    return functools.lru_cache(maxsize=1)(make)


def to_bytes(values: NDArray[Any]) -> Pixels:
    """Round values to bytes, those below 0 or above 255 cut."""
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


def _gaussian_noise(rng: np.random.Generator) -> Corruption:
    def corrupt(image: Pixels, severity: float) -> Pixels:
        sigma = 255 * _strength(severity, (0.08, 0.12, 0.18, 0.26, 0.38))
        return to_bytes(image + sigma * rng.standard_normal(image.shape, dtype=np.float32))

    return corrupt


def _brightness(_: np.random.Generator) -> Corruption:
    def corrupt(image: Pixels, severity: float) -> Pixels:
        """Raise V of HSV and keep hue and saturation."""
        more = 255 * _strength(severity, (0.1, 0.2, 0.3, 0.4, 0.5))
        value = image.max(axis=2, keepdims=True).astype(np.float32)
        scale = np.minimum(value + more, 255) / np.maximum(value, 1)
        return to_bytes(np.where(value > 0, image * scale, more))

    return corrupt


def _pixelate(_: np.random.Generator) -> Corruption:
    def corrupt(image: Pixels, severity: float) -> Pixels:
        height, width = image.shape[:2]
        factor = _strength(severity, (0.6, 0.5, 0.4, 0.3, 0.25), 1.0) * HEIGHT / height
        small = (max(1, round(width * factor)), max(1, round(height * factor)))
        if small[1] >= height:
            return image
        picture = Image.fromarray(image).resize(small, Image.Resampling.BOX)
        return np.asarray(picture.resize((width, height), Image.Resampling.NEAREST))

    return corrupt


def _motion_blur(rng: np.random.Generator) -> Corruption:
    angle = np.deg2rad(rng.uniform(-45, 45))

    @_latest
    def blur(shape: Shape, severity: float) -> _Convolution:
        scale = shape[0] / HEIGHT
        radius = _strength(severity, (10, 15, 15, 15, 20)) * scale
        sigma = _strength(severity, (3, 5, 8, 12, 15)) * scale
        steps = np.arange(0, radius, 0.5)
        weights = np.exp(-((steps / sigma) ** 2) / 2)
        points = np.stack([steps * np.sin(angle), steps * np.cos(angle)], axis=1)
        return _Convolution(shape, _kernel(points, weights))

    return lambda image, severity: blur(image.shape[:2], severity)(image)


def _defocus(_: np.random.Generator) -> Corruption:
    @_latest
    def blur(shape: Shape, severity: float) -> _Convolution:
        radius = _strength(severity, (3, 4, 6, 8, 10)) * shape[0] / HEIGHT
        reach = int(np.ceil(radius + 1))
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        disk = np.clip(radius + 0.5 - np.hypot(y, x), 0, 1)
        return _Convolution(shape, disk / disk.sum())

    return lambda image, severity: blur(image.shape[:2], severity)(image)


def _fog(rng: np.random.Generator) -> Corruption:
    seed = int(rng.integers(2**32))

    @_latest
    def cloud(shape: Shape, decay: float) -> Floats32:
        return clouds(np.random.default_rng(seed), shape, decay)[..., None]

    def corrupt(image: Pixels, severity: float) -> Pixels:
        amount = _strength(severity, (1.5, 2.0, 2.5, 2.5, 3.0))
        decay = _strength(severity, (2.0, 2.0, 1.7, 1.5, 1.4), 2.0)
        brightest = max(float(image.max()), 1.0) / 255
        foggy = image / np.float32(255)
        foggy += amount * cloud(image.shape[:2], decay)
        foggy *= brightest
        foggy /= brightest + amount
        return to_bytes(255 * foggy)

    return corrupt


def _smudge(rng: np.random.Generator) -> Corruption:
    seed = int(rng.integers(2**32))
    colour = (np.array([105, 100, 85]) + rng.uniform(-30, 30, 3)).astype(np.float32)

    @_latest
    def blob(shape: Shape) -> Floats32:
        return _smudge_distance(np.random.default_rng(seed), shape)

    @_latest
    def opacity(shape: Shape, severity: float) -> Floats32:
        mask = _soft_edged(blob(shape), 0.03 * severity)
        return np.float32(0.15 * severity) * mask[..., None]

    def corrupt(image: Pixels, severity: float) -> Pixels:
        covered = opacity(image.shape[:2], severity)
        return to_bytes(image * (1 - covered) + colour * covered)

    return corrupt


def smudge_mask(rng: np.random.Generator, shape: Shape, share: float) -> Floats32:
    """Return a blob with soft edges that covers `share` of a picture: (h, w) float32, 0 to 1."""
    return _soft_edged(_smudge_distance(rng, shape), share)


def _smudge_distance(rng: np.random.Generator, shape: Shape) -> Floats32:
    """Return the distance (h, w) of each pixel from a blob's middle, divided by its outline there."""
    height, width = shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    centre = rng.uniform(0.15, 0.85, 2) * (height, width)
    lobes = rng.uniform(-0.25, 0.25, 3), rng.uniform(0, 2 * np.pi, 3)
    angle = np.arctan2(y - centre[0], x - centre[1])
    outline = 1 + sum(
        a * np.cos((n + 2) * angle + p) for n, (a, p) in enumerate(zip(*lobes, strict=True))
    )
    return np.asarray(np.hypot(y - centre[0], x - centre[1]) / outline)


def _soft_edged(distance: Floats32, share: float) -> Floats32:
    edge = float(np.quantile(distance, share))
    softness = 0.15 * edge + 1
    return np.asarray(np.clip((edge - distance) / softness + 0.5, 0, 1), dtype=np.float32)


def clouds(rng: np.random.Generator, shape: Shape, decay: float) -> Floats32:
    """Return smooth noise from 0 to 1 whose amplitude falls by 1/decay with each halving of size."""
    height, width = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width) * width)
    spectrum = np.maximum(frequency, 1) ** -(np.log2(decay) + 1)
    phases = rng.uniform(0, 2 * np.pi, frequency.shape)
    clouds = fft.irfft2(spectrum * np.exp(1j * phases), s=(height, width))
    clouds -= clouds.min()
    return np.asarray(clouds / max(clouds.max(), 1e-12), dtype=np.float32)


def _kernel(points: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    """Return a kernel of weights at fractional (y, x) points, shared among the four pixels around."""
    reach = int(np.ceil(np.abs(points).max(initial=0))) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    corner = np.floor(points).astype(int)
    part = points - corner
    for dy in (0, 1):
        for dx in (0, 1):
            share = np.abs(1 - dy - part[:, 0]) * np.abs(1 - dx - part[:, 1])
            np.add.at(
                kernel, (corner[:, 0] + reach + dy, corner[:, 1] + reach + dx), weights * share
            )
    return np.asarray(kernel / kernel.sum())


class _Convolution:
    """Convolution of each channel of pictures of one shape with a kernel, edges mirrored."""

    def __init__(self, shape: Shape, kernel: NDArray[Any]) -> None:
        self._reach = kernel.shape[0] // 2
        padded = (n + 2 * self._reach for n in shape)
        self._size = tuple(fft.next_fast_len(n, real=True) for n in padded)
        self._wave = fft.rfft2(kernel.astype(np.float32), s=self._size)[..., None]

    def __call__(self, image: Pixels) -> Pixels:
        height, width = image.shape[:2]
        reach, size = self._reach, self._size
        mirrored = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
        spectrum = fft.rfft2(mirrored.astype(np.float32), s=size, axes=(0, 1))
        spectrum *= self._wave
        full = fft.irfft2(spectrum, s=size, axes=(0, 1), overwrite_x=True)
        return to_bytes(full[2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width])


CORRUPTIONS: dict[str, Callable[[np.random.Generator], Corruption]] = {
    "gaussian noise": _gaussian_noise,
    "motion blur": _motion_blur,
    "brightness": _brightness,
    "pixelate": _pixelate,
    "defocus": _defocus,
    "fog": _fog,
    "smudge": _smudge,
}
