"""Faults of weeks: what grows on a lens or drifts before it, with a severity from 0 (nothing) to 5.

`defocus` and `fog` are those of `corruptions`. Places and shapes are drawn once from the seed.
"""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image, ImageFilter

from lenswatch.detect.arrays import Floats32, Pixels
from lenswatch.evaluate.corruptions import (
    CORRUPTIONS,
    HEIGHT,
    Corruption,
    Maker,
    clouds,
    corruption,
    smudge_mask,
    to_bytes,
)

__all__ = ["FAULTS", "fault"]

_WATER = np.array([96, 112, 104], np.float32)  # colours
_SLIME = np.array([82, 88, 54], np.float32)
_DARK = np.array([24, 22, 20], np.float32)
_DROPS_A_SEVERITY = 4


def fault(name: str, seed: int = 0) -> Corruption:
    """Return a fault for the pictures of one camera: `corrupt(image, severity) -> image`.

    >>> corrupt = fault("turbidity")
    >>> corrupt(np.zeros((8, 8, 3), np.uint8), 5)[0, 0].tolist()
    [48, 56, 52]

    Raises:
        InputError: the name is unknown; or, from `corrupt`, the severity is not from 0 to 5.
    """
    return corruption(name, seed, FAULTS)


def _turbidity(_: np.random.Generator) -> Corruption:
    def corrupt(image: Pixels, severity: float) -> Pixels:
        """Lay a veil of 10 % a severity over a slight blur."""
        soft = _blurred(image, 0.4 * severity)
        return _blend(soft, _WATER, np.float32(0.1 * severity))

    return corrupt


def _film(rng: np.random.Generator) -> Corruption:
    seed = int(rng.integers(2**32))

    @functools.lru_cache(maxsize=1)
    def growth(shape: tuple[int, int]) -> Floats32:
        return clouds(np.random.default_rng(seed), shape, 2.0)

    def corrupt(image: Pixels, severity: float) -> Pixels:
        """Cover 12 % of the picture a severity, thicker as it grows, and blur what is behind."""
        field = growth(image.shape[:2])
        edge = float(np.quantile(field, 1 - 0.12 * severity))
        cover = np.clip((field - edge) / 0.1 + 0.5, 0, 1)[..., None]
        behind = _blurred(image, 1.5) * cover + image * (1 - cover)
        return _blend(behind, _SLIME, np.float32(0.12 * severity) * cover)

    return corrupt


def _occlusion(rng: np.random.Generator) -> Corruption:
    seed = int(rng.integers(2**32))

    def corrupt(image: Pixels, severity: float) -> Pixels:
        """Hide 4 % of the picture a severity behind something dark and near."""
        mask = smudge_mask(np.random.default_rng(seed), image.shape[:2], 0.04 * severity)
        return _blend(image, _DARK, np.float32(0.97) * mask[..., None])

    return corrupt


def _drops(rng: np.random.Generator) -> Corruption:
    places = rng.uniform(0.05, 0.95, (5 * _DROPS_A_SEVERITY, 2))
    sizes = rng.uniform(0.03, 0.08, len(places))

    def corrupt(image: Pixels, severity: float) -> Pixels:
        """Let drops of 6 to 16 % of the height melt what is behind them."""
        height, width = image.shape[:2]
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        mask = np.zeros((height, width), np.float32)
        for (down, right), size in list(zip(places, sizes, strict=True))[
            : round(_DROPS_A_SEVERITY * severity)
        ]:
            radius = size * height
            distance = np.hypot(y - down * height, x - right * width)
            mask = np.maximum(mask, np.clip((radius - distance) / 1.5 + 0.5, 0, 1))
        melted = _blurred(image, 8.0) * np.float32(0.92) + 12
        shown = mask[..., None]
        return to_bytes(melted * shown + image * (1 - shown))

    return corrupt


def _blurred(image: Pixels, radius: float) -> Floats32:
    """Blur by a Gaussian whose radius is given for a height of 224."""
    scaled = radius * image.shape[0] / HEIGHT
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(scaled)), np.float32)


def _blend(image: Pixels | Floats32, colour: Floats32, opacity: Floats32 | np.float32) -> Pixels:
    return to_bytes(image * (1 - opacity) + colour * opacity)


FAULTS: dict[str, Maker] = {
    "defocus": CORRUPTIONS["defocus"],
    "turbidity": _turbidity,
    "fog": CORRUPTIONS["fog"],
    "film": _film,
    "occlusion": _occlusion,
    "drops": _drops,
}
