"""A fish drawn from the side: outline, rounded skin with markings and scales, fins, eye."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from lenswatch.demo.noise import Array, fractal, generator, smoothstep
from lenswatch.demo.species import SPECIES, STATIONS, Colour, Species

__all__ = ["portrait"]

LENGTH = 480
"""Pixels from nose to tail tip in the drawing."""


@lru_cache(maxsize=16)
def portrait(name: str, length: int) -> Image.Image:
    """The fish facing left, RGBA, `length` pixels from nose to tail and half as high."""
    drawing = _drawn(SPECIES[name])
    return drawing.resize((length, length // 2), Image.Resampling.BOX)


@lru_cache(maxsize=8)
def _drawn(species: Species) -> Image.Image:
    height = LENGTH // 2
    s = np.broadcast_to((np.arange(LENGTH, dtype=np.float32) + 0.5) / LENGTH, (height, LENGTH))
    rise = (height / 2.0 - 0.5 - np.arange(height, dtype=np.float32)[:, None]) / LENGTH
    back, belly = _curve(species.back), _curve(species.belly)
    half, middle = (back + belly) / 2.0, (back - belly) / 2.0
    q = np.asarray((rise - middle) / np.maximum(half, 1e-4), np.float32)
    body = np.clip((1.0 - np.abs(q)) * half * LENGTH, 0.0, 1.0)
    body *= 1.0 - smoothstep(species.base - 0.03, species.base + 0.01, s)
    picture = _fins(species, back, belly)
    picture.paste(_body(species, s, q), mask=_mask(body))
    _pectoral(species, picture)
    _eye(species, picture)
    return picture


def _body(species: Species, s: Array, q: Array) -> Image.Image:
    """Skin with markings and scales, shaded as a rounded flank lit from above."""
    top, flank, under = (np.array(colour, np.float32) for colour in species.colours)
    upper = smoothstep(0.10, 0.85, q)[..., None]
    lower = smoothstep(0.05, 0.80, -q)[..., None]
    rgb = flank * (1.0 - upper) + top * upper
    rgb = rgb * (1.0 - lower) + under * lower
    rgb = species.markings(s, q, np.asarray(rgb, np.float32))
    bulge = np.sqrt(np.maximum(1.0 - q * q, 0.0))
    light = 0.50 + 0.34 * bulge + 0.30 * q * bulge
    shine = 0.22 * np.exp(-(((q - 0.42) / 0.16) ** 2)) * smoothstep(0.05, 0.3, s)
    scales = 1.0 + 0.07 * np.sin(150.0 * s + 9.0 * q) * np.sin(150.0 * s - 9.0 * q) * (s > 0.2)
    mottle = 1.0 + 0.05 * fractal(generator(3), (s.shape[0], s.shape[1]), 8, 3)
    gill = 1.0 - 0.35 * np.exp(-(((s - 0.195 - 0.035 * (1 - q * q)) / 0.006) ** 2)) * (
        np.abs(q) < 0.75
    )
    mouth = 1.0 - 0.5 * np.exp(-(((q + 0.25) / 0.09) ** 2)) * (s < 0.055)
    value = (light * scales * mottle * gill * mouth)[..., None] * rgb + shine[..., None]
    return Image.fromarray((np.clip(value, 0.0, 1.0) * 255.0).astype(np.uint8))


def _fins(species: Species, back: Array, belly: Array) -> Image.Image:
    """Dorsal, anal and tail fins on an empty picture, thin and rayed."""
    picture = Image.new("RGBA", (LENGTH, LENGTH // 2), _rgba(species.fin, 0.0))
    top = [(x, y + float(np.interp(x, _along(), back)) - 0.006) for x, y in species.dorsal]
    low = [(x, -y - float(np.interp(x, _along(), belly)) + 0.006) for x, y in species.anal]
    tail = [*species.tail, *((x, -y) for x, y in reversed(species.tail))]
    pelvic = [(0.30, -0.09), (0.36, -0.155), (0.42, -0.10)]
    pelvic = [(x, y * species.belly[4] / 0.15) for x, y in pelvic]
    mask = Image.new("L", picture.size, 0)
    for outline in (top, low, tail, pelvic):
        ImageDraw.Draw(mask).polygon([_pixel(*point) for point in outline], fill=235)
    mask = mask.filter(ImageFilter.GaussianBlur(1.3))
    x, y = np.meshgrid(np.arange(LENGTH), np.arange(LENGTH // 2))
    fan = np.arctan2(y - LENGTH / 4, x - 0.62 * LENGTH)
    rays = 0.86 + 0.14 * np.where(x > 0.82 * LENGTH, np.sin(90.0 * fan), np.sin(0.9 * x + 0.35 * y))
    picture.putalpha(Image.fromarray((np.asarray(mask) * rays).astype(np.uint8)))
    return picture


def _pectoral(species: Species, picture: Image.Image) -> None:
    """The side fin, half transparent, behind the gill."""
    layer = Image.new("RGBA", picture.size, _rgba(species.fin, 0.0))
    points = [(0.25, -0.012), (0.34, 0.008), (0.40, -0.03), (0.37, -0.06), (0.27, -0.035)]
    ImageDraw.Draw(layer).polygon(
        [_pixel(*point) for point in points], fill=_rgba(species.fin, 0.62)
    )
    picture.alpha_composite(layer.filter(ImageFilter.GaussianBlur(1.6)))


def _eye(species: Species, picture: Image.Image) -> None:
    x, y, radius = species.eye
    draw = ImageDraw.Draw(picture)
    for part, colour in ((1.0, (0.62, 0.58, 0.42)), (0.68, (0.03, 0.03, 0.04))):
        draw.ellipse(_disc(x, y, radius * part), fill=_rgba(colour, 1.0))
    draw.ellipse(
        _disc(x - 0.25 * radius, y + 0.3 * radius, 0.17 * radius), fill=_rgba((1, 1, 1), 0.8)
    )


def _along() -> Array:
    return (np.arange(LENGTH, dtype=np.float32) + 0.5) / LENGTH


def _curve(heights: tuple[float, ...]) -> Array:
    """The outline's height at every pixel of the length, smoothed, with a blunt nose."""
    values = np.interp(_along(), STATIONS, heights)
    kernel = np.hanning(LENGTH // 9)
    padded = np.pad(values, len(kernel) // 2, mode="reflect", reflect_type="odd")
    smooth = np.convolve(padded, kernel / kernel.sum(), mode="same")[len(kernel) // 2 :][:LENGTH]
    nose = np.sqrt(np.clip(_along() / 0.022, 0.0, 1.0))
    return np.asarray(np.maximum(smooth, 0.004) * nose, np.float32)


def _pixel(x: float, y: float) -> tuple[float, float]:
    return x * LENGTH, LENGTH / 4 - y * LENGTH


def _disc(x: float, y: float, radius: float) -> tuple[float, float, float, float]:
    column, row = _pixel(x, y)
    reach = radius * LENGTH
    return column - reach, row - reach, column + reach, row + reach


def _rgba(colour: Colour, alpha: float) -> tuple[int, int, int, int]:
    r, g, b = (round(255 * part) for part in colour)
    return r, g, b, round(255 * alpha)


def _mask(values: Array) -> Image.Image:
    return Image.fromarray((np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8))
