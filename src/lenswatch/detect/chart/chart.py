"""The lens chart: a control chart on image statistics, the second statistic beside the MMD distance.

Everything here is a pure function of a fitted `LensChart`, which never changes, and a `ChartState`, which is
given and returned. The score of an image is the largest of the chart's parts (`chart.parts`), each less its
clean centre and in units of its variation in clean footage that it was not fitted to.

The chart follows slow daylight, but not fouling: at each image, a part's centre moves towards the part by
1/200 of their difference, and in all by no more than three times the part's wander between the halves of the
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
_MEMORY = 200.0  # images: time constant with which a centre follows
_REACH = 3.0  # times the wander: limit of a centre's shift
_LEAST = 1.0  # deviations: smallest unit of a part
_TAIL_FACTOR = 1.5  # times the expected run time, to which the tail of the scores is extended
_CHANNEL_ROWS = AGREEMENT + 1


@dataclass(frozen=True)
class LensChart:
    """A lens chart that was fitted to a stream's clean pictures.

    Attributes:
        scales: Location and scatter of each channel in each cell.
        scene: (64, 80) uint8, median of the clean pictures' luma.
        centre: (42,) median of each part.
        wander: (42,) 95th percentile of each part's distance from its centre, out of sample.
        spread: (42,) unit of each part's distance from its re-centred centre.
        watch: Finds frozen, black, burnt-out and displaced pictures.
    """

    scales: Scales
    scene: Pixels
    centre: Floats
    wander: Floats
    spread: Floats
    watch: SceneWatch

    @cached_property
    def digest(self) -> str:
        """Name of the parameters, so that a state is not used with another chart."""
        content = b"".join(np.ascontiguousarray(a).tobytes() for a in self._arrays().values())
        return hashlib.sha256(content).hexdigest()[:16]

    @cached_property
    def signatures(self) -> tuple[tuple[str, ...], Floats]:
        """Names of faults, and directions (s, 560) of their changes without the modes."""
        names, changes = zip(*signatures(self.scales.median), strict=True)
        moved = self.scales.without_modes(self.scales.median + np.stack(changes))
        flat = moved.reshape(len(names), -1)
        return names, flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)

    def cells(self, measured: Measured) -> Floats32:
        """Return the seven channels and the agreement with the scene: (..., 8, 8, 10)."""
        seen = agreement(measured.thumbs, self.scene)
        return np.concatenate([measured.cells, seen[..., None, :, :]], axis=-3)

    def start(self) -> ChartState:
        """Return the state of a stream without pictures."""
        empty = np.empty((0, _CHANNEL_ROWS, *GRID), np.float32)
        shift = np.zeros(len(PARTS))
        return ChartState(self.digest, empty, shift, SceneState(), None, shift)

    def update(self, state: ChartState, measured: Measured) -> ChartState:
        """Return the state after one more image; a state of another chart starts again."""
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
        """Return the shift of the centres after parts were `away` from them: bounded re-centring."""
        return np.clip(
            shift + (away - shift) / _MEMORY, -_REACH * self.wander, _REACH * self.wander
        )

    def excesses(self, state: ChartState) -> Floats:
        """Return each part's signed distance from its moved centre in units of its spread; 0 at first."""
        if state.away is None:
            return np.zeros(len(PARTS))
        return (state.away - state.before) / self.spread

    def slow_excesses(self, state: ChartState) -> Floats:
        """Return each part's signed distance from its clean centre in units of its wander; 0 at first."""
        return np.zeros(len(PARTS)) if state.away is None else state.away / self.wander

    def score(self, state: ChartState) -> float:
        """Return the largest excess; 0 for the first 11 images."""
        return float(np.max(np.abs(self.excesses(state))))

    def slow_score(self, state: ChartState) -> float:
        """Return the largest excess without re-centring."""
        return float(np.max(np.abs(self.slow_excesses(state))))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that `from_json` reads: the arrays in NumPy's format, as base64."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **self._arrays())
        return {"arrays": base64.b64encode(buffer.getvalue()).decode(), "digest": self.digest}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ArtefactError: the document is damaged.
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
    """State of a stream's chart between images.

    Attributes:
        chart: Digest of the chart it belongs to.
        cells: (m, 8, 8, 10) float32, cells of the last m <= 12 images.
        shift: (42,) shift of the centres.
        scene: State of the scene watch.
        away: (42,) distance of the last image's parts from the fitted centres; None before 12 images.
        before: (42,) `shift` before the last image, with which that image is scored.
    """

    chart: str
    cells: Floats32
    shift: Floats
    scene: SceneState
    away: Floats | None
    before: Floats

    def to_bytes(self) -> bytes:
        """Return a line of JSON, then the bytes of the arrays: less than 48 KiB."""
        arrays = self._arrays()
        shapes = {name: [a.dtype.str, *a.shape] for name, a in arrays.items()}
        head = json.dumps({"chart": self.chart, "arrays": shapes}).encode()
        return head + b"\n" + b"".join(a.tobytes() for a in arrays.values())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            StoreError: the bytes are damaged.
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
    """A fitted chart with its thresholds.

    Attributes:
        chart: Fitted chart.
        threshold: Thresholds of the score.
        slow: Thresholds of the score without re-centring.
        runs: Scores of the out-of-sample runs that `threshold` comes from.
    """

    chart: LensChart
    threshold: Threshold
    slow: Threshold
    runs: tuple[Floats, ...]


def fit_chart(clean: Measured, *, ert: float, factor: float = 1.0) -> ChartFit:
    """Fit the chart to clean pictures in time order and calibrate it by the half-split.

    >>> from lenswatch.detect.chart.features import measure, measure_all, view
    >>> rng = np.random.default_rng(0)
    >>> clean = rng.integers(80, 120, (75, 128, 160, 3), np.uint8)
    >>> fit = fit_chart(measure_all(clean), ert=200)
    >>> chart, state = fit.chart, fit.chart.start()
    >>> for picture in clean[-15:]:
    ...     state = chart.update(state, measure(view(picture)))
    >>> chart.score(state) > fit.threshold.drift
    False
    >>> state = chart.update(state, measure(view(clean[-1] // 2)))  # half of the light
    >>> chart.score(state) > fit.threshold.drift
    True

    Args:
        clean: Measurements of the pictures.
        ert: Expected run time asked for, in images.
        factor: Factor by which the run time of the chart alone is longer, since another statistic raises
            false alarms too.

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
    factor *= _TAIL_FACTOR
    return ChartFit(chart, _calibrate(runs, ert, factor), _calibrate(slow, ert, factor), runs)


def _run(clean: Measured, scales: Scales, fit: slice, run: slice) -> Floats:
    """Return the distances of one half's parts from the centres of the other half.

    Only the scatters are those of all the footage. Those of a half are smaller (one day where there are
    two), and the thresholds must be in the units that live images are measured in. The run half therefore
    contributes to its own units, which makes its scores somewhat too small; `_TAIL_FACTOR` corrects that.
    """
    scene = median_scene(clean.thumbs[fit])
    half = scales.centred_on(clean.cells[fit])
    centre = np.median(parts(half, _with_agreement(clean[fit], scene)), axis=0)
    return np.asarray(parts(half, _with_agreement(clean[run], scene)) - centre)


def _with_agreement(measured: Measured, scene: Pixels) -> Floats32:
    seen = agreement(measured.thumbs, scene)
    return np.concatenate([measured.cells, seen[:, None]], axis=1)


def _followed(chart: LensChart, away: Floats) -> Floats:
    """Return the distances of parts from centres that follow them."""
    shift, found = np.zeros(away.shape[1]), []
    for row in away:
        found.append(row - shift)
        shift = chart.follow(shift, row)
    return np.array(found)


def _usual(runs: list[Floats]) -> Floats:
    return np.asarray(np.percentile(np.abs(np.concatenate(runs)), 95, axis=0))


def _spread(runs: list[Floats]) -> Floats:
    """Return the geometric mean of the usual and the largest distance of each part."""
    largest = np.max(np.abs(np.concatenate(runs)), axis=0)
    return np.asarray(np.sqrt(_usual(runs) * largest), dtype=np.float64)


def _padded(scores: Floats) -> Floats:
    """Return one score for each image: NaN before the first window is full."""
    return np.concatenate([np.full(WINDOW - 1, np.nan), scores])


def _calibrate(runs: tuple[Floats, ...] | list[Floats], ert: float, factor: float) -> Threshold:
    return calibrate_scores(runs, ert=ert, tail="multiplicative", ert_factor=factor, least=_LEAST)
