"""The fixed scene: sea bed, structure and water as the camera sees them on a clear noon.

It is rendered once, in two parts that the moving light recombines for each frame: `ambient`
(diffuse light and the haze of the water) and `direct` (what the sun's rays add).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from lenswatch.demo.noise import Array, fractal, generator, sample, smoothstep, turbulence3
from lenswatch.demo.solids import SEABED, Camera, Point, Solids
from lenswatch.demo.structure import Bar, build

__all__ = ["ATTENUATION", "Scene", "render"]

ATTENUATION = np.array([0.205, 0.080, 0.072], np.float32)
"""Absorption and scattering per metre of water, red, green, blue."""
SUN = np.array([-0.52, 0.66, -0.54], np.float32)
OVERHEAD = np.array([0.0, 1.0, 0.0], np.float32)
SUNLIGHT = np.array([1.85, 1.75, 1.58], np.float32)
SKYLIGHT = np.array([0.24, 0.40, 0.44], np.float32)
LAMP = np.array([1.0, 0.97, 0.88], np.float32)
OVERSAMPLING = 2
GAMMA = 0.5
VIGNETTE = 0.11
"""Darkening at the edges; twice this in the corners."""


@dataclass(frozen=True, eq=False)
class Scene:
    """The static layers, at the size of the picture."""

    camera: Camera
    ambient: Image.Image
    """Light from everywhere and the water's haze, RGB."""
    direct: Image.Image
    """What full sunlight adds, RGB; multiplied by the caustics."""
    lamplit: Image.Image
    """The scene at night in the camera's own lamp, RGB."""
    water: Array
    """The open water's colour, (h, w, 3) float32 in 0..1."""
    depth: Image.Image
    """Distance along the view in tenths of a metre, L."""
    places: Array
    """Where the surfaces are, (h/2, w/2, 3) float32 metres, for light that falls on them."""


@lru_cache(maxsize=2)
def render(width: int, height: int, seed: int) -> Scene:
    """The scene of a seed. Kept, since every frame of a run needs it."""
    fine = Camera(width * OVERSAMPLING, height * OVERSAMPLING)
    solids, bars = build(fine, seed)
    shade = _seabed(solids, bars, seed)
    _roughen(solids, seed)
    distance = np.minimum(solids.depth, 60.0) * _length(solids.rays)
    clear = np.exp(-distance[..., None] * ATTENUATION)
    water = _water(fine)
    sky, sun = _daylight(solids, shade)
    ambient = sky * clear + water * (1.0 - clear)
    lamplit = _lamplight(solids, distance)
    camera = Camera(width, height)
    return Scene(
        camera=camera,
        ambient=_picture(ambient, camera),
        direct=_difference(ambient, ambient + sun * clear, camera),
        lamplit=_picture(lamplit, camera),
        water=_reduced(np.sqrt(water)),
        depth=_depth_map(solids.depth),
        places=_places(solids),
    )


def _seabed(solids: Solids, bars: list[Bar], seed: int) -> Array:
    """Lay the sand below the solids; returns the shadows on it, (h, w) in 0..1."""
    rng = generator(seed, 2)
    rays, camera = solids.rays, solids.camera
    first = int(camera.centre[1]) + 2
    below = rays[first:]
    z = SEABED / below[..., 1]
    x = below[..., 0] * z
    coarse = (slice(None, None, OVERSAMPLING),) * 2
    swell = sample(fractal(rng, (128, 128), 3, 3), x[coarse] / 9.0, z[coarse] / 9.0)
    z = (SEABED + 0.05 * _repeated(swell, x)) / below[..., 1]
    x = below[..., 0] * z
    colour, normal = (_repeated(part, x) for part in _sand(rng, x[coarse], z[coarse]))
    shade = np.zeros(solids.depth.shape, np.float32)
    shade[first:] = _shadows(bars, x, z)
    open_ground = (z < solids.depth[first:]) & (z < 60.0)
    solids.depth[first:][open_ground] = z[open_ground]
    solids.colour[first:][open_ground] = colour[open_ground]
    solids.normal[first:][open_ground] = normal[open_ground]
    shade[~np.isfinite(solids.depth)] = 0.0
    shade[first:][~open_ground] = 0.0
    return shade


def _sand(rng: np.random.Generator, x: Array, z: Array) -> tuple[Array, Array]:
    """Colour and normal of rippled sand at (x, z)."""
    warp, patch = fractal(rng, (256, 256), 4, 4), fractal(rng, (512, 512), 5, 5, 0.5)
    grain = fractal(rng, (256, 256), 32, 4, 0.8)
    bend = sample(warp, x / 5.0, z / 5.0)
    phase = 2.0 * np.pi * (0.35 * x + 4.6 * z) + 2.3 * bend + 1.1 * sample(warp, x / 1.7, z / 1.7)
    crest = np.sin(phase) + 0.28 * np.sin(2.0 * phase + 0.9)
    slope = np.cos(phase) + 0.56 * np.cos(2.0 * phase + 0.9)
    fade = 1.0 - smoothstep(5.5, 12.0, z)
    rough = fade * (0.55 + 0.45 * np.tanh(sample(patch, x / 7.0 + 0.4, z / 7.0)))
    speck = sample(grain, x / 1.1, z / 1.1) * (1.0 - smoothstep(4.0, 9.0, z))
    normal = np.stack(
        [0.05 * speck - 0.03 * rough * slope, np.ones_like(x), -0.42 * rough * slope], -1
    )
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    tone = 1.0 + 0.10 * rough * crest + 0.055 * speck + 0.09 * sample(patch, x / 2.3, z / 2.3)
    film = smoothstep(0.1, 1.5, sample(patch, x / 6.0, z / 6.0 + 0.5))[..., None]
    sand = np.array([0.76, 0.67, 0.50], np.float32) * (1 - film) + film * np.array(
        [0.42, 0.43, 0.30], np.float32
    )
    return np.asarray(sand * tone[..., None], np.float32), np.asarray(normal, np.float32)


def _repeated(values: Array, like: Array) -> Array:
    """Coarse values for every oversampled pixel of `like`."""
    rows, columns = like.shape
    spread = values.repeat(OVERSAMPLING, 0).repeat(OVERSAMPLING, 1)
    return np.asarray(spread[:rows, :columns])


def _shadows(bars: list[Bar], x: Array, z: Array) -> Array:
    """How much of the sunlight the bars keep from the sand at (x, z); coarse, then smoothed."""
    step = 4
    px, pz = x[::step, ::step], z[::step, ::step]
    light = np.ones_like(px)
    for bar in bars:
        light *= 1.0 - 0.8 * _shadow(bar, SUN, 0.055, px, pz)
        light *= 1.0 - 0.45 * _shadow(bar, OVERHEAD, 0.35, px, pz)
    coarse = Image.fromarray(np.asarray(1.0 - light, np.float32))
    size = (x.shape[1], x.shape[0])
    return np.asarray(coarse.resize(size, Image.Resampling.BILINEAR))


def _shadow(bar: Bar, light: Array, blur: float, x: Array, z: Array) -> Array:
    """The shadow of a bar from a direction of light, softer by `blur` times the bar's height."""
    (ax, az, ah), (bx, bz, bh) = (_fallen(point, light) for point in (bar.start, bar.end))
    dx, dz = bx - ax, bz - az
    place = np.clip(((x - ax) * dx + (z - az) * dz) / max(dx * dx + dz * dz, 1e-6), 0.0, 1.0)
    distance = np.hypot(x - ax - place * dx, z - az - place * dz)
    height = ah + place * (bh - ah)
    soft = 0.02 + blur * height
    strength = np.minimum(1.0, 1.6 * bar.radius / (bar.radius + soft))
    return np.asarray(strength * (1.0 - smoothstep(-1.0, 1.0, (distance - bar.radius) / soft)))


def _fallen(point: Point, light: Array) -> Point:
    """Where the shadow of a point falls, and the point's height."""
    height = point[1] - SEABED
    return (
        point[0] - float(light[0] / light[1]) * height,
        point[2] - float(light[2] / light[1]) * height,
        max(height, 0.0),
    )


def _roughen(solids: Solids, seed: int) -> None:
    """Give the solids a grown-over skin: patchy colour and uneven normals."""
    tile = fractal(generator(seed, 3), (256, 256), 6, 6, 0.7)
    above = solids.rays[..., 1] * np.minimum(solids.depth, 60.0) > SEABED + 0.03
    bare = np.isfinite(solids.depth) & above & (solids.normal[..., 1] != 0.0)
    points = solids.rays[bare] * solids.depth[bare][:, None]
    coarse = turbulence3(tile, points, 0.9)
    fine = turbulence3(tile, points, 3.1)
    skin = smoothstep(0.0, 1.6, coarse + 0.5 * fine) * 0.62
    film = np.array([0.33, 0.31, 0.17], np.float32) * (1.0 + 0.25 * fine)[:, None]
    colour = solids.colour[bare] * (1.0 + 0.09 * fine)[:, None]
    solids.colour[bare] = colour * (1 - skin)[:, None] + film * skin[:, None]
    bump = np.stack([fine, turbulence3(tile, points + 0.37, 3.1), coarse], -1)
    normal = solids.normal[bare] + 0.16 * bump
    solids.normal[bare] = normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def _daylight(solids: Solids, shade: Array) -> tuple[Array, Array]:
    """Reflected skylight and sunlight of each pixel, linear."""
    normal, colour = solids.normal, solids.colour
    up = 0.5 + 0.5 * normal[..., 1]
    height = np.where(np.isfinite(solids.depth), solids.rays[..., 1] * solids.depth - SEABED, 9.0)
    contact = np.where(normal[..., 1] > 0.9, 1.0, 0.62 + 0.38 * smoothstep(0.0, 0.25, height))
    crevice = _crevices(solids.depth)
    sky = colour * ((0.30 + 0.70 * up) * contact * crevice * (1.0 - 0.45 * shade))[..., None]
    lit = np.maximum(normal @ SUN, 0.0) * (1.0 - shade) * crevice * np.minimum(contact + 0.2, 1.0)
    return sky * SKYLIGHT, colour * (0.62 * lit)[..., None] * SUNLIGHT


def _crevices(depth: Array) -> Array:
    """Ambient occlusion from the depth map: darker behind what stands before it."""
    capped = np.minimum(depth, 20.0)
    image = Image.fromarray(capped)
    small = image.resize((image.width // 8, image.height // 8), Image.Resampling.BOX)
    around = np.asarray(small.resize(image.size, Image.Resampling.BICUBIC))
    return np.asarray(1.0 - 0.42 * smoothstep(0.05, 0.8, capped - around))


def _lamplight(solids: Solids, distance: Array) -> Array:
    """The scene lit from the camera alone: near things bright, the water behind them black."""
    camera = solids.camera
    toward = solids.rays / _length(solids.rays)[..., None]
    facing = np.maximum(-np.einsum("ijk,ijk->ij", solids.normal, toward), 0.0)
    x = (np.arange(camera.width) / camera.width - 0.56)[None, :]
    y = (np.arange(camera.height) / camera.height - 0.62)[:, None]
    beam = np.exp(-(x * x * 5.0 + y * y * 4.5)).astype(np.float32)
    near = distance / 3.6
    falloff = 1.0 / (1.0 + near * near * near)
    reach = np.exp(-2.0 * distance[..., None] * ATTENUATION * 0.62)
    lit = solids.colour * (2.5 * np.sqrt(facing) * beam * falloff)[..., None] * reach * LAMP
    lit[~np.isfinite(solids.depth)] = 0.0
    glow = beam[..., None] * np.array([0.006, 0.020, 0.022], np.float32)
    return np.asarray(lit + glow + np.array([0.001, 0.004, 0.006], np.float32), np.float32)


def _water(camera: Camera) -> Array:
    """The colour of endless water: light from above, dark below, brightest towards the sun."""
    y = (np.arange(camera.height, dtype=np.float32) / camera.height)[:, None]
    x = (np.arange(camera.width, dtype=np.float32) / camera.width)[None, :]
    down = smoothstep(-0.25, 0.62, y)
    glow = np.exp(-(((x - 0.36) / 0.42) ** 2)) * np.exp(-(((y + 0.12) / 0.40) ** 2))
    high, low = (
        np.array([0.060, 0.42, 0.55], np.float32),
        np.array([0.010, 0.140, 0.225], np.float32),
    )
    colour = high * (1.0 - down)[..., None] + low * down[..., None]
    warm = np.array([0.22, 0.42, 0.36], np.float32)
    return np.asarray(colour + glow[..., None] * warm, np.float32)


def _length(vectors: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("ijk,ijk->ij", vectors, vectors)))


def _reduced(values: Array) -> Array:
    """Average the oversampled pixels."""
    steps = range(OVERSAMPLING)
    total = sum(values[i::OVERSAMPLING, j::OVERSAMPLING] for i in steps for j in steps)
    return np.asarray(total, np.float32) / np.float32(OVERSAMPLING**2)


def _encoded(linear: Array, camera: Camera) -> Array:
    """Linear light as the camera's pixel values, 0..255."""
    reduced = np.clip(_reduced(linear), 0.0, 1.0)
    x = np.linspace(-1.0, 1.0, camera.width, dtype=np.float32)[None, :, None]
    y = np.linspace(-1.0, 1.0, camera.height, dtype=np.float32)[:, None, None]
    return np.asarray(255.0 * reduced**GAMMA * (1.0 - VIGNETTE * (x * x + y * y)))


def _picture(linear: Array, camera: Camera) -> Image.Image:
    return Image.fromarray(np.rint(_encoded(linear, camera)).astype(np.uint8))


def _difference(ambient: Array, full: Array, camera: Camera) -> Image.Image:
    """What sunlight adds to the encoded picture."""
    added = _encoded(full, camera) - _encoded(ambient, camera)
    return Image.fromarray(np.rint(added).astype(np.uint8))


def _depth_map(depth: Array) -> Image.Image:
    tenths = np.minimum(depth[::OVERSAMPLING, ::OVERSAMPLING] * 10.0, 255.0)
    return Image.fromarray(tenths.astype(np.uint8))


def _places(solids: Solids) -> Array:
    step = 2 * OVERSAMPLING
    depth = np.minimum(solids.depth[::step, ::step], 40.0)
    return np.asarray(solids.rays[::step, ::step] * depth[..., None], np.float32)
