"""Places in the time order at which the view or the exposure changes for good; arrays in, positions out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lenswatch.detect.arrays import Floats32, Pixels

__all__ = ["Change", "changes"]

SPAN = 5  # pictures on each side that are compared
MOVED = 0.5  # correlation of the scene before and after, below which the view has changed
STEADY = 0.7  # correlation within each side, without which nothing can be said
EXPOSURE = 40.0  # grey levels between both sides, with no more than a quarter of that within each


class Change(NamedTuple):
    """A change between two neighbouring pictures.

    Attributes:
        at: Position of the first picture after it.
        what: "view" or "exposure".
        size: Correlation of the scene before and after; or the difference of the mean grey level.
    """

    at: int
    what: str
    size: float


def changes(thumbs: Pixels, luma: Floats32) -> list[Change]:
    """Return the changes of view and of exposure, in their order.

    Args:
        thumbs: (n, 64, 80) uint8 luma in time order.
        luma: (n,) mean grey level.
    """
    found: list[Change] = []
    correlations = {at: _across(thumbs, at) for at in range(SPAN, len(thumbs) - SPAN + 1)}
    for at, correlation in correlations.items():
        near = [correlations[i] for i in range(at - SPAN, at + SPAN + 1) if i in correlations]
        if correlation < MOVED and correlation == min(near) and not _recurs(thumbs, at):
            found.append(Change(at, "view", correlation))
    moved = {each.at for each in found}
    steps = {at: _step(luma, at) for at in correlations}
    for at, step in steps.items():
        near = [abs(steps[i]) for i in range(at - SPAN, at + SPAN + 1) if i in steps]
        if abs(step) >= EXPOSURE and abs(step) == max(near) and at not in moved:
            found.append(Change(at, "exposure", step))
    return sorted(found)


def _across(thumbs: Pixels, at: int) -> float:
    """Return the correlation of the scenes before and after a place; 1 where either is not steady."""
    before, after = thumbs[at - SPAN : at], thumbs[at : at + SPAN]
    scenes = [np.median(part, axis=0) for part in (before, after)]
    if not all(_is_steady(part) for part in (before, after)):
        return 1.0
    return _correlation(*scenes)


def _recurs(thumbs: Pixels, at: int) -> bool:
    """Return True when the scene of one side is seen on the other too, as day and night are."""
    before = np.median(thumbs[at - SPAN : at], axis=0)
    after = np.median(thumbs[at : at + SPAN], axis=0)
    return any(_correlation(before, each) > STEADY for each in thumbs[at:]) or any(
        _correlation(after, each) > STEADY for each in thumbs[:at]
    )


def _is_steady(part: Pixels) -> bool:
    """Return True when each picture shows the scene of the others."""
    return all(
        _correlation(np.median(np.delete(part, i, axis=0), axis=0), part[i]) > STEADY
        for i in range(len(part))
    )


def _step(luma: Floats32, at: int) -> float:
    """Return the step of the mean grey level at a place; 0 where it drifts on either side."""
    before, after = luma[at - SPAN : at], luma[at : at + SPAN]
    step = float(np.median(after) - np.median(before))
    drift = max(float(np.ptp(before)), float(np.ptp(after)))
    return step if drift <= abs(step) / 4 else 0.0


def _correlation(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    x, y = (each.astype(np.float64).ravel() for each in (a, b))
    x, y = x - x.mean(), y - y.mean()
    length = float(np.linalg.norm(x) * np.linalg.norm(y))
    return 1.0 if length < 1e-6 * len(x) else float(x @ y) / length
