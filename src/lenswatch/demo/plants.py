"""Seagrass: tufts of blades drawn once, swaying with the swell."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from lenswatch.demo.light import Light
from lenswatch.demo.noise import generator, wander
from lenswatch.demo.scene import Scene
from lenswatch.demo.solids import SEABED, Camera
from lenswatch.demo.water import veil

__all__ = ["MEADOW", "Tuft"]

FOOT = 0.84
"""Where the root line is in the drawing, as a part of its height."""
FINE = 3
"""Oversampling of the drawing."""


@dataclass(frozen=True)
class Tuft:
    """A tuft of seagrass on the sea bed."""

    number: int
    x: float
    distance: float
    spread: float
    height: float
    blades: int

    def draw(self, picture: Image.Image, scene: Scene, light: Light, seed: int, now: float) -> None:
        """Onto `picture`, bent by the swell of the moment."""
        camera = scene.camera
        drawing = _seen(self, scene, round(light.lamp, 2), seed)
        foot = camera.project((self.x, SEABED, self.distance))
        corner = (round(foot[0] - drawing.width / 2), round(foot[1] - FOOT * drawing.height))
        bent = _swayed(drawing, self._push(seed, now))
        picture.paste(bent, corner, bent)

    def _push(self, seed: int, now: float) -> tuple[float, float]:
        """Lean and bend as parts of the height; neighbours feel nearly the same swell."""
        swell = float(np.sin(2.0 * np.pi * now / 7.3 + 0.8 * self.x)) * 0.12
        return swell + 0.16 * wander(seed + 50, now, 900.0), 0.05 * wander(seed + 51, now, 5.0)


MEADOW = (
    Tuft(0, -4.1, 7.2, 0.55, 0.50, 80),
    Tuft(1, -1.7, 7.8, 0.45, 0.40, 55),
    Tuft(2, 4.0, 7.0, 0.60, 0.50, 80),
    Tuft(3, 2.9, 4.6, 0.34, 0.50, 60),
    Tuft(4, -2.35, 4.5, 0.50, 0.60, 90),
    Tuft(5, -1.62, 3.5, 0.34, 0.62, 75),
    Tuft(6, -2.15, 3.1, 0.42, 0.80, 95),
    Tuft(7, 2.0, 3.05, 0.26, 0.42, 44),
)


@lru_cache(maxsize=64)
def _seen(tuft: Tuft, scene: Scene, lamp: float, seed: int) -> Image.Image:
    """The tuft as the water shows it; kept, since it changes only with the lamp."""
    middle = (tuft.x, SEABED + tuft.height / 2, tuft.distance)
    row = scene.camera.project(middle)[1] / scene.camera.height
    table = veil(scene, Light(1.0, 0.0, 1.0, lamp), tuft.distance, row)
    return _drawn(tuft, scene.camera, seed).point(table)


@lru_cache(maxsize=32)
def _drawn(tuft: Tuft, camera: Camera, seed: int) -> Image.Image:
    """The tuft standing straight, RGBA, its foot at `FOOT` of the height."""
    scale = camera.focal / tuft.distance
    width, height = (tuft.spread * 2.1 + tuft.height * 1.2) * scale, tuft.height * 1.32 * scale
    size = (max(4, round(width)), max(4, round(height)))
    fine = (size[0] * FINE, size[1] * FINE)
    picture = Image.new("RGBA", fine, (70, 72, 30, 0))
    _shade(picture, tuft, scale)
    draw = ImageDraw.Draw(picture)
    rng = generator(seed, 80 + tuft.number)
    roots = np.sort(rng.normal(0.0, 0.42, tuft.blades)) * tuft.spread * scale
    for k in rng.permutation(tuft.blades).tolist():
        root = (
            size[0] / 2.0 + float(roots[k]),
            FOOT * size[1] + float(rng.normal(0.0, 0.012)) * size[1],
        )
        tall = tuft.height * scale * float(np.clip(rng.normal(0.8, 0.18), 0.3, 1.1))
        _blade(draw, rng, root, tall, max(0.011 * scale * float(rng.uniform(0.6, 1.2)), 0.7))
    return picture.resize(size, Image.Resampling.BOX)


def _shade(picture: Image.Image, tuft: Tuft, scale: float) -> None:
    """The dark at the foot of the blades."""
    mask = Image.new("L", picture.size, 0)
    reach, middle, foot = tuft.spread * scale * FINE, picture.width / 2.0, FOOT * picture.height
    flat = (middle - reach, foot - 0.10 * reach, middle + reach, foot + 0.10 * reach)
    ImageDraw.Draw(mask).ellipse(flat, fill=150)
    mask = mask.filter(ImageFilter.GaussianBlur(0.05 * reach))
    picture.paste((30, 32, 18, 255), mask=mask)
    picture.putalpha(mask)


def _blade(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    root: tuple[float, float],
    tall: float,
    wide: float,
) -> None:
    """One ribbon, curving over, dark at the root and pale at the worn tip."""
    steps = 9
    part = np.linspace(0.0, 1.0, steps)
    lean, curl = float(rng.normal(0.0, 0.20)), float(rng.normal(0.0, 0.34))
    x = (root[0] + tall * (lean * part + curl * part**2.4)) * FINE
    y = (root[1] - tall * part * (1.0 - 0.28 * abs(curl) * part)) * FINE
    half = (
        0.5 * wide * FINE * (1.0 - 0.75 * part**3) * (0.75 + 0.25 * np.cos(5.0 * part + lean * 9))
    )
    tone, brown = float(rng.uniform(0.72, 1.18)), float(rng.random()) ** 2
    fresh, worn = np.array([88.0, 122.0, 44.0]), np.array([150.0, 122.0, 74.0])
    for k in range(steps - 1):
        age = brown * float(part[k]) ** 1.5
        value = (fresh * (1.0 - age) + worn * age) * tone * (0.34 + 0.66 * float(part[k]) ** 0.7)
        colour = (int(value[0]), int(value[1]), int(value[2]), 255)
        a, b = k, k + 1
        corners = [
            (x[a] - half[a], y[a]),
            (x[a] + half[a], y[a]),
            (x[b] + half[b], y[b]),
            (x[b] - half[b], y[b]),
        ]
        draw.polygon(corners, fill=colour)


def _swayed(drawing: Image.Image, push: tuple[float, float]) -> Image.Image:
    """The drawing sheared more and more towards its top."""
    strips = 7
    width, height = drawing.size
    edges = [round(height * k / strips) for k in range(strips + 1)]

    def shift(row: int) -> float:
        up = max(0.0, FOOT - row / height)
        return -height * float(push[0] * up**1.7 + push[1] * np.sin(4.0 * up))

    mesh = []
    for top, low in pairwise(edges):
        a, b = shift(top), shift(low)
        mesh.append(((0, top, width, low), (a, top, b, low, width + b, low, width + a, top)))
    return drawing.transform(drawing.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)
