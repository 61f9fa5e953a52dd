"""The water between camera and things: haze over what is far, sun shafts, caustics, snow."""

from datetime import datetime
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageChops

from lenswatch.demo.noise import Array, fractal, generator, pixels, smoothstep, wander
from lenswatch.demo.reef import ATTENUATION, LAMP, Scene

__all__ = ["Light", "Sprite", "backdrop", "light_at", "snow", "veil"]

# Distance in metres, drawing, corner in the picture, mask.
Sprite: TypeAlias = tuple[float, Image.Image, tuple[int, int], Image.Image]
HOUR, FLAKES = 3600.0, 180
DAYLIGHT = np.array([1.05, 1.25, 1.22], np.float32)
SHAFT = (186, 236, 226)


class Light(NamedTuple):
    """Light on the scene."""

    level: float  # brightness against a clear noon
    warmth: float  # 0 at noon (blue), 1 when the sun is low (greener and warmer)
    sun: float  # share of the sun's rays that clouds let through, 0..1
    lamp: float  # 0 by day, 1 when only the camera's lamps light the scene

    def curve(self) -> list[int]:
        """Return the light and the camera's contrast as a table for Image.point, RGB."""
        tint = 1.0 + self.warmth * np.array([0.10, 0.015, -0.075])
        gains = self.level * tint * (1.0 - self.lamp) + self.lamp
        values = np.outer(gains, np.linspace(0.0, 1.0, 256))
        bent = 1.08 * values - 0.05 * np.sin(2.0 * np.pi * np.clip(values, 0.0, 1.0))
        return [round(255.0 * value) for value in np.clip(bent, 0.0, 1.0).ravel().tolist()]


def light_at(moment: datetime, seed: int, night: bool) -> Light:
    """Return the light at a time, a pure function; dusk and dawn last about an hour."""
    seconds = moment.timestamp()
    height = float(np.cos(2.0 * np.pi * (seconds / HOUR - 12.0) / 24.0))
    noon, murk = 0.5 + 0.5 * height, wander(seed + 12, seconds, 5.0 * HOUR)
    cloud = 0.5 + 0.5 * float(np.tanh(1.4 * wander(seed + 11, seconds, 1.6 * HOUR)))
    day = float(smoothstep(-0.16, 0.14, height)) if night else 1.0
    level = (0.87 + 0.13 * noon) * (1.0 - 0.10 * cloud) * (1.0 + 0.025 * murk)
    sun = (1.0 - 0.72 * cloud) * (0.65 + 0.35 * noon) * day
    return Light(level * (0.25 + 0.75 * day), 0.7 * (1.0 - noon), sun, 1.0 - day)


@lru_cache(maxsize=1024)
def veil(scene: Scene, lamp: float, distance: float, row: float) -> list[int]:
    """Return a table for Image.point that shows an RGBA drawing through water; `row` is 0..1."""
    clear = np.exp(-distance * ATTENUATION)
    day, water = DAYLIGHT * clear, scene.water[int(np.clip(row, 0.0, 0.999) * len(scene.water))]
    night = LAMP * 2.4 / (1.0 + (distance / 3.6) ** 3) * clear**2
    behind = water**2 * (1.0 - clear) * (1.0 - lamp) + 0.004 * lamp
    lit = np.linspace(0.0, 1.0, 256)[:, None] ** 2 * (day + lamp * (night - day)) + behind
    values = np.rint(255.0 * np.sqrt(np.clip(lit, 0.0, 1.0))).astype(int)
    return [*values.T.ravel().tolist(), *range(256)]


def backdrop(scene: Scene, light: Light, seed: int, seconds: float) -> Image.Image:
    """Return the fixed scene in this moment's light, before anything moves in it. RGB."""
    if light.lamp > 0.999:
        return scene.lamplit.copy()
    rays = _caustics(scene, seed, seconds) * (0.25 + 0.75 * light.sun)
    sunlit = ImageChops.multiply(scene.direct, Image.merge("RGB", [_enlarged(rays, scene)] * 3))
    picture = ImageChops.add(scene.ambient, sunlit)
    picture.paste(SHAFT, mask=_enlarged(_shafts(seed, seconds) * light.sun, scene))
    return Image.blend(picture, scene.lamplit, light.lamp) if light.lamp > 0.001 else picture


def _enlarged(values: Array, scene: Scene) -> Image.Image:
    return pixels(values).resize(scene.ambient.size, Image.Resampling.BILINEAR)


@lru_cache(maxsize=2)
def _caustic_net(scene: Scene, seed: int) -> tuple[Array, Array, Array, Array]:
    """Return a tile of bright lines, its positions on the surfaces, and how much shows there."""
    # The zero lines of a smooth field look like the folds of light below waves.
    net = np.abs(fractal(generator(seed, 20), (256, 256), 7, 3.5))
    x, y, z = (scene.places[..., axis] for axis in range(3))
    u, v = 256.0 * (x - 0.34 * y) / 2.3, 256.0 * (z + 0.42 * y) / 2.3
    return 1.0 - np.minimum(net * 1.15, 1.0), u, v, 1.0 - smoothstep(5.0, 13.0, z)


def _caustics(scene: Scene, seed: int, seconds: float) -> Array:
    """Return how the waves gather the sunlight: about 0.5 on average, up to 1 on bright lines."""
    tile, u, v, shown = _caustic_net(scene, seed)
    gathered = np.ones_like(u)
    for net, speed, start in ((tile, 9.0, 0.0), (tile.T, -7.0, 97.0)):
        row, column = v + (5.0 * seconds + start) % 256.0, u + speed * seconds % 256.0
        gathered *= net[row.astype(np.int32) & 255, column.astype(np.int32) & 255]
    return np.asarray(0.5 + shown * (0.95 * gathered**1.5 - 0.21), np.float32)


def _shafts(seed: int, seconds: float) -> Array:
    """Return rays of sun slanting down from the surface, 0..1, coarse."""
    x = np.arange(120, dtype=np.float32) / 120.0 - 0.36
    y = np.arange(68, dtype=np.float32)[:, None] / 68.0 + 0.55
    rays = np.zeros((68, 120), np.float32)
    for k, (count, period) in enumerate(((23.0, 900.0), (41.0, 500.0), (67.0, 260.0))):
        drift = 6.0 * wander(seed + 30 + k, seconds, period)
        rays += np.sin(count * np.arctan2(x, y) + drift) / (k + 1.5)
    return np.asarray(0.17 * smoothstep(0.15, 1.5, rays) * (1.0 - smoothstep(0.62, 1.25, y)))


def snow(picture: Image.Image, light: Light, seed: int, seconds: float) -> None:
    """Draw particles drifting past onto `picture`; the lamps light up the near ones."""
    rng, size = generator(seed, 40), np.array(picture.size)
    start, pace = rng.random((FLAKES, 2)), rng.normal(0.0, 0.010, (FLAKES, 2))
    near, shine = rng.random(FLAKES) ** 7, rng.random(FLAKES)
    sinking = np.array([0.05 * wander(seed + 41, seconds, 600.0), 0.006])
    places = (start + seconds % 1e6 * (pace + sinking * (0.4 + near[:, None]))) % 1.0
    radii = np.maximum(1, np.rint((0.7 + 13.0 * near) * picture.width / 960.0))
    strength = (1.0 + 0.8 * light.lamp) * (0.25 + 0.75 * shine**2) * 150.0 / (1.0 + 13.0 * near)
    for place, radius, bright in zip(places * (size + 60) - 30, radii, strength, strict=True):
        flake = _flake(int(radius), round(float(bright) / 4.0))
        corner = (int(place[0]) - flake.width // 2, int(place[1]) - flake.height // 2)
        picture.paste((206, 226, 214), corner, flake)


@lru_cache(maxsize=600)
def _flake(radius: int, strength: int) -> Image.Image:
    """Return a soft fleck, L."""
    axis = np.arange(-2 * radius, 2 * radius + 1, dtype=np.float32) / radius
    fleck = np.exp(-1.2 * (axis**2 + axis[:, None] ** 2) ** 1.3)
    return pixels(strength / 64.0 * fleck)
