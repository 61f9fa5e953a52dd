"""Scales of a camera with several light states: each picture is measured in those of its own light.

The light is found from the picture's cells, so that these scales are used like those of one state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats, Floats32, Pixels
from lenswatch.detect.chart.features import AGREEMENT, GRID, Measured, agreement, median_scene
from lenswatch.detect.chart.folds import Fold, folds_of
from lenswatch.detect.chart.light import Lights, light_of
from lenswatch.detect.chart.parts import Scales, compressed

__all__ = ["AnyScales", "LightScales", "with_agreement"]

_FEWEST_IN_A_FIT = 24  # images of a state that a fold is fitted to; with fewer, its centre stays


@dataclass(frozen=True)
class LightScales:
    """Scales and scenes of several light states.

    Attributes:
        lights: The states.
        states: Scales of each.
        scenes: (k, 64, 80) uint8, median of each one's clean luma.
    """

    lights: Lights
    states: tuple[Scales, ...]
    scenes: Pixels

    @classmethod
    def fit(cls, clean: Measured, lights: Lights) -> Self:
        """Fit to clean pictures in time order, each state to the pictures that are nearest to it."""
        own = lights.nearest(light_of(clean.cells))
        rows = [np.flatnonzero(own == state) for state in range(len(lights))]
        states = tuple(Scales.fit(clean.cells[some], folds_of(len(some))) for some in rows)
        return cls(lights, states, np.stack([median_scene(clean.thumbs[some]) for some in rows]))

    def refitted(self, clean: Measured, fold: Fold) -> LightScales:
        """Return scales with medians, modes and scenes of the pieces that a fold is fitted to."""
        cells, thumbs = fold.fitted_to(clean.cells), fold.fitted_to(clean.thumbs)
        own = self.lights.nearest(light_of(cells))
        states, scenes = list(self.states), list(self.scenes)
        for state in range(len(self.lights)):
            some = own == state
            if some.sum() >= _FEWEST_IN_A_FIT:
                states[state] = self.states[state].centred_on(cells[some])
                scenes[state] = median_scene(thumbs[some])
        return LightScales(self.lights, tuple(states), np.stack(scenes))

    @property
    def usual(self) -> Scales:
        """Scales of the state with most clean pictures."""
        return self.states[0]

    def agreement(self, cells: NDArray[Any], thumbs: Pixels) -> Floats32:
        """Return the largest agreement (n, 8, 10) of pictures with the scenes of the states they are in."""
        shares = self._shares(cells)
        seen = np.stack([agreement(thumbs, scene) for scene in self.scenes], axis=1)
        return np.asarray(np.where(shares[..., None, None] > 0, seen, -1).max(axis=1), np.float32)

    def deviations(self, cells: NDArray[Any]) -> Floats:
        """Return deviations (n, 7, 8, 10) in units of the scatter of each picture's light, compressed."""
        median, scatter = self._mixed(self._shares(cells))
        return compressed((cells[..., :AGREEMENT, :, :] - median) / scatter)

    def without_modes(self, cells: NDArray[Any]) -> Floats:
        """Return deviations (n, 7, 8, 10) without the modes of each picture's light."""
        return self._weighted(cells, Scales.without_modes)

    def residuals(self, cells: NDArray[Any]) -> Floats:
        """Return deviations (n, 7, 8, 10) without the modes, in units of their scatter, compressed."""
        return self._weighted(cells, Scales.residuals)

    def both(self, cells: NDArray[Any]) -> tuple[Floats, Floats]:
        """Return deviations and residuals."""
        return self.deviations(cells), self.residuals(cells)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return arrays that `from_arrays` reads."""
        found: dict[str, NDArray[Any]] = {"lights": self.lights.centres, "scenes": self.scenes}
        for i, scales in enumerate(self.states):
            found |= {f"{name}_{i}": values for name, values in scales.to_arrays().items()}
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read what `to_arrays` wrote.

        Raises:
            KeyError: One is missing.
        """
        lights = Lights(arrays["lights"])
        states = tuple(Scales.from_arrays(arrays, f"_{i}") for i in range(len(lights)))
        return cls(lights, states, arrays["scenes"])

    def _shares(self, cells: NDArray[Any]) -> Floats:
        return self.lights.weights(light_of(cells))

    def _mixed(self, shares: Floats) -> tuple[Floats, Floats]:
        """Return median and scatter (n, 7, 8, 10) of pictures between the states."""
        medians = np.stack([scales.median for scales in self.states])
        squares = np.stack([scales.scatter**2 for scales in self.states])
        median = np.tensordot(shares, medians, axes=1)
        away = medians[None] - median[:, None]
        spread = (shares[..., None, None, None] * (squares[None] + away**2)).sum(axis=1)
        return median, np.sqrt(spread)

    def _weighted(
        self, cells: NDArray[Any], measure: Callable[[Scales, NDArray[Any]], Floats]
    ) -> Floats:
        shares = self._shares(cells)
        found = np.zeros((len(cells), *self.usual.median.shape))
        for scales, share in zip(self.states, shares.T, strict=True):
            some = share > 0
            if some.any():
                found[some] += share[some, None, None, None] * measure(scales, cells[some])
        return found


AnyScales = Scales | LightScales


def with_agreement(scales: AnyScales, scene: Pixels, measured: Measured) -> Floats32:
    """Return the seven channels and the agreement with the clean scene: (..., 8, 8, 10).

    Args:
        scales: Those of several light states have a scene for each.
        scene: (64, 80), the scene of a single state.
        measured: One picture or several.
    """
    if isinstance(scales, LightScales):
        cells = measured.cells.reshape(-1, *measured.cells.shape[-3:])
        thumbs = measured.thumbs.reshape(-1, *measured.thumbs.shape[-2:])
        seen = scales.agreement(cells, thumbs).reshape(*measured.cells.shape[:-3], *GRID)
    else:
        seen = agreement(measured.thumbs, scene)
    return np.concatenate([measured.cells, seen[..., None, :, :]], axis=-3)
