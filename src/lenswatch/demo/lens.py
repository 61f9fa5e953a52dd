"""A lens that fouls: film, colonies and smudges spread from a corner, then veil and blur all.

Each growth has an arrival map: the fouling at which it reaches each place. A smooth threshold on
these maps gives what a fouling shows, so that growth never goes back as fouling rises.
"""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageFilter

from lenswatch.demo.noise import Array, Random, fractal, generator, pixels, smoothstep

__all__ = ["foul"]

OLIVE, BROWN = np.array([[0.40, 0.44, 0.20], [0.46, 0.36, 0.20]], np.float32)


def foul(picture: Image.Image, fouling: float, seed: int) -> Image.Image:
    """Return the picture through a lens fouled to a degree from 0 (clean) to 1."""
    if fouling <= 0.0:
        return picture
    (algae, thickness, smudges, colour), grown = _growth(picture.size, seed), fouling**0.6
    cover = smoothstep(0.0, 0.30, grown - algae) * thickness
    smudge = 0.75 * smoothstep(0.0, 0.30, grown - smudges)
    veil = (1.0 - cover) * (1.0 - (1.0 - 0.52 * fouling**1.25) * (1.0 - 0.42 * smudge))
    local = np.minimum(1.4 * np.maximum(smudge, cover), 1.0)
    blur = (1.0 - cover - veil) * np.maximum(smoothstep(0.10, 0.75, fouling), local)
    soft = picture.reduce(2)
    soft = soft.filter(ImageFilter.BoxBlur(1.7 * soft.width / 480.0 * (0.8 + 4.0 * fouling)))
    small = picture.resize((32, 18), Image.Resampling.BOX).filter(ImageFilter.BoxBlur(2))
    small = small.resize(soft.size, Image.Resampling.BILINEAR)
    blurred, glow = (np.asarray(each, np.float32) / np.float32(255.0) for each in (soft, small))
    milky = glow * np.array([0.86, 0.92, 0.80], np.float32) + np.float32(0.07)
    around = 0.3 * glow + 0.7 * (0.15 + 1.2 * glow.mean(-1, keepdims=True))
    mixed = blur[..., None] * blurred + veil[..., None] * milky
    mixed += cover[..., None] * colour * around
    share = np.maximum(blur + veil + cover, 1e-3)
    layers = (pixels(mixed / share[..., None]), pixels(share))
    seen, mask = (each.resize(picture.size, Image.Resampling.BILINEAR) for each in layers)
    return Image.composite(seen, picture, mask)


@lru_cache(maxsize=2)
def _growth(size: tuple[int, int], seed: int) -> tuple[Array, Array, Array, Array]:
    """Return arrival and thickness of algae, arrival of smudges, colours, at half `size`."""
    width, height = (size[0] + 1) // 2, (size[1] + 1) // 2
    x = np.linspace(0.0, width / height, width, dtype=np.float32)
    y = np.linspace(1.0, 0.0, height, dtype=np.float32)[:, None]
    away = np.hypot(x + 0.05, y + 0.05) / float(np.hypot(width / height, 1.0))
    rng, looks = generator(seed, 100), ((3, 2.2), (14, 2.0), (13, 3.2), (4, 2.0))
    lobes, fuzz, hair, mix = (fractal(rng, away.shape, cells, slope) for cells, slope in looks)
    strands = 0.08 * np.minimum(np.abs(hair) * 1.4, 1.0) - 0.05
    front = 0.94 * away + 0.014 * fuzz + 0.085 * lobes * np.minimum(3.0 * away, 1.0) + strands
    colonies = _patches(rng, x, y, 70, (0.02, 0.05)) + 0.02 * fuzz
    brown, shades = smoothstep(-1.5, 1.5, mix), 1.1 + 0.06 * fuzz + 0.10 * mix + 1.5 * strands
    algae = np.maximum(np.minimum(front, colonies), 0.01)
    thickness = np.clip(0.76 + 0.05 * fuzz + 0.09 * lobes - 0.12 * away, 0.2, 0.92)
    smudges = _patches(rng, x, y, 12, (0.15, 0.30)) + 0.05 * lobes
    colour = (OLIVE + (BROWN - OLIVE) * brown[..., None]) * shades[..., None]
    return algae, thickness, smudges, colour


def _patches(rng: Random, x: Array, y: Array, count: int, radii: tuple[float, float]) -> Array:
    """Return the arrival of patches along the current; the first settle near the corner."""
    arrival = np.full((y.size, x.size), 9.0, np.float32)
    for cx, cy, late, turn in rng.uniform((0, 0, 0, 0.2), (1.78, 1.0, 0.35, 0.9), (count, 4)):
        u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
        v = (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
        spread = np.hypot(u / 1.5, v * 1.1) / rng.uniform(*radii)
        np.minimum(arrival, 0.03 + 0.39 * np.hypot(cx, cy) + late + 0.2 * spread**1.5, out=arrival)
    return arrival
