"""Fish passing by: who is where at a time, and how each is posed and drawn.

Each kind of traffic has its own slots of time. What happens in a slot is decided by a random
generator of that slot alone, so that the fish of any moment follow from the time and the seed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops

from lenswatch.demo.light import Light
from lenswatch.demo.noise import generator
from lenswatch.demo.portrait import portrait
from lenswatch.demo.scene import Scene
from lenswatch.demo.solids import SEABED, Point
from lenswatch.demo.species import SPECIES
from lenswatch.demo.water import veil

__all__ = ["Swimmer", "swimmers"]


@dataclass(frozen=True)
class _Traffic:
    """Groups of a species that come by: crossing the view, or staying around a place."""

    species: str
    slot: float
    """Seconds between two chances of a group."""
    chance: float
    group: tuple[int, int]
    distance: tuple[float, float]
    height: tuple[float, float]
    """Above the sea bed, metres."""
    home: Point | None = None


TRAFFIC = (
    _Traffic("damselfish", 1800.0, 1.0, (7, 12), (0.0, 0.0), (0.0, 0.0), (-2.7, 2.0, 8.0)),
    _Traffic("damselfish", 1500.0, 1.0, (3, 7), (0.0, 0.0), (0.0, 0.0), (1.5, 1.75, 5.3)),
    _Traffic("bream", 1200.0, 0.9, (1, 4), (0.0, 0.0), (0.0, 0.0), (1.0, 0.75, 4.6)),
    _Traffic("bream", 45.0, 0.7, (1, 3), (2.4, 4.6), (0.5, 1.9)),
    _Traffic("bream", 75.0, 0.7, (1, 4), (3.5, 8.0), (0.3, 2.2)),
    _Traffic("salema", 80.0, 0.42, (8, 18), (4.2, 8.5), (0.6, 2.4)),
    _Traffic("wrasse", 90.0, 0.6, (1, 2), (3.2, 5.5), (0.1, 0.5)),
    _Traffic("wrasse", 900.0, 0.8, (1, 2), (0.0, 0.0), (0.0, 0.0), (0.2, 0.25, 4.5)),
    _Traffic("amberjack", 70.0, 0.25, (1, 4), (3.6, 9.0), (1.3, 2.7)),
)


@dataclass(frozen=True)
class Swimmer:
    """One fish at one moment."""

    species: str
    place: Point
    speed: Point
    """Direction of travel; only its direction matters."""
    beat: float
    """Phase of the tail, radians."""
    size: float
    """Of this one against its species."""

    @property
    def distance(self) -> float:
        return self.place[2]

    def draw(self, picture: Image.Image, scene: Scene, light: Light) -> None:
        """Onto `picture`, behind what is nearer in the scene."""
        camera = scene.camera
        length = SPECIES[self.species].metres * self.size * camera.focal / self.distance
        if length < 3.0:
            return
        column, row = camera.project(self.place)
        if not -length < column < camera.width + length:
            return
        drawing = _veiled(
            self.species,
            _drawing_length(length),
            scene,
            round(light.lamp, 1),
            round(4.0 * self.distance),
            round(10.0 * row / camera.height),
        )
        seen = self._posed(drawing, length)
        left, top = round(column - seen.width / 2), round(row - seen.height / 2)
        box = (left, top, left + seen.width, top + seen.height)
        picture.paste(seen, box[:2], _unhidden(seen, scene, box, self.distance))

    def _posed(self, drawing: Image.Image, length: float) -> Image.Image:
        """The portrait bent by the tail's beat and turned towards the way it swims."""
        dx, dy, dz = self.speed
        yaw = float(np.clip(np.arctan2(dz, abs(dx) + 1e-6), -1.05, 1.05))
        posed = _bent(drawing, length, yaw, self.beat)
        if dx > 0:
            posed = posed.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pitch = float(np.degrees(np.arctan2(dy, np.hypot(dx, dz) + 1e-6)))
        pitch = float(np.clip(pitch, -22.0, 22.0)) * (1.0 if dx > 0 else -1.0)
        if abs(pitch) < 1.5:
            return posed
        return posed.rotate(pitch, Image.Resampling.BILINEAR, expand=True)


def swimmers(scene: Scene, seed: int, seconds: float) -> Iterator[Swimmer]:
    """Every fish near the view at a time."""
    aspect = scene.camera.width / scene.camera.focal / 2.0
    for lane, traffic in enumerate(TRAFFIC):
        offset = seconds + 37.0 * lane
        slot, into = int(offset // traffic.slot), offset % traffic.slot
        rng = generator(seed, 60 + lane, slot)
        if rng.random() > traffic.chance:
            continue
        members = int(rng.integers(traffic.group[0], traffic.group[1] + 1))
        if traffic.home:
            yield from _staying(traffic, traffic.home, rng, members, into)
        else:
            yield from _crossing(traffic, rng, members, into, aspect)


def _crossing(
    traffic: _Traffic, rng: np.random.Generator, members: int, into: float, aspect: float
) -> Iterator[Swimmer]:
    """A group on a gently winding way from one side to the other."""
    distance = float(rng.uniform(*traffic.distance))
    height = SEABED + float(rng.uniform(*traffic.height))
    side, slant = float(rng.choice([-1.0, 1.0])), float(rng.normal(0.0, 0.9))
    sway, length = rng.uniform(0.0, 2.0 * np.pi, 3), SPECIES[traffic.species].metres

    def way(part: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        reach = (aspect * distance + 1.2) * side
        z = distance + slant * (part - 0.5) + 0.25 * np.sin(5.0 * part + sway[0])
        y = height + 0.18 * np.sin(6.0 * part + sway[1])
        return np.array([reach * (2.0 * part - 1.0) + 0.2 * np.sin(8.0 * part + sway[2]), y, z])

    spread = np.array([1.5, 0.75, 1.1]) * length * members**0.45
    for _ in range(members):
        offset, size, beat = rng.normal(0.0, 1.0, 3) * spread, rng.uniform(0.75, 1.15), rng.random()
        part = into / traffic.slot + float(rng.normal(0.0, 0.01))
        here, ahead = way(part), way(part + 0.01)
        place = here + offset + 0.1 * length * np.sin(into / 3.0 + 9.0 * offset)
        place[1] = max(place[1], SEABED + 0.08)
        if place[2] > 1.6:
            yield _swimmer(traffic, place, ahead - here, into * 7.0 + 6.3 * beat, float(size))


def _staying(
    traffic: _Traffic, at: Point, rng: np.random.Generator, members: int, into: float
) -> Iterator[Swimmer]:
    """A group milling about its home, each on its own winding loop."""
    home = np.array([at[0], SEABED + at[1], at[2]])
    reach = np.array([0.75, 0.32, 0.5]) * (1.0 + 0.5 * (traffic.species == "bream"))
    for _ in range(members):
        centre, phase = rng.normal(0.0, 0.55, 3) * reach, rng.uniform(0.0, 2.0 * np.pi, 3)
        pace, size = rng.uniform(0.7, 1.3, 3) * (0.11, 0.07, 0.09), float(rng.uniform(0.7, 1.15))
        angle = pace * into + phase
        place = home + centre + reach * np.sin(angle)
        speed = reach * pace * np.cos(angle) * (1.0, 0.5, 0.7)
        place[1] = max(place[1], SEABED + 0.08)
        yield _swimmer(traffic, place, speed, into * 5.0 + float(phase[0]), size)


def _swimmer(
    traffic: _Traffic,
    place: np.ndarray[tuple[int], np.dtype[np.float64]],
    speed: np.ndarray[tuple[int], np.dtype[np.float64]],
    beat: float,
    size: float,
) -> Swimmer:
    x, y, z = (float(value) for value in place)
    vx, vy, vz = (float(value) for value in speed)
    return Swimmer(traffic.species, (x, y, z), (vx, vy, vz), beat, size)


def _drawing_length(length: float) -> int:
    """The smallest kept portrait that need not be enlarged."""
    return next((size for size in (15, 30, 60, 120, 240) if size >= length), 480)


def _bent(drawing: Image.Image, length: float, yaw: float, beat: float) -> Image.Image:
    """The fish from the side, foreshortened by its heading and by the wave along its body.

    Its body is cut into upright strips; each is as narrow as its heading makes it, and as high
    as its distance makes it.
    """
    strips = 10 if length > 40 else 4
    along = (np.arange(strips) + 0.5) / strips
    heading = yaw + (0.06 + 0.55 * along**2) * np.sin(beat - 3.2 * along)
    edges = np.concatenate([[0.0], np.cumsum(np.cos(heading))]) / strips
    away = -np.cumsum(np.sin(heading)) / strips + 0.5 * np.sin(yaw)
    height = max(2, round(length * 0.5))
    columns = np.rint((edges - edges.min()) * length).astype(int)
    mesh = []
    for k in range(strips):
        if columns[k + 1] <= columns[k]:
            continue
        half = drawing.height / 2.0 * (1.0 + 0.28 * float(away[k]))
        left, right = drawing.width * k / strips, drawing.width * (k + 1) / strips
        top, low = drawing.height / 2.0 - half, drawing.height / 2.0 + half
        box = (int(columns[k]), 0, int(columns[k + 1]), height)
        mesh.append((box, (left, top, left, low, right, low, right, top)))
    size = (max(1, int(columns[-1])), height)
    return drawing.transform(size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)


def _unhidden(
    drawing: Image.Image, scene: Scene, box: tuple[int, int, int, int], distance: float
) -> Image.Image:
    """The drawing's mask without what stands before it."""
    open_view = _open_view(scene, round(4.0 * distance)).crop(box)
    return ImageChops.multiply(drawing.getchannel("A"), open_view)


@lru_cache(maxsize=64)
def _open_view(scene: Scene, quarters: int) -> Image.Image:
    """Where nothing stands nearer than so many quarters of a metre, L."""
    limit = 2.5 * quarters
    return scene.depth.point([255 if depth >= limit else 0 for depth in range(256)])


@lru_cache(maxsize=1024)
def _veiled(
    species: str, length: int, scene: Scene, lamp: float, quarters: int, tenths: int
) -> Image.Image:
    """A portrait as seen through so many quarters of a metre of water, at a height in the view."""
    light = Light(level=1.0, warmth=0.0, sun=1.0, lamp=lamp)
    return portrait(species, length).point(veil(scene, light, quarters / 4.0, tenths / 10.0))
