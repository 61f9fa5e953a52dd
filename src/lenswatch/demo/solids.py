"""Overgrown rods and balls as the fixed camera sees them.

Coordinates are metres from the camera: x to the right, y up, z away from it. The camera looks along
z; its horizon lies above the middle of the picture, so that verticals stay vertical.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lenswatch.demo.noise import Array, sample

__all__ = ["Point", "Projection", "Solid", "Vector", "growth", "nearest", "see"]

Vector: TypeAlias = NDArray[np.float64]
Point: TypeAlias = tuple[float, float, float]


class Projection(NamedTuple):
    """The pinhole projection of a picture of `width` x `height` pixels."""

    width: int
    height: int

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return 0.74 * self.width

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Return column and row of a point in front of the camera."""
        return 0.5 * self.width + self.focal * x / z, 0.41 * self.height - self.focal * y / z

    def rays(self) -> Array:
        """Return the ray of every pixel, (height, width, 3) float32, with z = 1."""
        row, column = np.indices((self.height, self.width), np.float32) + np.float32(0.5)
        x, y = column - np.float32(0.5 * self.width), np.float32(0.41 * self.height) - row
        return np.asarray(
            np.stack([x, y, np.full_like(x, self.focal)], -1) / self.focal, np.float32
        )


class Solid(NamedTuple):
    """A rod with round ends, or a ball, whose skin growth roughens; lengths in metres."""

    start: Vector
    end: Vector
    radius: float
    colour: Point
    growth: float = 0.0
    scale: float = 1.0  # size of the growth's lumps
    cover: float = 0.0  # share of the skin that turf and crusts colour, 0..1


def growth(skin: Array, points: Array, scale: float) -> Array:
    """Return the noise of the growth, a volume that fills 0.75 m at scale 1, at (n, 3) points."""
    return sample(skin, *(points.T / np.float32(0.75 * scale)))


def nearest(solids: Sequence[Solid], points: Array) -> Array:
    """Return the distance of `points` (n, 3) from the nearest solid, without its growth."""
    least = np.full(len(points), 9.0, np.float32)
    for solid in solids:
        axis = (solid.end - solid.start).astype(np.float32)
        away = points - solid.start.astype(np.float32)
        away -= np.clip(away @ axis / (axis @ axis + 1e-9), 0.0, 1.0)[:, None] * axis
        np.minimum(least, np.linalg.norm(away, axis=1) - np.float32(solid.radius), out=least)
    return least


def see(camera: Projection, solids: Sequence[Solid], skin: Array) -> tuple[Array, Array, Array]:
    """Find what each pixel shows; `skin` is the noise volume of the growth.

    Returns depth (h, w), infinite in open water; unit normals (h, w, 3); number of the solid or -1.
    A solid is measured in the picture, across its axis, which neglects perspective within a radius.
    """
    rays, shape = camera.rays(), (camera.height, camera.width)
    shown, number = np.full(shape, np.inf, np.float32), np.full(shape, -1.0, np.float32)
    normal = np.zeros_like(rays)
    for k, (start, end, radius, _, lumps, scale, _) in enumerate(solids):
        ends = np.array([camera.project(*point) for point in (start.tolist(), end.tolist())])
        zoom, reach = camera.focal / np.array([start[2], end[2]]), radius + 3.0 * lumps
        low = np.clip(ends.min(0) - reach * zoom.max() - 1.0, 0, camera).astype(int)
        high = np.clip(ends.max(0) + reach * zoom.max() + 2.0, 0, camera).astype(int)
        x = np.arange(low[0], high[0]) + 0.5 - ends[0, 0]
        y = np.arange(low[1], high[1])[:, None] + 0.5 - ends[0, 1]
        across, down = (ends[1] - ends[0]).tolist()
        part = np.clip((x * across + y * down) / (across**2 + down**2 + 1e-6), 0.0, 1.0)
        local = zoom[0] + (zoom[1] - zoom[0]) * part
        x, y = (x - part * across) / local, (part * down - y) / local
        window = np.nonzero(x * x + y * y < reach**2)
        x, y, z = x[window], y[window], camera.focal / local[window]
        window = (window[0] + low[1], window[1] + low[0])
        points = rays[window] * (z - np.sqrt(np.maximum(radius**2 - x * x - y * y, 0)))[:, None]
        left = (radius + lumps * growth(skin, points, scale)) ** 2 - x * x - y * y
        depth = z - np.sqrt(np.maximum(left, 0.0))
        hit = (left > 0.0) & (depth < shown[window])
        facing = np.stack([x, y, depth - z], -1)[hit] / radius
        for i in range(3 if lumps else 0):
            facing[:, i] += 0.4 * growth(skin, points[hit] + np.float32(0.2 * i), scale)
        window = (window[0][hit], window[1][hit])
        shown[window], number[window] = depth[hit], k
        normal[window] = facing / np.linalg.norm(facing, axis=-1, keepdims=True)
    return shown, normal, number
