"""Light states: day, dusk, infrared night, found in the clean footage.

A camera that sees a colourful day and a grey night has two usual looks, and between them hardly a picture.
A chart that mixes them measures the day in units of the night. Here the light of each picture is a point of
three numbers, and the footage is split where these points are in clearly separate groups. A light that only
swings, like daylight on a fixed scene, is never split: an even spread has its halves 1.7 of their own widths
apart, a sine 2.1, and 2.5 are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats
from lenswatch.detect.chart.features import CHANNELS

__all__ = ["FEWEST_OF_A_STATE", "Lights", "find_lights", "light_of"]

FEWEST_OF_A_STATE = 60  # clean images
_LEAST_SHARE = 0.10  # of the clean images
_MOST_STATES = 3
_STEPS_APART = 3.0  # between the middles of two states
_WIDTHS_APART = 2.5  # times the sum of their widths
_ROUNDS = 50  # of the search; it has always settled before
_STEPS = np.array(
    [10.0, 0.35, 0.15]
)  # of luma, log chroma and log contrast: about what an eye notices
_LUMA, _CONTRAST, _BLUE, _RED = (CHANNELS.index(c) for c in ("luma", "contrast", "blue", "red"))


@dataclass(frozen=True)
class Lights:
    """The light states of a camera.

    Attributes:
        centres: (k, 3) middles of the states, in steps, as `light_of` gives them.
    """

    centres: Floats

    def __len__(self) -> int:
        return len(self.centres)

    def nearest(self, light: Floats) -> NDArray[np.intp]:
        """Return the state (n,) of each picture, from its light (n, 3)."""
        return np.asarray(_distances(light, self.centres).argmin(axis=1))

    def weights(self, light: Floats) -> Floats:
        """Return the shares (n, k) of the states in pictures of this light (n, 3): rows add up to 1.

        A picture within a quarter of the way to another state belongs to the nearest alone, and half-way it
        belongs to both alike, so that nothing jumps at dusk.

        >>> Lights(np.array([[0.0, 0, 0], [8, 0, 0]])).weights(np.array([[2.0, 0, 0], [3, 0, 0]]))
        array([[1.  , 0.  ],
               [0.75, 0.25]])
        """
        n = len(light)
        if len(self) == 1:
            return np.ones((n, 1))
        order = np.argsort(_distances(light, self.centres), axis=1, kind="stable")[:, :2]
        near, second = self.centres[order[:, 0]], self.centres[order[:, 1]]
        way = second - near
        place = ((light - near) * way).sum(axis=1) / np.maximum((way * way).sum(axis=1), 1e-12)
        other = np.clip(2 * (place - 0.25), 0, 0.5)
        shares, rows = np.zeros((n, len(self))), np.arange(n)
        shares[rows, order[:, 0]] = 1 - other
        shares[rows, order[:, 1]] = other
        return shares

    def without_few(self, light: Floats) -> Lights:
        """Return the states that at least 60 of these pictures (n, 3) are nearest to; one at least."""
        counts = np.bincount(self.nearest(light), minlength=len(self))
        enough = counts >= FEWEST_OF_A_STATE
        if not enough.any():
            enough[counts.argmax()] = True
        return Lights(self.centres[enough])


def light_of(cells: NDArray[Any]) -> Floats:
    """Return the light (n, 3) of pictures (n, 7 or more, 8, 10): luma, log chroma, log contrast, in steps."""
    luma, contrast = (cells[:, c].mean(axis=(1, 2)) for c in (_LUMA, _CONTRAST))
    colours = cells[:, [_BLUE, _RED]].astype(np.float64)
    chroma = np.sqrt((colours**2).mean(axis=(1, 2, 3)))
    return np.asarray(np.stack([luma, np.log1p(chroma), contrast], axis=1) / _STEPS)


def find_lights(light: Floats) -> Lights:
    """Return the states of clean footage, the one with most pictures first; one if it does not part clearly.

    Args:
        light: (n, 3) of clean pictures.
    """
    for k in range(_MOST_STATES, 1, -1):
        if len(light) < k * FEWEST_OF_A_STATE:
            continue
        found = _grouped(light, k)
        if found is not None:
            return found
    return Lights(np.median(light, axis=0)[None])


def _grouped(light: Floats, k: int) -> Lights | None:
    """Return k states, or None if they are too small or not apart. The middles are medians."""
    deviations = light - light.mean(axis=0)
    axis = np.linalg.svd(deviations, full_matrices=False)[2][0]
    order = np.argsort(deviations @ axis, kind="stable")
    groups = np.empty(len(light), np.intp)
    for state, rows in enumerate(np.array_split(order, k)):
        groups[rows] = state
    for _ in range(_ROUNDS):
        sizes = np.bincount(groups, minlength=k)
        if sizes.min() < max(FEWEST_OF_A_STATE, _LEAST_SHARE * len(light)):
            return None
        centres = np.stack([np.median(light[groups == state], axis=0) for state in range(k)])
        moved = _distances(light, centres).argmin(axis=1)
        if np.array_equal(moved, groups):
            break
        groups = moved
    if not all(_are_apart(light, groups, centres, a, b) for a, b in combinations(range(k), 2)):
        return None
    return Lights(centres[np.argsort(-np.bincount(groups, minlength=k), kind="stable")])


def _are_apart(
    light: Floats, groups: NDArray[np.intp], centres: Floats, one: int, other: int
) -> bool:
    way = centres[other] - centres[one]
    apart = float(np.linalg.norm(way))
    if apart < _STEPS_APART:
        return False
    widths = (
        float(np.sqrt((((light[groups == g] - centres[g]) @ way / apart) ** 2).mean()))
        for g in (one, other)
    )
    return apart >= _WIDTHS_APART * sum(widths)


def _distances(light: Floats, centres: Floats) -> Floats:
    """Return squared distances (n, k)."""
    return np.asarray(((light[:, None] - centres[None]) ** 2).sum(axis=-1))
