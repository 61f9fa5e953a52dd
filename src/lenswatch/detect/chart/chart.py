"""The lens chart: a control chart on image statistics, the second statistic beside the MMD distance.

Everything here is a pure function of a fitted `LensChart`, which never changes, and a `ChartState`, which is
given and returned. The score of an image is the largest of the chart's parts (`chart.parts`), each less its
clean centre and in units of its variation in clean footage that it was not fitted to (`chart.fitting`).

A stream has a score from its first image on. The parts of the first 11 come from the images that there are,
with centres and units of their own, so that one threshold holds for all. Images that are taken far apart are
judged alone, each as a window of its own.

The chart follows slow daylight, but not fouling: at each image, a part's centre moves towards the part by
1/100 of their difference, and in all by no more than three times the part's wander between the blocks of the
clean footage. A second score without this re-centring sees what grows too slowly for the first. Both begin
with the first full window.
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
from lenswatch.detect.chart.features import AGREEMENT, GRID, Measured
from lenswatch.detect.chart.light_scales import AnyScales, LightScales, with_agreement
from lenswatch.detect.chart.looks import Look, Seen, looks_of
from lenswatch.detect.chart.parts import PARTS, Scales, parts_of_window
from lenswatch.detect.chart.recent import RecentImages
from lenswatch.detect.chart.scene import SceneLook, SceneState, SceneWatch
from lenswatch.errors import ArtefactError, StoreError

__all__ = ["ChartState", "LensChart", "scores"]

_REACH = 3.0  # times the wander: limit of a centre's shift
_CHANNEL_ROWS = AGREEMENT + 1


@dataclass(frozen=True)
class LensChart:
    """A lens chart that was fitted to a stream's clean pictures.

    Attributes:
        scales: Location and scatter of each channel in each cell, for each light state if there are several.
        scene: (64, 80) uint8, median of the clean pictures' luma.
        centre: (w, 42) median of each part, for 1, 2, ... images up to a full window.
        wander: (42,) 95th percentile of each part's distance from its centre, out of sample, of full windows.
        spread: (w, 42) unit of each part's distance from its centre; with a full window, from the centre
            that has followed.
        slow_spread: (42,) unit of each part's distance from its clean centre, of full windows.
        alone: (2, 42) the last two for an image that is judged alone.
        far_apart: True if the clean images were taken far apart.
        memory: Images: time constant with which a centre follows.
        watch: Finds frozen, black, burnt-out and displaced pictures.
        seen: How well clean pictures agree with the scene; None if an earlier version fitted the chart.
    """

    scales: AnyScales
    scene: Pixels
    centre: Floats
    wander: Floats
    spread: Floats
    slow_spread: Floats
    alone: Floats
    far_apart: bool
    memory: float
    watch: SceneWatch
    seen: Seen | None = None

    @property
    def window(self) -> int:
        """Images of a full window."""
        return len(self.centre)

    @cached_property
    def digest(self) -> str:
        """Name of the parameters, so that a state is not used with another chart."""
        content = b"".join(np.ascontiguousarray(a).tobytes() for a in self._arrays().values())
        return hashlib.sha256(content).hexdigest()[:16]

    @cached_property
    def looks(self) -> tuple[Look, ...]:
        """The clean looks of the camera, one for each light state."""
        return looks_of(self.scales, self.scene, self.watch.alike, self.seen)

    @cached_property
    def images(self) -> RecentImages:
        """The images of windows that were measured lately."""
        return RecentImages(self.scales)

    @cached_property
    def _lately(self) -> _Lately:
        return _Lately(self)

    def prepare(self, measured: Measured) -> None:
        """Find out all that the next `update` with these measurements needs but the state.

        A caller that has to wait for something else does this meanwhile. Any thread may do it.
        """
        self.images.know(self._lately.of(measured).cells)

    def cells(self, measured: Measured) -> Floats32:
        """Return the seven channels and the agreement with the scene: (..., 8, 8, 10)."""
        return with_agreement(self.scales, self.scene, measured)

    def start(self) -> ChartState:
        """Return the state of a stream without pictures."""
        empty = np.empty((0, _CHANNEL_ROWS, *GRID), np.float32)
        shift = np.zeros(len(PARTS))
        return ChartState(self.digest, empty, shift, SceneState(), None, shift, alone=False)

    def update(
        self,
        state: ChartState,
        measured: Measured,
        far_apart: bool | None = None,
        hold: float | None = None,
    ) -> ChartState:
        """Return the state after one more image; a state of another chart starts again.

        Args:
            state: State after the image before.
            measured: Measurements of the image.
            far_apart: True if it was taken long after the one before, so that it is judged alone. None if
                that is not known; then it is so if the clean images were.
            hold: Score above which the centres stay where they are; None lets them follow always.
        """
        if state.chart != self.digest:
            state = self.start()
        alone = self.far_apart if far_apart is None else far_apart
        kept = len(state.cells) if alone else max(0, len(state.cells) + 1 - self.window)
        image = self._lately.of(measured)
        recent = np.concatenate([state.cells[kept:], image.cells[None]])
        known = self.images.of(recent)
        found = parts_of_window(known.level, known.residuals, known.middle, recent[:, AGREEMENT])
        away = found - self.centre[len(recent) - 1]
        moved = replace(
            state,
            cells=recent,
            scene=self.watch.update(state.scene, image.look),
            away=away,
            before=state.shift,
            alone=alone,
        )
        if len(recent) < self.window and not alone:
            return moved
        if hold is not None and scores(_known(self.excesses(moved))) > hold:
            return moved
        return replace(moved, shift=self.follow(state.shift, away))

    def follow(self, shift: Floats, away: Floats) -> Floats:
        """Return the shift of the centres after parts were `away` from them: bounded re-centring."""
        reach = _REACH * self.wander
        return np.clip(shift + (away - shift) / self.memory, -reach, reach)

    def excesses(self, state: ChartState) -> Floats | None:
        """Return each part's signed distance from its moved centre in units of its spread; None at first."""
        if state.away is None:
            return None
        spread = self.alone[0] if state.alone else self.spread[len(state.cells) - 1]
        return np.asarray((state.away - state.before) / spread)

    def slow_excesses(self, state: ChartState) -> Floats | None:
        """Return each part's signed distance from its clean centre in units of its slow spread.

        None before the window is full, unless the image is judged alone.
        """
        if state.away is None or (len(state.cells) < self.window and not state.alone):
            return None
        return np.asarray(state.away / (self.alone[1] if state.alone else self.slow_spread))

    def score(self, state: ChartState) -> float | None:
        """Return the largest excess; None before the first image."""
        return _score(self.excesses(state))

    def slow_score(self, state: ChartState) -> float | None:
        """Return the score without re-centring; None before the window is full."""
        return _score(self.slow_excesses(state))

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
            several = LightScales.from_arrays(a) if "lights" in a else None
            scales = Scales.from_arrays(a) if several is None else several
            watch = SceneWatch.from_arrays(a["scene"], a["watch"])
            seen = Seen.from_arrays(a) if "seen" in a else None
            chart = cls(
                scales,
                a["scene"],
                a["centre"],
                a["wander"],
                a["spread"],
                a["slow_spread"],
                a["alone"],
                bool(a["far_apart"]),
                float(a["memory"]),
                watch,
                seen,
            )
        except (KeyError, ValueError, OSError, EOFError) as error:
            raise ArtefactError(
                f"the lens chart cannot be read ({error}); calibrate again"
            ) from None
        if chart.digest != document.get("digest"):
            raise ArtefactError("the lens chart is not the one that was saved; calibrate again")
        return chart

    def _arrays(self) -> dict[str, NDArray[Any]]:
        seen = {} if self.seen is None else self.seen.to_arrays()
        return {
            **seen,
            **self.scales.to_arrays(),
            "scene": self.scene,
            "centre": self.centre,
            "wander": self.wander,
            "spread": self.spread,
            "slow_spread": self.slow_spread,
            "alone": self.alone,
            "far_apart": np.array(self.far_apart),
            "memory": np.array(self.memory),
            "watch": self.watch.to_array(),
        }


@dataclass(frozen=True)
class _Image:
    """An image by itself, as a chart sees it.

    Attributes:
        measured: Its measurements.
        cells: (8, 8, 10), the channels and the agreement with the scene.
        look: As the scene watch sees it.
    """

    measured: Measured
    cells: Floats32
    look: SceneLook


class _Lately:
    """The last image that a chart looked at, for any number of threads.

    Args:
        chart: The chart.
    """

    def __init__(self, chart: LensChart) -> None:
        self._chart = chart
        self._last: _Image | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle without the image."""
        return _Lately, (self._chart,)

    def of(self, measured: Measured) -> _Image:
        """Return an image by its measurements, which must not be changed."""
        last = self._last
        if last is not None and last.measured is measured:
            return last
        chart = self._chart
        found = _Image(measured, chart.cells(measured), chart.watch.look(measured.thumbs))
        self._last = found
        return found


@dataclass(frozen=True)
class ChartState:
    """State of a stream's chart between images.

    Attributes:
        chart: Digest of the chart it belongs to.
        cells: (m, 8, 8, 10) float32, cells of the last m images, at most a full window of them.
        shift: (42,) shift of the centres.
        scene: State of the scene watch.
        away: (42,) distance of the last image's parts from the fitted centres; None before the first.
        before: (42,) `shift` before the last image, with which that image is scored.
        alone: The last image is judged alone.
    """

    chart: str
    cells: Floats32
    shift: Floats
    scene: SceneState
    away: Floats | None
    before: Floats
    alone: bool

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
            alone = bool(kept["alone"])
            before, shift = kept["before"], kept["shift"]
            return cls(document["chart"], kept["cells"], shift, scene, away, before, alone)
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
            "alone": np.array(self.alone),
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


def scores(excesses: Floats) -> Floats:
    """Return the largest of each row of excesses (..., 42)."""
    return np.asarray(np.abs(excesses).max(axis=-1))


def _known(excesses: Floats | None) -> Floats:
    assert excesses is not None  # there was an image
    return excesses


def _score(excesses: Floats | None) -> float | None:
    return None if excesses is None else float(scores(excesses))
