"""Life in the scene: fish that pass by or stay, and seagrass that sways with the swell."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from lenswatch.demo.noise import Array, fractal, generator, pixels, smoothstep, wander
from lenswatch.demo.reef import FLOOR, Scene
from lenswatch.demo.solids import Point, Vector
from lenswatch.demo.water import Light, Sprite, veil

__all__ = ["meadow", "swimmers"]

LENGTH = 480  # pixels from nose to tail tip in the largest drawing
STATIONS = (0.0, 0.02, 0.05, 0.12, 0.25, 0.40, 0.55, 0.70, 0.80, 0.86, 0.87)
PROFILE = (0.10, 0.27, 0.41, 0.64, 0.93, 1.0, 0.80, 0.40, 0.18, 0.16, 0.0)
"""Height of every body at `STATIONS`, places from nose 0 to tail tip 1."""
FINS = ((1.5, 0.26, 0.76, 0.35), (-1.35, 0.54, 0.77, 0.25), (-1.2, 0.31, 0.42, 0.9))
"""Height (below if negative), start, end and shape of the fins along the body."""
SILVERY = ((0.24, 0.27, 0.25), (0.50, 0.53, 0.50), (0.66, 0.68, 0.65), (0.60, 0.46, 0.14))
SOOTY = ((0.09, 0.08, 0.07), (0.15, 0.12, 0.10), (0.20, 0.17, 0.14), (0.06, 0.05, 0.05))
SPECIES: dict[str, tuple[float, float, tuple[float, ...], int, tuple[Point, ...]]] = {
    "bream": (0.30, 0.19, (0.235, 0.735), 0, SILVERY),
    "salema": (0.32, 0.135, (), 9, SILVERY),
    "damselfish": (0.12, 0.17, (), 8, SOOTY),
}
"""Length in metres, height of the back as a part of it, places of dark bands, number of stripes
along the body, and the colours of back, flank, belly and stripes."""
TRAFFIC = (
    ("damselfish", 1800.0, 1.0, (9, 16), 0.75, False, (-3.2, 1.2, 7.0), (-2.4, 1.8, 7.8)),
    ("damselfish", 1500.0, 1.0, (3, 8), 0.7, False, (1.4, 1.6, 5.1), (1.7, 1.9, 5.4)),
    ("bream", 1200.0, 0.9, (1, 4), 1.1, False, (0.8, 0.5, 4.4), (1.4, 1.0, 4.8)),
    ("bream", 45.0, 0.7, (1, 3), 0.5, True, (0.0, 0.5, 2.6), (0.0, 1.9, 4.6)),
    ("bream", 75.0, 0.7, (1, 4), 0.6, True, (0.0, 0.3, 3.5), (0.0, 2.2, 8.0)),
    ("salema", 80.0, 0.42, (8, 18), 0.9, True, (0.0, 0.6, 4.2), (0.0, 2.4, 8.5)),
)
"""Groups that come by: seconds of a slot of time, chance of a group in it, number of fish, metres
that each roams, crossing the view or not, and the corners of a box around the group's middle."""
FAR = ((-4.1, 7.2, 0.55, 0.50), (-1.5, 8.1, 0.45, 0.36), (4.0, 7.0, 0.60, 0.46))
NEAR = ((3.1, 4.9, 0.34, 0.45), (-2.5, 4.5, 0.55, 0.60), (-1.68, 3.6, 0.26, 0.52))
NEXT = ((-2.2, 3.1, 0.42, 0.76), (1.98, 3.0, 0.24, 0.40))
"""Place, distance, spread and height of each tuft in metres."""
FOOT, SHARP = 0.84, 3  # place of the roots, as a part of a drawing's height; oversampling
FRESH, WORN = np.array([[62.0, 84.0, 36.0], [118.0, 98.0, 62.0]])


def swimmers(scene: Scene, light: Light, seed: int, seconds: float) -> Iterator[Sprite]:
    """Yield the fish in view at a time, each circling around the path of its group."""
    aspect = scene.camera.width / scene.camera.focal / 2.0
    for lane, (species, slot, chance, group, reach, crossing, low, high) in enumerate(TRAFFIC):
        number, into = divmod(seconds + 37.0 * lane, slot)
        rng = generator(seed, 60 + lane, int(number))
        if rng.random() > chance:
            continue
        home, room = rng.uniform(low, high), reach * np.array([1.0, 0.43, 0.67])
        width = (2.0 * aspect * home[2] + 3.0) * rng.choice([-1.0, 1.0])
        way = crossing * np.array([width, 0.0, rng.normal(0.0, 0.9)])
        for _ in range(int(rng.integers(*group, endpoint=True))):
            pace = rng.uniform(0.7, 1.3, 3) * (0.11, 0.07, 0.09)
            angle = pace * into + rng.uniform(0.0, 2.0 * np.pi, 3)
            middle = home + rng.normal(0.0, 0.55, 3) * room + way * (into / slot - 0.5)
            place = middle + room * np.sin(angle)
            place[1] = FLOOR + max(float(place[1]), 0.08)
            course = way / slot + room * pace * np.cos(angle) * (1.0, 0.5, 0.7)
            metres = SPECIES[species][0] * float(rng.uniform(0.72, 1.15))
            if place[2] > max(1.6, (abs(place[0]) - metres) / aspect):
                yield _seen(species, metres, place, course, scene, light.lamp)


def _seen(
    name: str, metres: float, place: Vector, course: Vector, scene: Scene, lamp: float
) -> Sprite:
    """Return a fish at a place, behind what is nearer in the scene."""
    x, y, z = place.tolist()
    column, row = scene.camera.project(x, y, z)
    look, length = (
        (round(4.0 * z), round(10.0 * row / scene.camera.height)),
        metres * scene.camera.focal / z,
    )
    kept = next((size for size in (15, 30, 60, 120, 240) if size >= length), LENGTH)
    fish = _posed(_veiled(name, kept, scene, round(lamp, 1), *look), course, length)
    left, top = round(column - fish.width / 2), round(row - fish.height / 2)
    view = scene.depth.crop((left, top, left + fish.width, top + fish.height))
    view = view.point([255 if depth > 10.0 * z else 0 for depth in range(256)])
    return z, fish, (left, top), ImageChops.multiply(fish.getchannel("A"), view)


def _posed(drawing: Image.Image, course: Vector, length: float) -> Image.Image:
    """Return the fish foreshortened and turned the way it swims."""
    dx, dy, dz = course.tolist()
    yaw = float(np.clip(np.arctan2(dz, abs(dx) + 1e-6), -1.05, 1.05))
    pitch = float(np.clip(np.degrees(np.arctan2(dy, np.hypot(dx, dz) + 1e-6)), -22.0, 22.0))
    size = (max(2, round(length * np.cos(yaw))), max(2, round(length / 2.0)))
    posed = drawing.resize(size, Image.Resampling.BILINEAR)
    if dx > 0:
        posed = posed.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return posed.rotate(pitch if dx > 0 else -pitch, Image.Resampling.BILINEAR, expand=True)


@lru_cache(maxsize=1024)
def _veiled(name: str, length: int, scene: Scene, lamp: float, *place: int) -> Image.Image:
    """Return a fish through water; `place`: quarters of a metre, tenths of the picture's height."""
    picture = _sized(name, length).filter(ImageFilter.GaussianBlur(0.35 + 0.025 * place[0]))
    return picture.point(veil(scene, lamp, place[0] / 4.0, place[1] / 10.0))


@lru_cache(maxsize=32)
def _sized(name: str, length: int) -> Image.Image:
    return _drawn(name).resize((length, length // 2), Image.Resampling.BOX)


@lru_cache(maxsize=8)
def _drawn(name: str) -> Image.Image:
    """Draw a species from the side, facing left, RGBA, half as high as it is long."""
    (_, top, _, _, palette), height = SPECIES[name], LENGTH // 2
    s = np.broadcast_to((np.arange(LENGTH, dtype=np.float32) + 0.5) / LENGTH, (height, LENGTH))
    rise = (height / 2.0 - 0.5 - np.arange(height, dtype=np.float32)[:, None]) / LENGTH
    shape = np.pad(np.interp(s[0], STATIONS, np.array(PROFILE)), 12, mode="edge")
    shape = top * np.convolve(shape, np.full(25, 0.04), "valid").astype(np.float32)
    q = (rise - 0.075 * shape) / np.maximum(0.925 * shape, 5e-4)
    body = np.clip((1.0 - np.abs(q)) * shape * LENGTH / 2.0, 0.0, 1.0) * (s < 0.87)
    eye = np.hypot(s - 0.095, rise - 0.22 * top) / 0.020
    iris = np.where(eye[..., None] < 0.62, 0.02, np.array([0.42, 0.40, 0.30]))
    skin, fin = _skin(name, s, q), np.multiply(palette[0], 1.2)
    rgb = np.where(body[..., None] > 0.5, skin, fin)
    rgb += (iris - rgb) * (1.0 - smoothstep(0.85, 1.1, eye))[..., None]
    alpha = np.maximum(body, _fins(top, s, rise, shape))[..., None]
    return pixels(np.concatenate([rgb, alpha], -1)).filter(ImageFilter.GaussianBlur(1.0))


def _fins(back: float, s: Array, rise: Array, shape: Array) -> Array:
    """Return how solid the fins are, 0..1: a ridge above, two below, and a forked tail."""
    side = np.zeros(s.shape, bool)
    for height, start, end, peak in FINS:
        edge = rise - shape if height > 0.0 else -rise - 0.85 * shape
        part = np.clip((s - start) / (end - start), 0.0, 1.0)
        top = abs(height) * (0.02 + 0.2 * back) * part**peak * (1.0 - part) ** 0.45
        side |= (edge > -0.02) & (edge < top - 0.001)
    along, across = np.clip((s - 0.82) / 0.18, 0.0, 1.0), np.abs(rise) / (0.05 + 0.6 * back)
    tail = (across < 0.16 + 0.84 * along**0.8) & (along < 0.4 + 0.6 * across)
    rays = 0.82 + 0.18 * np.sin(np.where(s > 0.84, 95.0 * np.arctan2(rise, s - 0.66), 260.0 * s))
    return np.asarray(np.where(s > 0.82, 0.9 * tail, 0.8 * side) * rays * (1.0 - 0.4 * along**3))


def _skin(name: str, s: Array, q: Array) -> Array:
    """Return the colours of a rounded flank lit from above, with markings."""
    _, _, bands, lines, palette = SPECIES[name]
    top, flank, under, line = np.array(palette, np.float32)
    rgb = flank + (top - flank) * smoothstep(0.05, 0.9, q)[..., None]
    rgb += (under - flank) * smoothstep(0.0, 0.9, -q)[..., None]
    stripe = smoothstep(0.1, 0.9, np.cos(np.pi * lines * (q + 0.04 * np.sin(9.0 * s))))
    rgb += (line - rgb) * (0.7 * (lines > 0) * stripe * smoothstep(0.1, 0.25, s))[..., None]
    for centre in bands:
        rgb *= 1.0 - 0.85 * np.exp(-(((s - centre - 0.02 * q * q) / 0.032) ** 4))[..., None]
    bulge = np.sqrt(np.maximum(1.0 - q * q, 0.0))
    mottle = fractal(generator(3), s.shape, 10, 1.6)
    gill = np.exp(-(((s - 0.2 - 0.035 * (1.0 - q * q)) / 0.007) ** 2)) * (np.abs(q) < 0.75)
    value = (0.58 + 0.30 * bulge + 0.24 * q * bulge) * (1.0 + 0.08 * mottle) * (1.0 - 0.3 * gill)
    shine = 0.10 * np.exp(-(((q - 0.45) / 0.2) ** 2)) * (1.0 + mottle) * smoothstep(0.05, 0.3, s)
    return np.asarray(rgb * value[..., None] + shine[..., None], np.float32)


def meadow(scene: Scene, light: Light, seed: int, now: float) -> Iterator[Sprite]:
    """Yield every tuft, bent by the swell of the moment."""
    for x, distance, *shape in (*FAR, *NEAR, *NEXT):
        column, row = scene.camera.project(x, FLOOR, distance)
        lean = 0.12 * np.sin(0.86 * now + 0.8 * x) + 0.16 * wander(seed + 50, now, 900.0)
        bent = _swayed(_tuft(scene, seed, round(4.0 * light.lamp) / 4.0, distance, *shape), lean)
        corner = (round(column - bent.width / 2), round(row - FOOT * bent.height))
        yield distance, bent, corner, bent.getchannel("A")


@lru_cache(maxsize=128)
def _tuft(scene: Scene, seed: int, lamp: float, *tuft: float) -> Image.Image:
    """Draw a tuft standing straight, as the water shows it, RGBA."""
    distance, spread, tall = tuft
    scale = scene.camera.focal / distance
    width, height = round((2.1 * spread + 1.2 * tall) * scale), round(1.32 * tall * scale)
    picture = Image.new("RGBA", (width * SHARP, height * SHARP), (40, 46, 22, 0))
    draw, part = ImageDraw.Draw(picture), np.linspace(0.0, 1.0, 10)
    rng = generator(seed, 80, int(99 * distance))
    for _ in range(int(200 * spread)):
        root, sunk, lean, curl, size = rng.normal((0, 0, 0, 0, 0.8), (0.42, 0.012, 0.2, 0.34, 0.18))
        rise, age = np.clip(size, 0.3, 1.1) * tall, rng.random() ** 2 * part[:, None] ** 1.5
        x = 0.5 * width + scale * (root * spread + rise * (lean * part + curl * part**2.4))
        y = (FOOT + sunk) * height - scale * rise * part * (1.0 - 0.28 * abs(curl) * part)
        wide = max(0.011 * scale * rng.uniform(0.6, 1.2), 1.0) * (1.0 - 0.6 * part**3)
        tone = rng.uniform(0.7, 1.2) * (0.32 + 0.68 * part[:, None] ** 0.7)
        colours = ((FRESH * (1.0 - age) + WORN * age) * tone).astype(int).tolist()
        for k, line in enumerate(pairwise(np.stack([x, y], 1) * SHARP)):
            draw.line(np.ravel(line).tolist(), (*colours[k], 255), round(wide[k] * SHARP))
    near = max(0.0, 4.2 - distance) * scene.camera.width / 1200.0
    small = picture.resize((width, height), Image.Resampling.BOX)
    return small.filter(ImageFilter.GaussianBlur(near)).point(veil(scene, lamp, distance, 0.6))


def _swayed(drawing: Image.Image, lean: float) -> Image.Image:
    """Return the drawing sheared more and more towards its top, by parts of its height."""
    width, height = drawing.size
    rows, mesh = np.linspace(0.0, height, 8).round(), []
    shift = -height * lean * np.maximum(0.0, FOOT - rows / height) ** 1.7
    for (top, a), (low, b) in pairwise(zip(rows.tolist(), shift.tolist(), strict=True)):
        corners = (a, top, b, low, width + b, low, width + a, top)
        mesh.append(((0, int(top), width, int(low)), corners))
    return drawing.transform(drawing.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)
