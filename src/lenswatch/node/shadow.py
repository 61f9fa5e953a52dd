"""A reference in shadow: it judges the same pictures beside the one in use, and decides nothing.

`storage/reference/shadow` names it. Its verdict travels in each drift job as `shadow`, so that both can be
compared on the same pictures before the switch. Whatever goes wrong with it leaves the verdict as it is.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lenswatch.config import Config
from lenswatch.detect.chart.features import Measured, measure, view
from lenswatch.detect.mmd import Entry, FittedMMD, Window
from lenswatch.errors import LenswatchError, StoreError
from lenswatch.node.clean_footage import embed_picture
from lenswatch.node.clock import Place
from lenswatch.node.current import Current
from lenswatch.node.judge import Judge
from lenswatch.node.request import Request
from lenswatch.node.store import shadows
from lenswatch.node.stream import StreamState
from lenswatch.reference.artefact import Reference
from lenswatch.reference.paths import SHADOW, reference_folder
from lenswatch.reference.pictures import Picture, read_picture, read_picture_file

__all__ = ["SHADOWED", "SeenByShadow", "Shadow"]

log = logging.getLogger(__name__)

# The numbers of a verdict that travel.
SHADOWED = (
    *("drift", "warning", "alarm"),
    *("distance", "drift_distance", "warning_distance"),
    *("score", "drift_score", "warning_score"),
)


@dataclass(frozen=True)
class SeenByShadow:
    """All that the reference in shadow knows of a picture before its stream's state.

    Attributes:
        request: The caller's arguments.
        reference: The reference.
        fitted: Its detector.
        judge: The judge that the calibration of the stream makes under it.
        entry: The picture's embedding.
        measured: The picture's measurements for the lens chart; None without one.
    """

    request: Request
    reference: Reference
    fitted: FittedMMD
    judge: Judge
    entry: Entry
    measured: Measured | None


class Shadow:
    """The reference in shadow of one storage folder, looked for at each picture.

    Args:
        config: The settings.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._file = reference_folder(config.storage_path) / SHADOW
        self._loaded: Current | None = None
        self._told = ""  # the last problem that was logged

    def look(
        self,
        source: bytes | Path | Picture,
        request: Request,
        picture: Picture,
        in_use: Reference,
    ) -> SeenByShadow | None:
        """Encode and measure a picture; None if no reference is in shadow, or that cannot be done.

        Args:
            source: The picture as it came.
            request: The caller's arguments.
            picture: As it was decoded for the reference in use.
            in_use: The reference in use.
        """
        if not self._file.exists():
            self._loaded = None
            return None
        try:
            return self._look(source, request, picture, in_use)
        except (LenswatchError, OSError) as error:
            problem = str(error)
        self._tell(problem)
        return None

    def judge(self, connection: sa.Connection, seen: SeenByShadow, placed: Place) -> dict[str, Any]:
        """Judge a picture, keep the state of its stream, and return the part of the answer on that.

        Args:
            connection: The transaction in which the picture is recorded.
            seen: The picture.
            placed: Its place in the time of its stream. A late one is judged by itself.
        """
        digest, stream = seen.reference.digest, seen.request.stream
        live = self._state(shadows.state_of(connection, stream, digest), seen.fitted)
        state = self._start(seen.fitted) if placed.late else replace(live, newest=placed.newest)
        pushed = state.window.push(seen.entry, seen.fitted.window_size)
        state = replace(state, window=pushed, pictures=state.pictures + 1)
        far_apart = None if placed.late else placed.after_a_gap(live.newest)
        state = seen.judge.update_chart(state, seen.measured, far_apart)
        state, verdict = seen.judge.judge(seen.fitted, state, seen.request)
        if not placed.late:
            shadows.put_state(connection, stream, digest, state.to_bytes())
        told = {name: verdict[name] for name in SHADOWED}
        told["alarm"] = live.alarm.raised if placed.late else verdict["alarm"]
        return {"shadow": {"model": seen.reference.model} | told}

    def _look(
        self,
        source: bytes | Path | Picture,
        request: Request,
        picture: Picture,
        in_use: Reference,
    ) -> SeenByShadow | None:
        if self._loaded is None:
            self._loaded = Current(self._config, keep_calibrations=False, pointer=SHADOW)
        reference, fitted = self._loaded.fitted_reference()
        if reference.digest == in_use.digest:
            return None
        mine, theirs = reference.transform, in_use.transform
        if (mine.resize, mine.sample_bits) != (theirs.resize, theirs.sample_bits):
            picture = self._read(source, picture, reference)
        pixels = picture.pixels(mine.resize)
        judge = self._loaded.judge_of(reference, request.stream)
        entry = fitted.entry(embed_picture(reference, pixels))
        measured = None if judge.chart is None else measure(view(pixels))
        return SeenByShadow(request, reference, fitted, judge, entry, measured)

    def _read(
        self, source: bytes | Path | Picture, picture: Picture, reference: Reference
    ) -> Picture:
        """Decode a picture again, since a JPEG is decoded no larger than it is needed."""
        settings = reference.transform.resize, self._config.upload, reference.transform.sample_bits
        if isinstance(source, Path):
            return read_picture_file(source, *settings)
        return picture if isinstance(source, Picture) else read_picture(source, *settings)

    def _state(self, stored: bytes | None, fitted: FittedMMD) -> StreamState:
        try:
            return self._start(fitted) if stored is None else StreamState.from_bytes(stored)
        except StoreError:
            return self._start(fitted)

    def _start(self, fitted: FittedMMD) -> StreamState:
        warm = self._config.detector.warm_start
        return StreamState(fitted.warm() if warm else Window.empty(fitted.dimensions))

    def _tell(self, problem: str) -> None:
        """Log a problem, once until there is another one."""
        if problem != self._told:
            log.warning("the reference in shadow judges nothing: %s", problem)
        self._told = problem
