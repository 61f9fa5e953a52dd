"""The lens chart: a control chart on image statistics, the second opinion beside the MMD distance.

A pure function of a fitted `LensChart`, which never changes, and a `ChartState`, which goes in and
comes out. The score of an image is the largest of the chart's parts (`lens_parts`), each less its
clean centre and in units of what it does in clean footage that it was not fitted to.

Slow daylight is followed, fouling is not: a part's centre moves towards the part by 1/200 of their
difference at each image, and by no more than three times what the part wandered between the halves of the
clean footage. A second score without this re-centring sees what grows too slowly for the first.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats, Floats32, Pixels
from lenswatch.detect.chart.features import AGREEMENT, GRID, Measured, agreement, median_scene
from lenswatch.detect.chart.parts import PARTS, WINDOW, Scales, parts
from lenswatch.detect.chart.scene import SceneState, SceneWatch
from lenswatch.detect.chart.signatures import signatures
from lenswatch.detect.thresholds import Threshold, calibrate_scores, half_split
from lenswatch.errors import ArtefactError, InputError, StoreError

__all__ = ["FEWEST", "ChartFit", "ChartState", "LensChart", "fit_chart"]


FEWEST = 5 * WINDOW  # clean images: a gap, and two halves of two windows each
_MEMORY = 200.0  # images over which a centre follows
_REACH = 3.0  # times the wander: how far it may
_LEAST = 1.0  # deviations: what no part need be finer than
_TAIL = 1.5  # times the expected run time that the tail of the scores is extended to
_CHANNEL_ROWS = AGREEMENT + 1


@dataclass(frozen=True)
class LensChart:
    """What a stream looks like when its lens is clean.

    Attributes:
        scales: of each channel in each cell.
        scene: (64, 80) uint8, the median of the clean pictures' luma.
        centre: (parts,), the median of each part.
        wander: (parts,), the 95th percentile of each part's distance from its centre, out of sample.
        spread: (parts,), the unit of each part's distance once it is re-centred.
        watch: for frozen, black, burnt-out and moved.
    """

    scales: Scales
    scene: Pixels
    centre: Floats
    wander: Floats
    spread: Floats
    watch: SceneWatch

    @cached_property
    def digest(self) -> str:
        """Names the parameters, so that a state never meets those of another chart."""
        content = b"".join(np.ascontiguousarray(a).tobytes() for a in self._arrays().values())
        return hashlib.sha256(content).hexdigest()[:16]

    @cached_property
    def signatures(self) -> tuple[tuple[str, ...], Floats]:
        """Names of faults, and the directions, (s, 560), in which they move what the modes leave."""
        names, changes = zip(*signatures(self.scales.median), strict=True)
        moved = self.scales.without_modes(self.scales.median + np.stack(changes))
        flat = moved.reshape(len(names), -1)
        return names, flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)

    def cells(self, measured: Measured) -> Floats32:
        """The seven channels and the agreement with the scene: (..., 8, 8, 10)."""
        seen = agreement(measured.thumbs, self.scene)
        return np.concatenate([measured.cells, seen[..., None, :, :]], axis=-3)

    def start(self) -> ChartState:
        """The state of a stream that begins."""
        empty = np.empty((0, _CHANNEL_ROWS, *GRID), np.float32)
        shift = np.zeros(len(PARTS))
        return ChartState(self.digest, empty, shift, SceneState(), None, shift)

    def update(self, state: ChartState, measured: Measured) -> ChartState:
        """The state after one more image. A state of another chart is begun anew."""
        if state.chart != self.digest:
            state = self.start()
        recent = np.concatenate([state.cells[1 - WINDOW :], self.cells(measured)[None]])
        scene = self.watch.update(state.scene, measured.thumbs)
        moved = replace(state, cells=recent, scene=scene)
        if len(recent) < WINDOW:
            return moved
        away = parts(self.scales, recent)[0] - self.centre
        return replace(moved, away=away, shift=self.follow(state.shift, away), before=state.shift)

    def follow(self, shift: Floats, away: Floats) -> Floats:
        """The moved centres after a part was `away` from its own: bounded re-centring."""
        return np.clip(
            shift + (away - shift) / _MEMORY, -_REACH * self.wander, _REACH * self.wander
        )

    def excesses(self, state: ChartState) -> Floats:
        """Each part's distance from its moved centre, in units of its spread, signed; 0 at first."""
        if state.away is None:
            return np.zeros(len(PARTS))
        return (state.away - state.before) / self.spread

    def slow_excesses(self, state: ChartState) -> Floats:
        """As `excesses`, without re-centring."""
        return np.zeros(len(PARTS)) if state.away is None else state.away / self.wander

    def score(self, state: ChartState) -> float:
        """The largest excess; 0 for the first 11 images."""
        return float(np.max(np.abs(self.excesses(state))))

    def slow_score(self, state: ChartState) -> float:
        """The largest excess without re-centring."""
        return float(np.max(np.abs(self.slow_excesses(state))))

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back: the arrays, in NumPy's format, as base64."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **self._arrays())
        return {"arrays": base64.b64encode(buffer.getvalue()).decode(), "digest": self.digest}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ArtefactError: it is damaged.
        """
        try:
            raw = base64.b64decode(document["arrays"], validate=True)
            with np.load(io.BytesIO(raw), allow_pickle=False) as kept:
                a = {name: kept[name] for name in kept.files}
            scales = Scales(a["median"], a["scatter"], a["modes"], a["residual"])
            watch = SceneWatch.from_arrays(a["scene"], a["watch"])
            chart = cls(scales, a["scene"], a["centre"], a["wander"], a["spread"], watch)
        except (KeyError, ValueError, OSError, EOFError) as error:
            raise ArtefactError(
                f"the lens chart cannot be read ({error}); calibrate again"
            ) from None
        if chart.digest != document.get("digest"):
            raise ArtefactError("the lens chart is not the one that was saved; calibrate again")
        return chart

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "median": self.scales.median,
            "scatter": self.scales.scatter,
            "modes": self.scales.modes,
            "residual": self.scales.residual,
            "scene": self.scene,
            "centre": self.centre,
            "wander": self.wander,
            "spread": self.spread,
            "watch": self.watch.to_array(),
        }


@dataclass(frozen=True)
class ChartState:
    """What a stream's chart remembers between images.

    Attributes:
        chart: digest of the chart it belongs to.
        cells: (m, 8, 8, 10) float32, of the last m <= 12 images.
        shift: (parts,), how far the centres have moved.
        scene: for frozen and moved.
        away: (parts,), of the last image from the fitted centres; None before 12 images.
        before: (parts,), `shift` before the last image, which that image is judged by.
    """

    chart: str
    cells: Floats32
    shift: Floats
    scene: SceneState
    away: Floats | None
    before: Floats

    def to_bytes(self) -> bytes:
        """A line of JSON, then the arrays as they lie in memory: under 48 KiB."""
        arrays = self._arrays()
        shapes = {name: [a.dtype.str, *a.shape] for name, a in arrays.items()}
        head = json.dumps({"chart": self.chart, "arrays": shapes}).encode()
        return head + b"\n" + b"".join(a.tobytes() for a in arrays.values())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            StoreError: it is damaged.
        """
        head, _, body = data.partition(b"\n")
        try:
            document = json.loads(head)
            kept = _unpacked(document["arrays"], body)
            away = kept["away"] if kept["away"].size else None
            scene = SceneState.from_arrays(kept)
            return cls(document["chart"], kept["cells"], kept["shift"], scene, away, kept["before"])
        except (KeyError, ValueError, TypeError) as error:
            raise StoreError(
                f"a stored chart cannot be read ({error}); clear it with `lenswatch reset STREAM`"
            ) from None

    def _arrays(self) -> dict[str, NDArray[Any]]:
        own = {
            "cells": self.cells,
            "shift": self.shift,
            "away": np.empty(0) if self.away is None else self.away,
            "before": self.before,
        }
        return {name: np.ascontiguousarray(a) for name, a in (own | self.scene.to_arrays()).items()}


def _unpacked(shapes: Mapping[str, list[Any]], body: bytes) -> dict[str, NDArray[Any]]:
    found, start = {}, 0
    for name, (kind, *shape) in shapes.items():
        count = math.prod(shape)
        values = np.frombuffer(body, np.dtype(kind), count, start)
        found[name] = values.reshape(shape).copy()
        start += values.nbytes
    if start != len(body):
        raise ValueError(f"{len(body)} bytes instead of {start}")
    return found


@dataclass(frozen=True)
class ChartFit:
    """A fitted chart with its thresholds and the out-of-sample runs they come from."""

    chart: LensChart
    threshold: Threshold
    slow: Threshold
    runs: tuple[Floats, ...]


def fit_chart(clean: Measured, *, ert: float, share: float = 1.0) -> ChartFit:
    """Fit the chart to clean pictures in time order and calibrate it by the half-split.

    Args:
        clean: what was measured of them.
        ert: the expected run time asked for.
        share: its threshold is for that many times `ert`, as others raise alarms too.

    Raises:
        InputError: too few pictures.
    """
    if len(clean) < FEWEST:
        raise InputError(
            f"{len(clean)} clean pictures are too few for a chart; give {FEWEST} or more"
        )
    scales, scene = Scales.fit(clean.cells), median_scene(clean.thumbs)
    away = [_run(clean, scales, fit, run) for fit, run in half_split(len(clean), WINDOW)]
    wander = np.maximum(_usual(away), _LEAST)
    centre = np.median(parts(scales, _with_agreement(clean, scene)), axis=0)
    watch = SceneWatch.fit(scene, clean.thumbs)
    whole = LensChart(scales, scene, centre, wander, np.ones_like(wander), watch)
    followed = [_followed(whole, run) for run in away]
    chart = replace(whole, spread=np.maximum(_spread(followed), _LEAST))
    runs = tuple(_padded(np.max(np.abs(run) / chart.spread, axis=1)) for run in followed)
    slow = [_padded(np.max(np.abs(run) / wander, axis=1)) for run in away]
    factor = share * _TAIL
    return ChartFit(chart, _calibrate(runs, ert, factor), _calibrate(slow, ert, factor), runs)


def _run(clean: Measured, scales: Scales, fit: slice, run: slice) -> Floats:
    """The parts over one half, less their centres, of a chart that was fitted on the other.

    Only the scatters are that of all the footage: a half has less of it (one day where there are two),
    and the thresholds must be in the units that live images are measured in. That the run half had
    a share in its own units makes its scores too small by some; `_TAIL` makes up for it.
    """
    scene = median_scene(clean.thumbs[fit])
    half = scales.centred_on(clean.cells[fit])
    centre = np.median(parts(half, _with_agreement(clean[fit], scene)), axis=0)
    return np.asarray(parts(half, _with_agreement(clean[run], scene)) - centre)


def _with_agreement(measured: Measured, scene: Pixels) -> Floats32:
    seen = agreement(measured.thumbs, scene)
    return np.concatenate([measured.cells, seen[:, None]], axis=1)


def _followed(chart: LensChart, away: Floats) -> Floats:
    """Distances from centres that follow."""
    shift, found = np.zeros(away.shape[1]), []
    for row in away:
        found.append(row - shift)
        shift = chart.follow(shift, row)
    return np.array(found)


def _usual(runs: list[Floats]) -> Floats:
    return np.asarray(np.percentile(np.abs(np.concatenate(runs)), 95, axis=0))


def _spread(runs: list[Floats]) -> Floats:
    """Between the usual and the largest distance: their geometric mean."""
    largest = np.max(np.abs(np.concatenate(runs)), axis=0)
    return np.asarray(np.sqrt(_usual(runs) * largest), dtype=np.float64)


def _padded(scores: Floats) -> Floats:
    """One score an image: none for the images before the first window is full."""
    return np.concatenate([np.full(WINDOW - 1, np.nan), scores])


def _calibrate(runs: tuple[Floats, ...] | list[Floats], ert: float, factor: float) -> Threshold:
    return calibrate_scores(runs, ert=ert, tail="multiplicative", ert_factor=factor, least=_LEAST)
