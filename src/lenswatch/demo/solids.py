"""A small ray caster: simple solids seen by the fixed camera, with depth, normals and colours.

Coordinates are metres from the camera: x to the right, y up, z away from it. The camera looks
along z; its horizon lies above the middle of the picture, so verticals stay vertical.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from lenswatch.demo.noise import Array

__all__ = ["SEABED", "Camera", "Point", "Solids"]

SEABED = -1.35
"""Height of the sea bed below the camera, in metres."""

Point: TypeAlias = tuple[float, float, float]
Colour: TypeAlias = tuple[float, float, float]
Window: TypeAlias = tuple[slice, slice]


@dataclass(frozen=True)
class Camera:
    """The pinhole projection of a picture of `width` x `height` pixels."""

    width: int
    height: int

    @property
    def focal(self) -> float:
        return 0.74 * self.width

    @property
    def centre(self) -> tuple[float, float]:
        return 0.5 * self.width, 0.41 * self.height

    def project(self, point: Point) -> tuple[float, float]:
        """Pixel position of a point in front of the camera."""
        x, y, z = point
        return self.centre[0] + self.focal * x / z, self.centre[1] - self.focal * y / z

    def directions(self) -> Array:
        """Ray of every pixel, (height, width, 3) float32, with z = 1."""
        x = (np.arange(self.width, dtype=np.float32) + 0.5 - self.centre[0]) / self.focal
        y = (self.centre[1] - np.arange(self.height, dtype=np.float32) - 0.5) / self.focal
        rays = np.ones((self.height, self.width, 3), np.float32)
        rays[..., 0], rays[..., 1] = x[None, :], y[:, None]
        return rays

    def window(self, centre: Point, radius: float) -> Window:
        """The pixels that a ball can cover."""
        x, y, z = centre
        near = max(z - radius, 0.3)
        column, row = self.project((x, y, z))
        reach = self.focal * radius / near * 1.15 + 2.0
        reach += abs(self.focal * x * radius / (z * near)) * 0.3
        rows = slice(max(0, int(row - reach)), max(0, min(self.height, int(row + reach) + 2)))
        columns = slice(
            max(0, int(column - reach)), max(0, min(self.width, int(column + reach) + 2))
        )
        return rows, columns


class Solids:
    """What the rays hit first. Each method adds one solid of a colour."""

    def __init__(self, camera: Camera) -> None:
        shape = (camera.height, camera.width)
        self.camera = camera
        self.rays = camera.directions()
        self.depth = np.full(shape, np.inf, np.float32)
        self.normal = np.zeros((*shape, 3), np.float32)
        self.colour = np.zeros((*shape, 3), np.float32)

    def ellipsoid(self, centre: Point, radii: Point, colour: Colour) -> None:
        window = self.camera.window(centre, max(radii))
        scale = 1.0 / np.array(radii, np.float32)
        ray, origin = self.rays[window] * scale, -np.array(centre, np.float32) * scale
        a, b = np.einsum("ijk,ijk->ij", ray, ray), ray @ origin
        root = b * b - a * (float(origin @ origin) - 1.0)
        hit = root > 0.0
        t = np.where(hit, (-b - np.sqrt(np.maximum(root, 0.0))) / a, np.inf)
        safe = np.where(hit, t, 0.0)
        self._keep(window, t, (origin + ray * safe[..., None]) * scale, colour)

    def sphere(self, centre: Point, radius: float, colour: Colour) -> None:
        self.ellipsoid(centre, (radius, radius, radius), colour)

    def tube(self, start: Point, end: Point, radius: float, colour: Colour) -> None:
        """A cylinder with flat ends."""
        a, b = np.array(start, np.float32), np.array(end, np.float32)
        window = _around(self.camera.window(start, radius), self.camera.window(end, radius))
        ray, axis = self.rays[window], (b - a)
        axis2, along, away = float(axis @ axis), ray @ axis, float(axis @ -a)
        k2 = axis2 * np.einsum("ijk,ijk->ij", ray, ray) - along * along
        k1 = axis2 * (ray @ -a) - away * along
        root = k1 * k1 - k2 * (axis2 * float(a @ a) - away * away - radius * radius * axis2)
        half = np.sqrt(np.maximum(root, 0.0))
        t = (-k1 - half) / np.maximum(k2, 1e-9)
        place = away + t * along
        body = (root > 0.0) & (place > 0.0) & (place < axis2)
        with np.errstate(divide="ignore", invalid="ignore"):
            cap_t = (np.where(place < 0.0, 0.0, axis2) - away) / along
            cap = (root > 0.0) & ~body & (np.abs(k1 + k2 * cap_t) < half)
        side = -a + ray * t[..., None] - axis * (place / axis2)[..., None]
        normal = np.where(body[..., None], side, axis * np.sign(place)[..., None])
        self._keep(window, np.where(body, t, np.where(cap, cap_t, np.inf)), normal, colour)

    def rod(self, start: Point, end: Point, radius: float, colour: Colour) -> None:
        """A tube with round ends."""
        self.tube(start, end, radius, colour)
        self.sphere(start, radius, colour)
        self.sphere(end, radius, colour)

    def box(self, centre: Point, half: Point, yaw: float, colour: Colour) -> None:
        """A box turned by `yaw` radians about the vertical."""
        window = self.camera.window(centre, float(np.linalg.norm(half)))
        cos, sin = np.cos(yaw), np.sin(yaw)
        turn = np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]], np.float32)
        ray, origin = self.rays[window] @ turn.T, turn @ -np.array(centre, np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = 1.0 / ray
            middle, reach = -origin * inverse, np.abs(inverse) * np.array(half, np.float32)
        near, far = middle - reach, middle + reach
        entry = np.maximum(np.maximum(near[..., 0], near[..., 1]), near[..., 2])
        far = np.minimum(np.minimum(far[..., 0], far[..., 1]), far[..., 2])
        hit = (entry < far) & (entry > 0.0)
        faces = np.where(near == entry[..., None], -np.sign(ray), 0.0).astype(np.float32)
        self._keep(window, np.where(hit, entry, np.inf), faces @ turn, colour)

    def _keep(self, window: Window, t: Array, normal: Array, colour: Colour) -> None:
        """Write the pixels of a solid that lie before what was there."""
        nearer = (t < self.depth[window]) & (t > 0.2)
        if not nearer.any():
            return
        length = np.sqrt(np.einsum("ijk,ijk->ij", normal, normal))[nearer]
        self.depth[window][nearer] = t[nearer]
        self.normal[window][nearer] = normal[nearer] / np.maximum(length, 1e-9)[:, None]
        self.colour[window][nearer] = np.array(colour, np.float32)


def _around(one: Window, other: Window) -> Window:
    """The smallest window that holds both."""
    rows, columns = (
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
    return rows, columns
