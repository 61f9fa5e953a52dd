"""The fixed scene: sea floor, a rocky outcrop, and the observatory's overgrown frame.

It is rendered once, in parts that the moving light recombines for each frame.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from PIL import Image, ImageFilter

from lenswatch.demo.noise import Array, Random, fractal, generator, pixels, sample, smoothstep
from lenswatch.demo.solids import Projection, Solid, Vector, growth, nearest, see

__all__ = ["ATTENUATION", "FLOOR", "LAMP", "Scene", "render"]

FLOOR = -1.35  # height in metres, from the camera
ATTENUATION = np.array([0.215, 0.088, 0.084], np.float32)  # per metre of water: red, green, blue
EAST, UP, SUN = np.array([[1, 0, 0], [0, 1, 0], [-0.52, 0.66, -0.54]], np.float32)
SKYLIGHT, SUNLIGHT = np.array([[0.30, 0.45, 0.46], [0.96, 0.94, 0.84]], np.float32)
LAMP, GLOW = np.array([[1.0, 0.97, 0.88], [0.006, 0.022, 0.024]], np.float32)
FINE = 2  # oversampling along each side
STEEL, HOUSING, YELLOW = (0.40, 0.41, 0.38), (0.74, 0.73, 0.66), (0.90, 0.60, 0.08)
BLACK, ROCK = (0.06, 0.07, 0.08), (0.38, 0.35, 0.29)
SAND, DETRITUS = np.array([[0.62, 0.56, 0.43], [0.29, 0.28, 0.18]], np.float32)
OLIVE, BROWN = np.array([[0.27, 0.27, 0.13], [0.40, 0.31, 0.16]], np.float32)
PINK, ORANGE = np.array([[0.50, 0.29, 0.28], [0.74, 0.38, 0.12]], np.float32)


@dataclass(frozen=True, eq=False)
class Scene:
    """The fixed layers, at the size of the picture."""

    camera: Projection
    ambient: Image.Image  # light from everywhere and the water's haze, RGB
    direct: Image.Image  # twice what full sunlight adds, RGB, to be multiplied by the caustics
    lamplit: Image.Image  # the scene at night in the camera's own lamps, RGB
    water: Array  # encoded colour of the open water for each row, (h, 3) in 0..1
    depth: Image.Image  # distance along the view in tenths of a metre, L
    places: Array  # positions of the surfaces, (h/2, w/2, 3) metres


@lru_cache(maxsize=2)
def render(width: int, height: int, seed: int) -> Scene:
    """Render the scene of a seed; kept, since every frame of a run needs it."""
    camera = Projection(width * FINE, height * FINE)
    solids = [*_observatory(np.array([1.35, FLOOR, 5.4]), 0.42), *_rocks(generator(seed, 1))]
    skin = fractal(generator(seed, 3), (96, 96, 96), 7, 2.3)
    rays, (depth, normal, number) = camera.rays(), see(camera, solids, skin)
    colour = _painted(number, rays * np.minimum(depth, 60.0)[..., None], solids, skin)
    _lay_floor(rays, depth, normal, colour, generator(seed, 2))
    places = rays * np.minimum(depth, 60.0)[..., None]
    distance = np.linalg.norm(places, axis=-1)
    clear, water = np.exp(-distance[..., None] * ATTENUATION), _open_water(camera)
    sky, sun = _daylight(places, normal, solids)
    ambient = colour * sky * SKYLIGHT * clear + water * (1.0 - clear)
    sunlit = ambient + colour * sun * SUNLIGHT * clear
    lamplit = _lamplight(places, distance, normal, colour * clear**2 * LAMP)
    ambient, sunlit, lamplit = (_encoded(each, distance) for each in (ambient, sunlit, lamplit))
    layers = pixels(ambient), pixels(2.0 * (sunlit - ambient)), pixels(lamplit)
    rows, tenths = np.sqrt(water[::FINE].mean(1)), pixels(places[::FINE, ::FINE, 2] / 25.5)
    return Scene(Projection(width, height), *layers, rows, tenths, places[:: 2 * FINE, :: 2 * FINE])


def _observatory(at: Vector, yaw: float) -> Iterator[Solid]:
    """Yield a frame with a junction box, a float, a mast with instruments, and the cable."""
    corners = np.array([[-1, 0, -0.75], [1, 0, -0.75], [1, 0, 0.75], [-1, 0, 0.75]])
    feet, tops, parts = corners + 0.05 * UP, 0.55 * corners + 1.18 * UP, []
    for i in range(4):
        foot, top, last = feet[i], tops[i], (feet[i - 1] + tops[i - 1]) / 2
        parts += [(foot, top, 0.042, STEEL), (foot - 0.05 * UP, foot - 0.06 * UP, 0.11, STEEL)]
        parts += [(foot, feet[i - 1], 0.036, STEEL), (top, tops[i - 1], 0.036, STEEL)]
        parts += [((foot + top) / 2, last, 0.026, STEEL)] if i % 2 else []
    box, long, ball = np.array([[-0.72, 0.46, -0.12], [1.08, 0, 0], [0.34, 0.83, 0.05]])
    bands = ((0, 1, 0.165, HOUSING), (0.42, 0.58, 0.167, YELLOW), (0.16, 0.17, 0.172, BLACK))
    for low, high, radius, colour in (*bands, (-0.01, 0, 0.178, BLACK), (1, 1.01, 0.178, BLACK)):
        parts += [(box + low * long, box + high * long, radius, colour)]
    mast, arm, s = tops[1], tops[1] + (-0.36 * EAST + 0.64 * UP), np.linspace(0, 1, 22)
    parts += [(ball, ball + 0.01 * UP, 0.205, YELLOW), (mast, mast + 0.8 * UP, 0.02, STEEL)]
    parts += [(mast + 0.8 * UP, mast + 0.87 * UP, 0.05, BLACK)]
    parts += [(arm + 0.36 * EAST, arm, 0.013, STEEL), (arm, arm - 0.24 * UP, 0.04, HOUSING)]
    cable = np.stack([-0.9 - 4.4 * s, 0.015 * np.sin(9 * s), 0.22 * np.sin(5.5 * s) - 2.4 * s], 1)
    parts += [(a, b, 0.026, STEEL) for a, b in pairwise(cable)]
    turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    for a, b, radius, colour in parts:
        lumps, cover = (0.007, 0.75) if colour == STEEL else (0.003, 0.32)
        yield Solid(at + a @ turn, at + b @ turn, radius, colour, lumps, 1.0, cover)


def _rocks(rng: Random) -> Iterator[Solid]:
    """Yield a ledge in the haze, boulders, and cobbles on the sand."""
    cobbles = rng.uniform((-0.7, 2.9, 0.12, 0.01, 2), (0.7, 9.0, 0.12, 0.05, 3), (34, 5))
    cobbles[:, 0] *= cobbles[:, 1]
    ledges = ((-2.9, 7.6, 0.75, 0.48, 13), (-4.6, 9.6, 1.1, 0.62, 10), (3.9, 10.5, 0.9, 0.42, 8))
    heaps = ((0.1, 11.5, 1.2, 0.25, 6), (-1.55, 3.35, 0.16, 0.1, 6), (1.62, 3.15, 0.14, 0.09, 5))
    for x, z, spread, size, count in (*ledges, *heaps, *cobbles):
        for radius in size * rng.uniform(0.55, 1.2, int(count)):
            start = rng.normal((x, FLOOR, z), (spread, 0.25 * radius, 0.6 * spread))
            end = start + radius * rng.uniform(-0.9, 0.9, 3) * (1.0, 0.25, 0.6)
            yield Solid(start, end, radius, ROCK, 0.14 * radius, 1.0 + 7.0 * radius, 0.9)


def _painted(number: Array, places: Array, solids: list[Solid], skin: Array) -> Array:
    """Return the solids' own paint under patches of turf, brown algae and crusts."""
    hit, colour = number >= 0.0, np.zeros_like(places)
    paints = np.array([(*solid.colour, solid.cover) for solid in solids], np.float32)
    bare, cover = np.split(paints[number[hit].astype(int)], [3], 1)
    fine, coarse, kind = (growth(skin, places[hit], scale)[:, None] for scale in (0.7, 3.0, 7.0))
    turf = OLIVE + (BROWN - OLIVE) * smoothstep(-0.4, 0.6, kind)
    turf += (PINK - turf) * smoothstep(0.6, 1.5, coarse - kind)
    turf += (ORANGE - turf) * smoothstep(1.3, 1.7, coarse + 0.3 * fine + 0.3 * kind)
    grown = smoothstep(-0.5, 0.5, coarse + 0.5 * fine + 3.2 * (cover - 0.5))
    colour[hit] = (bare + (turf - bare) * grown) * np.clip(1.0 + 0.25 * fine, 0.3, 1.7)
    return colour


def _lay_floor(rays: Array, depth: Array, normal: Array, colour: Array, rng: Random) -> None:
    """Lay rippled sand with patches of detritus and shells below the solids."""
    looks = ((4, 2.4), (5, 1.7), (24, 1.0))
    warp, patch, grain = (fractal(rng, (512, 512), cells, slope) for cells, slope in looks)
    first = int(0.41 * len(rays)) + 2
    x, y = rays[first:, :, 0], rays[first:, :, 1]
    z = FLOOR / y
    z += 0.05 * np.exp(-z / 12.0) * sample(warp, x * z / 13.0, z / 13.0) / y
    x = x * z
    bend = sample(warp, x / 6.0, z / 6.0) + 0.6 * sample(patch, x / 2.1, z / 2.1)
    phase = 2.0 * np.pi * (0.5 * x + 4.2 * z) + 2.6 * bend
    fade = np.exp(-z / 5.0) * smoothstep(-0.9, 1.3, sample(patch, x / 8.0 + 0.4, z / 8.0))
    speck, lumps = (
        sample(grain, x / 1.4, z / 1.4) * np.exp(-z / 6.0),
        sample(patch, x / 3.1, z / 3.1),
    )
    slope = 0.08 * lumps - 0.33 * fade * (np.cos(phase) + 0.5 * np.cos(2.0 * phase + 0.9))
    tilt = np.stack([0.10 * speck + 0.05 * lumps, np.ones_like(x), slope], -1)
    dirt = smoothstep(0.2, 1.7, sample(patch, x / 7.0, z / 7.0 + 0.5) + 0.25 * speck)[..., None]
    shells = 0.5 * smoothstep(2.9, 3.3, sample(grain, x / 0.9 + 0.3, z / 0.9))
    tone = 1.0 + 0.10 * speck + 0.09 * lumps + 0.10 * fade * np.sin(phase) + shells
    sand = (SAND + (DETRITUS - SAND) * dirt) * tone[..., None]
    ground = (z < depth[first:]) & (z < 60.0)
    depth[first:][ground], colour[first:][ground] = z[ground], sand[ground]
    normal[first:][ground] = (tilt / np.linalg.norm(tilt, axis=-1, keepdims=True))[ground]


def _daylight(places: Array, normal: Array, solids: list[Solid]) -> tuple[Array, Array]:
    """Return how much skylight and sunlight each pixel reflects, (h, w, 1)."""
    coarse = np.ascontiguousarray(places[3 * FINE :: 6 * FINE, 3 * FINE :: 6 * FINE])
    large = [solid for solid in solids if solid.growth and solid.radius > 0.025]

    def openness(way: Array, width: float) -> Array:
        clear = np.ones(coarse.size // 3, np.float32)
        for far in (0.07 * 1.6 ** np.arange(7)).astype(np.float32):
            distance = nearest(large, coarse.reshape(-1, 3) + far * way)
            clear = np.minimum(clear, np.clip(distance / (width * far) + 0.15, 0.0, 1.0))
        shade = Image.fromarray(clear.reshape(coarse.shape[:2]))
        size = (places.shape[1], places.shape[0])
        return np.asarray(shade.resize(size, Image.Resampling.BILINEAR))[..., None]

    roof, facing = openness(UP, 0.9), np.maximum(normal @ SUN, 0.0)[..., None]
    sky = (0.72 + 0.28 * normal[..., 1:2]) * (0.35 + 0.65 * roof)
    return sky, facing * openness(SUN, 0.25) * (0.4 + 0.6 * roof)


def _lamplight(places: Array, distance: Array, normal: Array, colour: Array) -> Array:
    """Return the scene in the light of the camera's lamps, with what the water scatters back."""
    x = np.linspace(-0.56, 0.44, distance.shape[1], dtype=np.float32)
    y = np.linspace(-0.62, 0.38, distance.shape[0], dtype=np.float32)[:, None]
    beam = np.exp(-5.0 * x * x - 4.5 * y * y)
    toward = -np.einsum("ijk,ijk->ij", normal, places) / distance
    lit = 2.9 * np.sqrt(np.maximum(toward, 0.0)) * beam / (1.0 + (distance / 3.6) ** 3)
    haze = beam * (1.0 - np.exp(-0.25 * distance))
    return np.asarray(colour * lit[..., None] + haze[..., None] * GLOW + np.float32(0.003))


def _open_water(camera: Projection) -> Array:
    """Return endless water: light from above, dark below, brightest towards the sun."""
    x, y = (np.linspace(0.0, 1.0, n, dtype=np.float32) for n in camera)
    glow = np.exp(-(((x - 0.36) / 0.46) ** 2) - ((y[:, None] + 0.12) / 0.42) ** 2)[..., None]
    high, low, sun = np.array([[0.045, 0.34, 0.42], [0.012, 0.135, 0.19], [0.17, 0.36, 0.32]])
    water = high + (low - high) * smoothstep(-0.35, 0.62, y)[:, None, None] + sun * glow
    return np.asarray(water, np.float32)


def _encoded(linear: Array, distance: Array) -> Array:
    """Return linear light as the camera's values, darker at the edges and softer with distance."""
    y, x = (np.linspace(-1.0, 1.0, n, dtype=np.float32) for n in distance.shape)
    vignette = 1.0 - 0.13 * (x * x + y[:, None] ** 2)
    sharp = pixels(np.sqrt(np.clip(linear, 0.0, 1.0)) * vignette[..., None]).reduce(FINE)
    far = pixels(smoothstep(3.0, 12.0, distance)).reduce(FINE)
    soft = sharp.filter(ImageFilter.GaussianBlur(len(x) / 960.0))
    return np.asarray(Image.composite(soft, sharp, far), np.float32) / np.float32(255.0)
