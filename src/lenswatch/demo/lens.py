"""A lens that fouls: smudges, algae and filaments spread from a corner, then veil and blur.

Each growth has an arrival map: when it reaches each place. What a fouling shows is a smooth
threshold on these maps, so growth never goes back as fouling rises. Growth leads (it follows the
fouling to the power 0.8), veil and blur come after.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from lenswatch.demo.noise import Array, fractal, generator, smoothstep

__all__ = ["foul"]

NEVER = 9.0
_SMOOTH = Image.Resampling.BILINEAR
STRANDS = 420


@dataclass(frozen=True)
class _Growth:
    """Arrival maps at half the picture's size, (h/2, w/2) float32, and the algae's own colour."""

    algae: Array
    thickness: Array
    smudges: Array
    strands: Array
    colour: Image.Image


def foul(picture: Image.Image, fouling: float, seed: int) -> Image.Image:
    """The picture through a lens fouled to a degree from 0 (clean) to 1."""
    if fouling <= 0.0:
        return picture
    growth = _growth(picture.size, seed)
    grown = fouling**0.8
    cover = _cover(growth, grown)
    smudge = 0.75 * smoothstep(0.0, 0.30, grown - growth.smudges)
    veil = (1.0 - cover) * (1.0 - (1.0 - 0.52 * fouling**1.25) * (1.0 - 0.42 * smudge))
    blur = (1.0 - cover - veil) * _defocus(fouling, np.maximum(smudge, cover))
    soft = _soft(picture, growth, fouling, (blur, veil, cover))
    seen = picture.copy()
    seen.paste(soft.resize(picture.size, _SMOOTH), mask=_mask(blur + veil + cover, picture.size))
    return seen


def _soft(
    picture: Image.Image, growth: _Growth, fouling: float, shares: tuple[Array, Array, Array]
) -> Image.Image:
    """All that is without detail, at half size: blurred scene, veil and algae in their shares."""
    blur, veil, cover = shares
    soft = picture.reduce(2)
    radius = soft.width / 480.0 * (0.8 + 5.0 * fouling)
    soft = soft.filter(ImageFilter.BoxBlur(radius)).filter(ImageFilter.BoxBlur(0.6 * radius))
    glow = picture.resize((32, 18), Image.Resampling.BOX).filter(ImageFilter.BoxBlur(2))
    part = veil / np.maximum(blur + veil, 1e-4)
    soft.paste(_milky(glow).resize(soft.size, _SMOOTH), mask=_mask(part, soft.size))
    lit = ImageChops.multiply(growth.colour, _brightened(glow).resize(soft.size, _SMOOTH))
    part = cover / np.maximum(blur + veil + cover, 1e-4)
    soft.paste(lit, mask=_mask(part, soft.size))
    return soft


def _defocus(fouling: float, local: Array) -> Array:
    """How far the scene is out of focus: first behind the growth, then everywhere."""
    everywhere = smoothstep(0.12, 0.75, np.array([[fouling]], np.float32))
    return np.asarray(np.maximum(everywhere, np.minimum(1.4 * local, 1.0)), np.float32)


def _cover(growth: _Growth, grown: float) -> Array:
    """How much of the light the algae and filaments keep, 0..1."""
    film = smoothstep(0.0, 0.25, grown - growth.algae) * growth.thickness
    strands = 0.55 * smoothstep(0.0, 0.10, grown - growth.strands)
    soft = Image.fromarray(np.asarray(strands * 255.0).astype(np.uint8))
    radius = 0.0022 * soft.width
    strands = np.asarray(soft.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255.0
    return np.asarray(1.0 - (1.0 - film) * (1.0 - strands), np.float32)


def _milky(glow: Image.Image) -> Image.Image:
    """Light scattered by a film: the glow, a little greener and greyer."""
    tones = ((0.86, 26), (0.92, 18), (0.80, 14))
    return glow.point(
        [min(255, round(v * gain + lift)) for gain, lift in tones for v in range(256)]
    )


def _brightened(glow: Image.Image) -> Image.Image:
    """Light through algae comes from all sides: greyer than the water, and never black."""
    grey = glow.convert("L").point([min(255, round(40 + 1.35 * v)) for v in range(256)])
    return Image.blend(glow, Image.merge("RGB", (grey, grey, grey)), 0.72)


@lru_cache(maxsize=2)
def _growth(size: tuple[int, int], seed: int) -> _Growth:
    """Where and when things grow, for pictures of `size` (width, height)."""
    width, height = (size[0] + 1) // 2, (size[1] + 1) // 2
    shape = (height, width)
    x = np.linspace(0.0, width / height, width, dtype=np.float32)[None, :]
    y = np.linspace(1.0, 0.0, height, dtype=np.float32)[:, None]
    away = np.hypot(x + 0.05, y + 0.05) / np.hypot(width / height, 1.0)
    rng = generator(seed, 100)
    lobes, fuzz = fractal(rng, shape, 3, 4, 0.55), fractal(rng, shape, 14, 4, 0.7)
    front = 0.94 * away + 0.014 * fuzz + 0.085 * lobes * np.minimum(3.0 * away, 1.0)
    algae = np.minimum(front, _colonies(rng, x, y, away) + 0.03 * fuzz)
    thickness = np.clip(0.76 + 0.06 * fuzz + 0.07 * lobes - 0.12 * away, 0.2, 0.95)
    return _Growth(
        algae=np.asarray(np.maximum(algae, 0.01), np.float32),
        thickness=np.asarray(thickness, np.float32),
        smudges=_smudges(rng, x, y, away),
        strands=_strands(rng, shape, front),
        colour=_colour(rng, shape),
    )


def _colonies(rng: np.random.Generator, x: Array, y: Array, away: Array) -> Array:
    """Round spots that settle ahead of the front, each growing from its middle."""
    arrival = np.full(away.shape, NEVER, np.float32)
    for _ in range(70):
        cx, cy = float(rng.uniform(0.0, 16 / 9)), float(rng.uniform(0.0, 1.0))
        settled = 0.06 + 0.80 * float(np.hypot(cx, cy)) / 2.04 + float(rng.uniform(0.0, 0.35))
        speed = float(rng.uniform(0.02, 0.16))
        distance = np.hypot(x - cx, y - cy)
        arrival = np.minimum(arrival, settled + 0.5 * (distance / speed) ** 1.3)
    return arrival


def _smudges(rng: np.random.Generator, x: Array, y: Array, away: Array) -> Array:
    """Greasy patches, streaked by the current; the first of them near the corner."""
    arrival = np.full(away.shape, NEVER, np.float32)
    streaks = fractal(rng, (away.shape[0], away.shape[1]), 5, 3)
    for k in range(12):
        reach = 0.25 + 1.5 * k / 12.0
        cx, cy = float(rng.uniform(0.05, reach)), float(rng.uniform(0.05, min(1.0, 0.6 * reach)))
        turn, size = float(rng.uniform(0.2, 0.9)), float(rng.uniform(0.10, 0.26))
        u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
        v = (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
        distance = np.hypot(u / 1.8, v * 1.2) / size
        arrival = np.minimum(arrival, 0.02 + 0.055 * k + 0.22 * distance**2)
    return np.asarray(arrival + 0.05 * streaks, np.float32)


def _strands(rng: np.random.Generator, shape: tuple[int, int], front: Array) -> Array:
    """Filaments that grow out of the front and wave ahead of it."""
    height, width = shape
    picture = Image.new("F", (width, height), NEVER)
    draw = ImageDraw.Draw(picture)
    for _ in range(STRANDS):
        column, row = (
            float(rng.random()) ** 1.4 * width,
            (1.0 - float(rng.random()) ** 1.4) * height,
        )
        begin = float(front[min(int(row), height - 1), min(int(column), width - 1)]) + 0.05
        heading, bend = float(rng.normal(-0.65, 0.65)), float(rng.normal(0.0, 0.09))
        pace, wide = float(rng.uniform(0.008, 0.018)) * height, int(rng.integers(1, 3))
        for step in range(int(rng.integers(8, 22))):
            heading += bend + float(rng.normal(0.0, 0.10))
            ahead = (column + pace * np.cos(heading), row + pace * np.sin(heading))
            draw.line([(column, row), ahead], fill=max(0.03, begin + 0.012 * step), width=wide)
            column, row = ahead
    return np.asarray(picture, np.float32)


def _colour(rng: np.random.Generator, shape: tuple[int, int]) -> Image.Image:
    """Olive to brown, mottled, as it looks with white light behind."""
    mix = smoothstep(-1.6, 1.6, fractal(rng, shape, 3, 5, 0.6))[..., None]
    fine = fractal(rng, shape, 22, 4, 0.8)[..., None]
    olive, brown = np.array([104.0, 116.0, 44.0]), np.array([126.0, 96.0, 46.0])
    value = (olive * (1.0 - mix) + brown * mix) * (1.0 + 0.08 * fine)
    return Image.fromarray(np.clip(value, 0.0, 255.0).astype(np.uint8))


def _mask(values: Array, size: tuple[int, int]) -> Image.Image:
    mask = Image.fromarray(np.asarray(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8))
    return mask if mask.size == size else mask.resize(size, _SMOOTH)
