"""What stands on the sea bed: the observatory's frame and instruments, a reef block, stones."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from lenswatch.demo.noise import generator
from lenswatch.demo.solids import SEABED, Camera, Point, Solids

__all__ = ["Bar", "build"]

STEEL = (0.50, 0.52, 0.48)
HOUSING = (0.80, 0.79, 0.72)
YELLOW = (0.93, 0.66, 0.10)
BLACK = (0.07, 0.08, 0.09)
CONCRETE = (0.52, 0.50, 0.45)
GROWTH = (
    (0.36, 0.33, 0.16),  # olive turf
    (0.46, 0.36, 0.18),  # brown algae
    (0.60, 0.36, 0.32),  # coralline crust
    (0.78, 0.46, 0.16),  # orange sponge
    (0.70, 0.64, 0.50),  # barnacles
    (0.27, 0.30, 0.20),
    (0.42, 0.25, 0.30),
)


@dataclass(frozen=True)
class Bar:
    """A segment that throws a shadow on the sea bed."""

    start: Point
    end: Point
    radius: float


@dataclass
class _Site:
    """Solids under construction with the bars of their shadows."""

    solids: Solids
    rng: np.random.Generator
    bars: list[Bar] = field(default_factory=list)

    def rod(self, start: Point, end: Point, radius: float, colour: Point, growth: float) -> None:
        self.solids.rod(start, end, radius, colour)
        self.bars.append(Bar(start, end, radius))
        self.overgrow(start, end, radius, growth)

    def overgrow(self, start: Point, end: Point, radius: float, density: float) -> None:
        """Turf, sponges and barnacles along a rod, in patches of one kind."""
        a, b = np.array(start), np.array(end)
        count = int(density * 150.0 * float(np.linalg.norm(b - a)))
        place, kind = float(self.rng.random()), 0
        for _ in range(count):
            if self.rng.random() < 0.12:
                place, kind = float(self.rng.random()), int(self.rng.integers(len(GROWTH)))
            place = float(np.clip(place + self.rng.normal(0.0, 0.02), 0.0, 1.0))
            bump = float(self.rng.gamma(1.8, 0.0040) + 0.005)
            around = _unit(self.rng.standard_normal(3))
            centre = a + (b - a) * place + around * (radius + 0.2 * bump)
            radii = _point(bump * self.rng.uniform(0.65, 1.5, 3))
            self.solids.ellipsoid(_point(centre), radii, _varied(self.rng, GROWTH[kind]))


def build(camera: Camera, seed: int) -> tuple[Solids, list[Bar]]:
    """Everything solid on the sea bed, and the bars that shade it."""
    site = _Site(Solids(camera), generator(seed, 1))
    _stones(site)
    _litter(site)
    _starfish(site, (-0.42, 3.75), 0.13)
    _starfish(site, (0.55, 3.25), 0.075)
    _reef_block(site, (-2.75, 8.6), 0.45)
    _observatory(site, (1.35, 5.5))
    _cable(site, (0.85, 5.1))
    return site.solids, site.bars


def _observatory(site: _Site, at: tuple[float, float]) -> None:
    """A trawl-resistant frame with a junction box, a float, a mast and instruments."""
    x, z = at
    corners = [(-1.0, -0.75), (1.0, -0.75), (1.0, 0.75), (-1.0, 0.75)]
    yaw = 0.42
    ground, roof = SEABED + 0.06, SEABED + 1.18

    def at_corner(corner: tuple[float, float], spread: float, height: float) -> Point:
        cx, cz = corner[0] * spread, corner[1] * spread
        cos, sin = float(np.cos(yaw)), float(np.sin(yaw))
        return x + cx * cos + cz * sin, height, z - cx * sin + cz * cos

    feet = [at_corner(corner, 1.0, ground) for corner in corners]
    tops = [at_corner(corner, 0.55, roof) for corner in corners]
    middles = [_between(foot, top, 0.5) for foot, top in zip(feet, tops, strict=True)]
    for corner, foot, top in zip(corners, feet, tops, strict=True):
        site.solids.box((foot[0], SEABED + 0.05, foot[2]), (0.2, 0.09, 0.2), yaw, CONCRETE)
        edge = at_corner((corner[0] - 0.2, corner[1] - 0.2), 1.0, SEABED + 0.12)
        other = at_corner((corner[0] + 0.2, corner[1] - 0.2), 1.0, SEABED + 0.12)
        site.overgrow(edge, other, 0.04, 1.4)
        site.overgrow(_moved(foot, -0.02), _moved(foot, 0.18), 0.1, 1.1)
        site.rod(foot, top, 0.042, STEEL, 1.0)
    for i in range(4):
        site.rod(feet[i], feet[(i + 1) % 4], 0.034, STEEL, 1.0)
        site.rod(tops[i], tops[(i + 1) % 4], 0.036, STEEL, 0.8)
    site.rod(middles[0], middles[1], 0.026, STEEL, 0.7)
    site.rod(middles[2], middles[3], 0.026, STEEL, 0.7)
    site.rod(feet[0], tops[3], 0.022, STEEL, 0.6)
    _junction_box(site, at_corner((-0.38, -0.1), 1.0, 0.0), yaw)
    _float(site, at_corner((0.3, 0.05), 1.0, roof - 0.4))
    _mast(site, tops[1], roof)
    _anemones(site, tops[0], tops[1])


def _junction_box(site: _Site, at: Point, yaw: float) -> None:
    """The pressure housing on its cradle, with bands and connectors."""
    x, _, z = at
    low, axis = SEABED + 0.42, (0.62 * float(np.cos(yaw)), 0.0, -0.62 * float(np.sin(yaw)))
    start, end = (x - axis[0] * 0.62, low, z - axis[2] * 0.62), (x + axis[0], low, z + axis[2])
    site.solids.tube(start, end, 0.175, HOUSING)
    site.bars.append(Bar(start, end, 0.175))
    for part in (0.0, 0.14, 0.86, 1.0):
        middle = np.array(_between(start, end, part))
        step = np.array(axis) * 0.035
        site.solids.tube(_point(middle - step), _point(middle + step), 0.192, BLACK)
    band, step = np.array(_between(start, end, 0.5)), np.array(axis) * 0.11
    site.solids.tube(_point(band - step), _point(band + step), 0.178, YELLOW)
    site.overgrow(_moved(start, 0.12), _moved(end, 0.12), 0.07, 0.55)
    for part in (0.25, 0.75):
        place = _between(start, end, part)
        site.solids.box((place[0], SEABED + 0.14, place[2]), (0.05, 0.16, 0.2), yaw, STEEL)


def _float(site: _Site, centre: Point) -> None:
    """A glass sphere in its yellow hard hat."""
    site.solids.sphere(centre, 0.215, YELLOW)
    x, y, z = centre
    site.solids.ellipsoid((x, y, z), (0.245, 0.03, 0.245), (0.80, 0.55, 0.08))
    for turn in np.linspace(0.0, 2.0 * np.pi, 9)[:-1]:
        spot = (x + 0.235 * float(np.cos(turn)), y, z + 0.235 * float(np.sin(turn)))
        site.solids.sphere(spot, 0.022, BLACK)
    site.bars.append(Bar((x, y - 0.05, z), (x, y + 0.05, z), 0.2))
    site.overgrow((x - 0.12, y + 0.02, z), (x + 0.12, y + 0.02, z), 0.17, 0.5)


def _mast(site: _Site, foot: Point, roof: float) -> None:
    """A mast with a current meter, a hydrophone and a banded pole."""
    x, _, z = foot
    head = (x, roof + 0.78, z)
    site.rod((x, roof, z), head, 0.02, STEEL, 0.45)
    for i in range(4):
        low = roof + 0.22 + 0.13 * i
        colour = YELLOW if i % 2 else BLACK
        site.solids.tube((x, low, z), (x, low + 0.13, z), 0.0235, colour)
    arm = (x - 0.36, roof + 0.62, z - 0.05)
    site.rod((x, roof + 0.62, z), arm, 0.013, STEEL, 0.3)
    site.solids.tube(arm, _moved(arm, -0.26), 0.042, HOUSING)
    site.solids.tube(_moved(arm, -0.26), _moved(arm, -0.31), 0.034, BLACK)
    site.solids.tube(head, _moved(head, 0.07), 0.055, BLACK)
    site.solids.ellipsoid(_moved(head, 0.09), (0.052, 0.06, 0.052), (0.16, 0.17, 0.18))


def _anemones(site: _Site, start: Point, end: Point) -> None:
    """Plumose anemones on the front beam: a column and a crown of tentacles."""
    for part, size in ((0.16, 1.0), (0.27, 0.7), (0.78, 0.85)):
        x, y, z = _between(start, end, part)
        tint = (0.93, 0.86, 0.74) if part != 0.27 else (0.92, 0.55, 0.28)
        top = y + 0.12 * size
        site.solids.tube((x, y, z), (x, top, z), 0.028 * size, tint)
        for _ in range(46):
            lean = _unit(site.rng.standard_normal(3)) * 0.075 * size
            tip = (x + lean[0], top + abs(lean[1]) + 0.02 * size, z + lean[2])
            site.solids.tube(
                (x, top, z), _point(np.array(tip)), 0.0042 * size, _varied(site.rng, tint)
            )


def _cable(site: _Site, at: tuple[float, float]) -> None:
    """The cable to shore, half sunk in the sand."""
    x, z = at
    along = np.linspace(0.0, 1.0, 26)
    points = [
        (
            x - 4.6 * s,
            SEABED + 0.03 + 0.015 * float(np.sin(9.0 * s)),
            z - 0.9 * s + 0.22 * float(np.sin(5.5 * s)),
        )
        for s in along.tolist()
    ]
    for start, end in pairwise(points):
        site.solids.rod(start, end, 0.03, BLACK)
        site.bars.append(Bar(start, end, 0.04))
        site.overgrow(start, end, 0.027, 0.35)


def _reef_block(site: _Site, at: tuple[float, float], yaw: float) -> None:
    """A production reef of two hollow concrete blocks, with sea fans."""
    x, z = at
    for level, half, turn in ((0.42, 0.62, yaw), (1.16, 0.46, yaw + 0.5)):
        middle = SEABED + level
        _hollow_block(site, (x, middle, z), half, turn)
    for fan, size in (
        ((x - 0.5, SEABED + 0.8, z - 0.45), 0.5),
        ((x + 0.42, SEABED + 0.78, z - 0.3), 0.38),
    ):
        _branch(site, fan, 1.57, size * 0.42, 6, (0.62, 0.16, 0.34))
    _branch(site, (x + 0.05, SEABED + 1.6, z - 0.3), 1.5, 0.17, 6, (0.80, 0.52, 0.12))


def _hollow_block(site: _Site, centre: Point, half: float, yaw: float) -> None:
    """Twelve beams of a cube, so that fish and light pass through."""
    x, y, z = centre
    cos, sin = float(np.cos(yaw)), float(np.sin(yaw))
    thick, tall = 0.13, half * 0.68

    def placed(cx: float, cy: float, cz: float) -> Point:
        return x + cx * cos + cz * sin, y + cy, z - cx * sin + cz * cos

    for side in (-1.0, 1.0):
        for other in (-1.0, 1.0):
            beams: list[tuple[Point, Point]] = [
                (placed(0.0, side * tall, other * half), (half, thick, thick)),
                (placed(other * half, side * tall, 0.0), (thick, thick, half)),
                (placed(side * half, 0.0, other * half), (thick, tall, thick)),
            ]
            for middle, size in beams:
                site.solids.box(middle, size, yaw, CONCRETE)
            top = placed(side * half, tall, other * half)
            site.bars.append(Bar((top[0], SEABED, top[2]), top, thick))
    for side in (-1.0, 1.0):
        out, high = half + thick, side * tall + thick
        left, right = placed(-out, high, -out), placed(out, high, -out)
        site.overgrow(left, right, 0.04, 0.95)
        site.overgrow(_moved(left, -2.0 * thick), _moved(right, -2.0 * thick), 0.035, 0.5)
        site.overgrow(placed(side * out, -tall, -out), placed(side * out, tall, -out), 0.045, 0.9)
        site.bars.append(Bar(left, right, thick))


def _branch(
    site: _Site, root: Point, angle: float, length: float, order: int, colour: Point
) -> None:
    """A sea fan, forking in its plane."""
    tip = (
        root[0] + length * float(np.cos(angle)),
        root[1] + length * float(np.sin(angle)),
        root[2] + float(site.rng.normal(0.0, 0.012)),
    )
    site.solids.tube(root, tip, 0.0042 + 0.0022 * order, _varied(site.rng, colour))
    if order == 0:
        return
    for bend in (-1.0, 1.0):
        turn = angle + bend * float(site.rng.uniform(0.16, 0.5))
        _branch(site, tip, turn, length * float(site.rng.uniform(0.68, 0.9)), order - 1, colour)


def _stones(site: _Site) -> None:
    """Pebbles and rocks, in groups, most of them far."""
    for _ in range(26):
        x, z = float(site.rng.uniform(-5.5, 5.5)), float(site.rng.uniform(3.2, 11.0))
        size = float(site.rng.gamma(2.0, 0.035) + 0.02)
        for _ in range(int(site.rng.integers(2, 8))):
            offset = site.rng.normal(0.0, 1.4 * size, 2)
            radius = size * float(site.rng.uniform(0.35, 1.0))
            tone = float(site.rng.uniform(0.75, 1.15))
            centre = (x + float(offset[0]), SEABED + 0.12 * radius, max(2.9, z + float(offset[1])))
            radii = (radius * 1.2, radius * float(site.rng.uniform(0.5, 0.8)), radius)
            site.solids.ellipsoid(centre, radii, (0.55 * tone, 0.51 * tone, 0.42 * tone))
            if radius > 0.08:
                top = _moved(centre, radii[1] * 0.6)
                site.overgrow(_moved(centre, 0.0), top, radius * 0.8, 3.0)


def _litter(site: _Site) -> None:
    """Shells and gravel on the sand."""
    for _ in range(240):
        z = 3.0 + 5.0 * float(site.rng.random()) ** 1.5
        x, size = float(site.rng.normal(0.0, 0.45)) * z, float(site.rng.gamma(2.0, 0.005) + 0.004)
        shell = site.rng.random() < 0.4
        colour = (0.88, 0.84, 0.76) if shell else (0.56, 0.51, 0.42)
        radii = (size * 1.3, size * (0.35 if shell else 0.7), size)
        site.solids.ellipsoid((x, SEABED + 0.3 * size, z), radii, _varied(site.rng, colour))


def _starfish(site: _Site, at: tuple[float, float], reach: float) -> None:
    """Five tapering arms on the sand."""
    x, z = at
    for turn in np.arange(5) * 1.2566 + float(site.rng.uniform(0.0, 1.2)):
        for part in np.linspace(0.0, 1.0, 12).tolist():
            bend = float(turn) + 0.25 * part
            spot = (
                x + reach * part * float(np.cos(bend)),
                SEABED + 0.012,
                z + reach * part * float(np.sin(bend)),
            )
            radius = reach * (0.20 - 0.13 * part)
            site.solids.ellipsoid(spot, (radius, 0.8 * radius, radius), (0.86, 0.34, 0.16))


def _between(start: Point, end: Point, part: float) -> Point:
    a, b = np.array(start), np.array(end)
    return _point(a + (b - a) * part)


def _moved(point: Point, up: float) -> Point:
    return point[0], point[1] + up, point[2]


def _point(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Point:
    return float(values[0]), float(values[1]), float(values[2])


def _unit(
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return values / max(float(np.linalg.norm(values)), 1e-9)


def _varied(rng: np.random.Generator, colour: Point) -> Point:
    tone = float(rng.uniform(0.78, 1.18))
    return colour[0] * tone, colour[1] * tone, colour[2] * tone
