"""Causes: what is wrong with a picture, by name, and in which cells.

When the chart is above a threshold, the change that it sees is compared with the signatures of the faults
(`chart.signatures`), both without the modes in which the clean scene varies. It is named after the signature
with the most similar direction. What that signature explains is then subtracted, and the rest is named too
if it is large enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats
from lenswatch.detect.chart.broken import boxed, damaged
from lenswatch.detect.chart.chart import ChartState, LensChart
from lenswatch.detect.chart.features import CHANNELS, GRID
from lenswatch.detect.chart.light import light_of
from lenswatch.detect.chart.light_scales import LightScales
from lenswatch.detect.chart.looks import Look
from lenswatch.detect.chart.parts import QUICK, WINDOW, areas, row_median
from lenswatch.detect.chart.picture import LastPicture, covered, named, unit

__all__ = ["MAP", "Cause", "causes", "deviation_map"]


MAP = (4, 5)
_EVERYWHERE = tuple((row, column) for row in range(MAP[0]) for column in range(MAP[1]))
_BLUR = CHANNELS.index("blur")
_LASTING = 7  # images
_NOTABLE = 2.0  # deviations from which on a cell shows a change
_STRONG = 100.0  # strength of faults of the whole picture, which come first
_PART = 0.15  # share of the cells that "partly covered" looks at: the most changed ones
_SURELY_WHOLE = 0.85  # cosine: such a change is not that of a moved camera
_RECOGNISED = 0.3  # of the likeness of clean pictures: a scene that is recognised much better
_SMEARED = 0.7  # cosine of a blur that may be a long exposure, which displaces edges
_OF_LIGHT = ("darker", "brighter", "colour cast")
_LIT = 0.6  # cosine of such a change: no small move of the camera brings it
_LOCAL = 0.6  # factor that makes those cells' share of the change comparable with a cosine

# Names of a channel that falls and that rises. The cells of a change are those of the channels of its name.
_WORDS = {
    "luma": ("darker", "brighter"),
    "contrast": ("less contrast", None),
    "sharpness": ("blurred", None),
    "noise": ("blurred", "noisier"),
    "blue": ("colour cast", "colour cast"),
    "red": ("colour cast", "colour cast"),
    "blur": ("blurred", None),
}


@dataclass(frozen=True)
class Cause:
    """One named change.

    Attributes:
        name: darker, brighter, less contrast, blurred, noisier, colour cast, covered, partly
            covered, camera moved, damaged, frozen, black or burnt out.
        strength: 1 at the drift threshold.
        cells: (row, column) of the cells of the 4 x 5 map that show it.
    """

    name: str
    strength: float
    cells: tuple[tuple[int, int], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the object that answers and drift jobs carry."""
        cells = [list(cell) for cell in self.cells]
        return {"name": self.name, "strength": round(self.strength, 3), "cells": cells}


def causes(
    chart: LensChart, state: ChartState, drift_score: float, slow_score: float
) -> tuple[Cause, ...]:
    """Return the causes of a chart that is above either threshold, the strongest first.

    Args:
        chart: Fitted chart.
        state: State after the image in question.
        drift_score: Drift threshold of the chart's score.
        slow_score: Drift threshold of the score without re-centring.
    """
    found = list(_at_once(chart, state))
    pairs = (chart.score(state), drift_score), (chart.slow_score(state), slow_score)
    over = max((score / threshold for score, threshold in pairs if score is not None), default=0.0)
    if over > 1 and not found and chart.watch.repeated(state.scene):
        found.append(Cause("frozen", _STRONG - 2, _EVERYWHERE))
    elif over > 1 and not found:
        picture = _last(chart, state)
        found += _at_a_look(picture) or _by_signature(picture, chart, state, over)
    return tuple(sorted(found, key=lambda cause: -cause.strength))


def deviation_map(chart: LensChart, state: ChartState) -> Floats:
    """Return (4, 5): the largest deviation from clean footage among the channels of each cell.

    Deviations are without the modes in which the clean scene varies, and in the median of the last 7
    images, so that passing objects do not show.
    """
    if not len(state.cells):
        return np.zeros(MAP)
    residuals = chart.images.of(state.cells).residuals[-_LASTING:]
    lasting = row_median(np.moveaxis(residuals, 0, -1)).reshape(-1, *GRID)
    return np.asarray(_coarse(np.abs(lasting)).max(axis=0))


def _at_once(chart: LensChart, state: ChartState) -> Iterator[Cause]:
    watch, scene = chart.watch, state.scene
    plain = {
        "black": watch.black(scene),
        "burnt out": watch.burnt_out(scene),
        "frozen": watch.frozen(scene),
        "camera moved": watch.moved(scene),
    }
    for rank, (name, seen) in enumerate(plain.items()):
        if seen:
            yield Cause(name, _STRONG - rank, _EVERYWHERE)


def _last(chart: LensChart, state: ChartState) -> LastPicture:
    """Return the last picture beside the clean look that it belongs to.

    That is the look whose light it has, unless the scene of another is recognised much better: what darkens
    the day makes no night of it.
    """
    looks, thumb = chart.looks, state.scene.last
    assert thumb is not None  # there was a picture
    look = looks[0]
    if isinstance(chart.scales, LightScales):
        number = int(chart.scales.lights.nearest(light_of(state.cells[-1:]))[0])
        likeness = [each.likeness(thumb) / each.alike for each in looks]
        best = int(np.argmax(likeness))
        look = looks[best if likeness[best] > likeness[number] + _RECOGNISED else number]
    return LastPicture(look, state.cells[-1], thumb)


def _at_a_look(picture: LastPicture) -> list[Cause]:
    """Return what the last picture of a chart above a threshold shows beside the clean scene."""
    look, thumb = picture.look, picture.thumb
    if boxed(thumb, look.scene):
        return [Cause("camera moved", _STRONG - 4, _EVERYWHERE)]
    if damaged(thumb, look.scene, look.alike):
        return [Cause("damaged", _STRONG - 3, _EVERYWHERE)]
    if picture.turned_round:
        return [Cause("camera moved", _STRONG - 4, _EVERYWHERE)]
    name, cosine = picture.closest
    if look.in_place(thumb) or cosine > _SURELY_WHOLE:
        return []
    blur = float(np.median(picture.cells[_BLUR] - look.scales.median[_BLUR]))
    lit = name in _OF_LIGHT and cosine > _LIT
    smeared = name == "blurred" and cosine > _SMEARED
    if look.placing.moved(thumb, blur, smeared=smeared, lit=lit):
        return [Cause("camera moved", _STRONG - 4, _EVERYWHERE)]
    return []


def _by_signature(
    picture: LastPicture, chart: LensChart, state: ChartState, over: float
) -> Iterator[Cause]:
    """Yield the faults whose signatures resemble the change of the last images, the closest first.

    The first has the strength `over` of the score, the others their share of it. A change in few cells is
    only named "partly covered": the rest comes from passing objects.
    """
    look = picture.look
    found = named(look, unit(_change(look, state)))
    local, closest = _local_share(look, state), max(found[0][1], 1e-9)
    hides = covered(picture)
    few = local > max(closest, picture.closest[1]) and not picture.blurred
    if hides or few:
        closest = max(local, closest)
        colour = [("colour cast", closest / 2)] if hides and picture.tinted else []
        found = [(hides or "partly covered", closest), *colour]
    elif found[0][0] == "darker" and picture.veiled:
        found = [("less contrast", closest)]
    elif found[0][0] == "less contrast" and picture.grainy:
        found = [("noisier", closest)]
    for name, cosine in found:
        where = _where(name, picture, chart, state)
        yield Cause(name, over * cosine / closest, where)


def _local_share(look: Look, state: ChartState) -> float:
    """Return the share of the lasting change that lies in few cells, comparable with a cosine."""
    lasting = np.median(look.scales.without_modes(state.cells[-WINDOW:]), axis=0)
    whole = max(np.linalg.norm(lasting), np.linalg.norm(_change(look, state)), 1e-9)
    cells = np.sort((lasting**2).sum(axis=0).ravel())[::-1]
    return _LOCAL * float(np.sqrt(cells[: round(_PART * len(cells))].sum()) / whole)


def _change(look: Look, state: ChartState) -> Floats:
    """Return the mean deviations (7, 8, 10) of the last 3 images, without the modes."""
    return np.asarray(look.scales.without_modes(state.cells[-QUICK:]).mean(axis=0))


def _where(
    name: str, picture: LastPicture, chart: LensChart, state: ChartState
) -> tuple[tuple[int, int], ...]:
    if name == "covered":
        return _mostly(picture.changed)
    if name == "partly covered":
        local = areas(chart.scales, state.cells[-WINDOW:])[0].max(axis=0)
        return _mostly(local >= max(_NOTABLE, float(local.max()) / 2))
    recent = _change(picture.look, state)
    shown = np.zeros(recent.shape[1:])
    for channel, words in zip(CHANNELS, (_WORDS[c] for c in CHANNELS), strict=True):
        for sign, word in zip((-1, 1), words, strict=True):
            if word == name:
                shown = np.maximum(shown, sign * recent[CHANNELS.index(channel)])
    return _cells(_coarse(shown[None])[0] > _NOTABLE)


def _mostly(chosen: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """Return the cells of the map of which at least a half is chosen of (8, 10)."""
    return _cells(_coarse(chosen[None].astype(np.float64))[0] >= 0.5)


def _coarse(values: Floats) -> Floats:
    """Return means of 2 x 2 cells: (k, 8, 10) to (k, 4, 5)."""
    k = len(values)
    return np.asarray(values.reshape(k, MAP[0], 2, MAP[1], 2).mean(axis=(2, 4)), dtype=np.float64)


def _cells(chosen: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    return tuple((int(row), int(column)) for row, column in np.argwhere(chosen))
