"""The water between camera and things: its veil over what is far, sun shafts, caustics, snow."""

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from lenswatch.demo.light import Light
from lenswatch.demo.noise import Array, fractal, generator, smoothstep, wander
from lenswatch.demo.scene import ATTENUATION, LAMP, Scene

__all__ = ["backdrop", "snow", "veil"]

Doubles: TypeAlias = NDArray[np.float64]

FLAKES = 170
DAYLIGHT = np.array([1.05, 1.25, 1.22], np.float32)
SHAFT = (196, 240, 228)


def veil(scene: Scene, light: Light, distance: float, row: float) -> list[int]:
    """A table for Image.point that shows an RGBA drawing as it looks through the water.

    `row` is where it is in the picture, as a part of the height.
    """
    line = int(np.clip(row, 0.0, 0.999) * scene.camera.height)
    clear = np.exp(-distance * ATTENUATION)
    behind = scene.water[line].mean(0) ** 2 * (1.0 - clear)
    lamp = LAMP * 2.4 / (1.0 + (distance / 3.6) ** 3) * clear**1.24
    lit = DAYLIGHT * clear * (1 - light.lamp) + lamp * light.lamp
    behind = behind * (1 - light.lamp) + 0.004 * light.lamp
    values = (np.arange(256, dtype=np.float32) / 255.0)[:, None] ** 2 * lit + behind
    table = (np.sqrt(np.clip(values, 0.0, 1.0)) * 255.0 + 0.5).astype(np.uint8)
    return [*table.T.ravel().tolist(), *range(256)]


def backdrop(scene: Scene, light: Light, seed: int, seconds: float) -> Image.Image:
    """The fixed scene in this moment's light, before anything moves in it. RGB."""
    if light.lamp > 0.999:
        return scene.lamplit.copy()
    rays = _caustics(scene, seed, seconds) * (0.25 + 0.75 * light.sun)
    grey = _upscaled(rays * 127.0, scene)
    sunlit = ImageChops.multiply(_doubled(scene), Image.merge("RGB", (grey, grey, grey)))
    picture = ImageChops.add(scene.ambient, sunlit)
    shafts = _upscaled(_shafts(seed, seconds) * (255.0 * light.sun), scene)
    picture.paste(SHAFT, mask=shafts)
    return Image.blend(picture, scene.lamplit, light.lamp) if light.lamp > 0.001 else picture


@lru_cache(maxsize=2)
def _doubled(scene: Scene) -> Image.Image:
    """The sun's part, twice as bright, so that a caustic of 127 leaves it as it is."""
    return scene.direct.point([min(255, 2 * value) for value in range(256)] * 3)


def _upscaled(values: Array, scene: Scene) -> Image.Image:
    """A coarse field of 0..255 as a mask at the size of the picture."""
    mask = Image.fromarray(np.clip(values, 0.0, 255.0).astype(np.uint8))
    return mask.resize(scene.ambient.size, Image.Resampling.BILINEAR)


@lru_cache(maxsize=2)
def _caustic_tile(seed: int) -> Array:
    """A net of bright lines, tileable: the zero lines of a smooth field are the folds of light."""
    rng = generator(seed, 20)
    net = np.abs(fractal(rng, (256, 256), 7, 2, 0.35))
    return np.asarray(1.0 - np.minimum(net * 1.15, 1.0), np.float32)


@lru_cache(maxsize=2)
def _caustic_map(scene: Scene) -> tuple[Array, Array, Array]:
    """Tile positions in pixels of every surface point, and how much of a caustic shows there."""
    x, y, z = (scene.places[..., axis] for axis in range(3))
    u, v = 256.0 * (x - 0.34 * y) / 2.3, 256.0 * (z + 0.42 * y) / 2.3
    shown = 1.0 - smoothstep(5.0, 13.0, z)
    return u.astype(np.float32), v.astype(np.float32), shown


def _caustics(scene: Scene, seed: int, seconds: float) -> Array:
    """How the waves gather the sunlight: about 1 on average, up to 2 on the bright lines."""
    tile = _caustic_tile(seed)
    u, v, shown = _caustic_map(scene)
    nets = []
    for turn, speed in ((0, 9.0), (1, -7.0)):
        du, dv = speed * seconds % 256.0, (5.0 * seconds + 97.0 * turn) % 256.0
        net = tile.T if turn else tile
        nets.append(net[(v + dv).astype(np.int32) & 255, (u + du).astype(np.int32) & 255])
    gathered = (nets[0] * nets[1]) ** 1.5
    return np.asarray(1.0 + shown * (1.9 * gathered - 0.42), np.float32)


def _shafts(seed: int, seconds: float) -> Array:
    """Rays of sun slanting down from the surface, in 0..1, coarse."""
    width, height = 120, 68
    x = np.arange(width, dtype=np.float32)[None, :] / width - 0.36
    y = np.arange(height, dtype=np.float32)[:, None] / height + 0.55
    angle = np.arctan2(x, y)
    rays = np.zeros((height, width), np.float32)
    for k, (count, period) in enumerate(((23.0, 900.0), (41.0, 500.0), (67.0, 260.0))):
        rays += np.sin(count * angle + 6.0 * wander(seed + 30 + k, seconds, period)) / (k + 1.5)
    reach = 1.0 - smoothstep(0.62, 1.25, y)
    return np.asarray(0.20 * smoothstep(0.15, 1.5, rays) * reach)


def snow(picture: Image.Image, light: Light, seed: int, seconds: float) -> None:
    """Particles drifting past, the near ones out of focus. Drawn onto `picture`."""
    width, height = picture.size
    start, pace, near, shine = _flakes(seed)
    sinking = np.array([0.05 * wander(seed + 41, seconds, 600.0), 0.006])
    places = (start + seconds % 1e6 * (pace + sinking * (0.4 + near[:, None]))) % 1.0
    radii = np.maximum(1, np.rint((0.7 + 11.0 * near) * width / 960.0)).astype(int)
    strength = np.where(radii < 4, 15.0, 4.0 + 3.0 * light.lamp) * (0.35 + 0.65 * shine)
    columns, rows = places[:, 0] * (width + 40) - 20, places[:, 1] * (height + 40) - 20
    for x, y, radius, bright in zip(columns, rows, radii, strength, strict=True):
        flake = _flake(int(radius), round(float(bright)))
        corner = (int(x) - flake.width // 2, int(y) - flake.height // 2)
        picture.paste((206, 226, 214), corner, flake)


@lru_cache(maxsize=2)
def _flakes(seed: int) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Of each flake: where it starts, its own drift, how near it is, how bright (all 0..1)."""
    rng = generator(seed, 40)
    start, pace = rng.random((FLAKES, 2)), rng.normal(0.0, 0.010, (FLAKES, 2))
    return start, pace, rng.random(FLAKES) ** 9, rng.random(FLAKES)


@lru_cache(maxsize=600)
def _flake(radius: int, strength: int) -> Image.Image:
    """A soft disc, larger ones with the brighter rim of a lens out of focus. L."""
    axis = np.arange(-radius - 2, radius + 3, dtype=np.float32)
    distance = np.hypot(axis[:, None], axis[None, :]) / radius
    disc = 1.0 - smoothstep(0.55 if radius < 5 else 0.86, 1.12, distance)
    rim = 0.5 + 0.5 * distance if radius >= 5 else 1.0
    return Image.fromarray(np.asarray(disc * rim * strength * 255.0 / 24.0).astype(np.uint8))
