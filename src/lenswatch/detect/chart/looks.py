"""Clean looks of a camera: its scene in each light, with which faults are named.

A camera that sees a colourful day and a grey night has two of them. What a fault does to a picture depends on
its light, so that causes are found by the look that the picture belongs to.

In each look the clean pictures tell which cells are steady: there the scene is seen as always in nine of ten
pictures. Where somebody sits or a fish swims it is not, and such cells say nothing about a moved camera.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats, Floats32, Pixels
from lenswatch.detect.chart.features import GRID, THUMB, Measured, agreement
from lenswatch.detect.chart.light import light_of
from lenswatch.detect.chart.light_scales import AnyScales, LightScales
from lenswatch.detect.chart.parts import Scales
from lenswatch.detect.chart.placing import Placing
from lenswatch.detect.chart.scene import details, likeness, some_of
from lenswatch.detect.chart.signatures import signatures

__all__ = ["Look", "Seen", "looks_of"]

_USUALLY, _NEARLY_ALWAYS = 10, 5  # percentiles of clean pictures
_STEADY = 0.6  # agreement
_LEAST_LIKE = 0.15  # of the edges; the edges of a scene with less cannot be followed
_STRUCTURED = 1.5  # grey levels: standard deviation of the scene in a cell
_FEWEST = 3  # such cells that are steady; with fewer all count


@dataclass(frozen=True)
class Seen:
    """Agreement of clean pictures with the scene of each light.

    Attributes:
        agreement: (k, 8, 10) float32, agreement that nine of ten pictures exceed, in each cell.
        alike: (k, 2) likeness of the edges that nearly all exceed, of all cells and of the steady ones.
    """

    agreement: Floats32
    alike: Floats

    @classmethod
    def fit(cls, scales: AnyScales, scene: Pixels, clean: Measured) -> Seen:
        """Fit to clean pictures."""
        found, alike = [], []
        for seen, thumbs in _by_light(scales, scene, clean):
            some = some_of(thumbs)
            usual = np.percentile(agreement(some, seen), _USUALLY, axis=0)
            masks = np.ones(THUMB, bool), steady_pixels(seen, usual)
            found.append(usual)
            alike.append([_usual_likeness(some, seen, mask) for mask in masks])
        return cls(np.stack(found).astype(np.float32), np.array(alike))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return arrays that `from_arrays` reads."""
        return {"seen": self.agreement, "seen_alike": self.alike}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Seen:
        """Read what `to_arrays` wrote.

        Raises:
            KeyError: One is missing.
        """
        return cls(arrays["seen"], arrays["seen_alike"])


@dataclass(frozen=True)
class Look:
    """Clean pictures of one light.

    Attributes:
        scales: Location and scatter of each channel in each cell.
        scene: (64, 80) uint8, median of their luma.
        agreement: (8, 10) agreement with it that nine of ten of them exceed.
        alike: Likeness of the edges that nearly all of them exceed, from 0 to 1.
        steady_alike: The same of steady cells.
    """

    scales: Scales
    scene: Pixels
    agreement: Floats
    alike: float
    steady_alike: float

    def in_place(self, thumb: Pixels) -> bool:
        """Return whether the steady edges of (64, 80) uint8 agree as in nearly all clean pictures."""
        there = likeness(details(thumb) * self.steady, self._edges, 0, 0)
        return there >= self.steady_alike

    def likeness(self, thumb: Pixels) -> float:
        """Return the correlation of all edges of (64, 80) uint8 with those of the scene."""
        return likeness(details(thumb), self._all_edges, 0, 0)

    @cached_property
    def _all_edges(self) -> Floats32:
        return details(self.scene)

    @cached_property
    def steady(self) -> NDArray[np.bool_]:
        """(64, 80) True where the scene is seen in nine of ten clean pictures."""
        return steady_pixels(self.scene, self.agreement)

    @cached_property
    def _edges(self) -> Floats32:
        return np.asarray(self._all_edges * self.steady, np.float32)

    @cached_property
    def signatures(self) -> tuple[tuple[str, ...], Floats]:
        """Names of faults, and directions (s, 560) of their changes without the modes."""
        names, changes = zip(*signatures(self.scales.median), strict=True)
        moved = self.scales.without_modes(self.scales.median + np.stack(changes))
        flat = moved.reshape(len(names), -1)
        return names, flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)

    @cached_property
    def placing(self) -> Placing:
        """Copies of the scene that show whether the camera was moved."""
        return Placing.of(self.scene, self.steady)


def looks_of(scales: AnyScales, scene: Pixels, alike: float, seen: Seen | None) -> tuple[Look, ...]:
    """Return the looks of a camera: one for each of its light states.

    Args:
        scales: Scales of its clean pictures.
        scene: (64, 80) uint8, median of the luma of all of them.
        alike: Likeness of the edges that nearly all of them exceed.
        seen: Fitted to them; None if an earlier version fitted the chart.
    """
    if isinstance(scales, LightScales):
        states, scenes = scales.states, list(scales.scenes)
    else:
        states, scenes = (scales,), [scene]
    if seen is None:
        every = np.ones((len(states), *GRID), np.float32)
        seen = Seen(every, np.full((len(states), 2), alike))
    return tuple(
        Look(*each, *(float(v) for v in values))
        for *each, values in zip(states, scenes, seen.agreement, seen.alike, strict=True)
    )


def steady_pixels(scene: Pixels, usual: Floats) -> NDArray[np.bool_]:
    """Return (64, 80), True in cells in which clean pictures agree with the scene; all True if they are few.

    Args:
        scene: (64, 80) uint8.
        usual: (8, 10), agreement that nine of ten clean pictures exceed.
    """
    height, width = THUMB[0] // GRID[0], THUMB[1] // GRID[1]
    structure = scene.reshape(GRID[0], height, GRID[1], width).std(axis=(1, 3)) > _STRUCTURED
    steady = usual > _STEADY
    if (steady & structure).sum() < _FEWEST:
        steady = np.ones(GRID, bool)
    return np.asarray(np.repeat(np.repeat(steady, height, axis=0), width, axis=1))


def _by_light(scales: AnyScales, scene: Pixels, clean: Measured) -> list[tuple[Pixels, Pixels]]:
    """Return the scene and the pictures of each light."""
    if not isinstance(scales, LightScales):
        return [(scene, clean.thumbs)]
    own = scales.lights.nearest(light_of(clean.cells))
    return [(seen, clean.thumbs[own == k]) for k, seen in enumerate(scales.scenes)]


def _usual_likeness(thumbs: Pixels, scene: Pixels, mask: NDArray[np.bool_]) -> float:
    edges = details(scene) * mask
    found = [likeness(details(thumb) * mask, edges, 0, 0) for thumb in thumbs]
    return max(float(np.percentile(found, _NEARLY_ALWAYS)), _LEAST_LIKE)
