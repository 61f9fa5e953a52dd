"""From a picture to a recorded verdict: the use case that API, command line and evaluation share."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lenswatch.config import Config, TransformConfig
from lenswatch.detect.chart.features import measure, view
from lenswatch.detect.mmd import FittedMMD, Window
from lenswatch.errors import InputError, StoreError
from lenswatch.node.calibration_file import DEFAULT_STREAM
from lenswatch.node.clean_footage import embed_picture
from lenswatch.node.clock import Place, place
from lenswatch.node.collecting.collector import Collector
from lenswatch.node.current import Current
from lenswatch.node.request import Request, clean_name, iso_utc, open_store, record_refusal, repeat
from lenswatch.node.store.store import Answer, NodeStore, Transaction
from lenswatch.node.stream import StreamState
from lenswatch.reference.artefact import Reference
from lenswatch.reference.capture import time_in_name
from lenswatch.reference.pictures import Picture, read_picture, read_picture_file
from lenswatch.wire import DriftJob, new_event_id

__all__ = ["Node"]

log = logging.getLogger(__name__)

CAMERA_CLOCK = {"name": "camera clock", "strength": 1.0, "cells": []}  # the cause of a wrong clock


class Node:
    """The node: judges pictures of any number of streams, in any number of threads and processes.

    Args:
        config: The settings.
        store: The node's database; None opens the one in the storage folder.

    Raises:
        ArtefactError: There is no reference yet and none is being collected for, or it is damaged.
        StoreError: The database cannot be used.
    """

    def __init__(self, config: Config, store: NodeStore | None = None) -> None:
        self.config = config
        self.store = store or open_store(config)
        self._collector = Collector(config, self.store)
        self._loaded = None if self._collector.waits() else Current(config)
        self._wrong_clocks: set[str] = set()  # the streams whose camera's clock was logged as wrong

    @property
    def reference(self) -> Reference:
        """The reference in force."""
        return self._current().fitted_reference().reference

    def observe(self, source: bytes | Path | Picture, request: Request) -> dict[str, Any]:
        """Judge one picture, record the verdict, and return the answer for the caller.

        The picture is decoded and encoded first. Then one transaction reads the stream's window, computes
        the distance, and writes the new window, the answer and the drift job. Nothing waits for the network.
        A picture that is older than the stream's newest one is judged by itself; the stream stays as it is.

        Args:
            source: The picture as the bytes of a file, a file, or decoded.
            request: The caller's arguments.

        Raises:
            InputError: The picture or the request cannot be used. Unless the stream or the event id is
                invalid, this is recorded as a Failed job and remembered for a retry. The window is unchanged.
        """
        request.check_names()
        first = self.store.answer(request.event_id) if request.event_id else None
        if first is not None:
            return repeat(first)
        if self._collector.takes(request.stream):
            return self._collect(source, request)
        current = self._current()
        reference, fitted = current.fitted_reference()
        try:
            request.check_distances()
            request.check_time()
            picture = self._read(source, reference.transform)
            pixels = picture.pixels(reference.transform.resize)
            embedding = embed_picture(reference, pixels)
            entry = fitted.entry(embedding)
        except InputError as error:
            record_refusal(self.store, self.config, request, error)
            raise
        judge = current.judge_of(reference, request.stream)
        measured = None if judge.chart is None else measure(view(pixels))
        thumbnail = self._thumbnail(picture)
        about = _about(reference, request, embedding)
        moments = self._moments(request, picture)
        with self.store.begin() as transaction:
            first = transaction.answer(request.event_id) if request.event_id else None
            if first is not None:
                return repeat(first)
            live = self._state(transaction, fitted, request.stream, reference.digest)
            placed = place(moments, self._now(), live.newest, backlog=request.backlog)
            state = self._new_state(fitted) if placed.late else replace(live, newest=placed.newest)
            pushed = state.window.push(entry, fitted.window_size)
            state = replace(state, window=pushed, pictures=state.pictures + 1)
            far_apart = None if placed.late else placed.after_a_gap(live.newest)
            state = judge.update_chart(state, measured, far_apart)
            state, verdict = judge.judge(fitted, state, request)
            filled = min(state.pictures, fitted.window_size)
            window = {"filled": filled, "size": fitted.window_size}
            body = self._placed(verdict, placed, request) | about | {"window": window}
            body |= _notes(picture)
            if placed.late:
                body["alarm"] = live.alarm.raised
            else:
                transaction.put_window(request.stream, reference.digest, state.to_bytes())
                transaction.delete_other_windows(request.stream, reference.digest)
            body |= self._collector.take_judged(transaction.connection, source, body)
            transaction.put_answer(body["event_id"], Answer("judged", body))
            transaction.post(self._job(body), thumbnail)
        self._log_clock(request.stream, placed)
        return body

    def reset(self, stream: str) -> int:
        """Delete a stream's window under every reference, and return how many there were."""
        with self.store.begin() as transaction:
            return transaction.delete_windows(stream)

    def warm(self) -> None:
        """Load everything that the first picture of the default stream needs."""
        if not self._collector.waits():
            self._current().judge_of(self.reference, DEFAULT_STREAM)

    def _current(self) -> Current:
        """Return the reference in force, which may have been made since the node began."""
        if self._loaded is None:
            self._loaded = Current(self.config)
        return self._loaded

    def _collect(self, source: bytes | Path | Picture, request: Request) -> dict[str, Any]:
        """Take a picture of a stream that is not judged as a clean one, and answer without a verdict.

        Raises:
            InputError: The picture or the request cannot be used; that is recorded.
        """
        try:
            request.check_distances()
            request.check_time()
            picture = self._read(source, self.config.transform)
        except InputError as error:
            record_refusal(self.store, self.config, request, error)
            raise
        moments = self._moments(request, picture)
        with self.store.begin() as transaction:
            first = transaction.answer(request.event_id) if request.event_id else None
            if first is not None:
                return repeat(first)
            taken = self._collector.take(transaction.connection, source, request, moments)
            if taken is not None:
                told, placed = taken
                body = self._placed(told, placed, request) | _identity(request) | _notes(picture)
                transaction.put_answer(body["event_id"], Answer("judged", body))
                transaction.post(self._job(body), self._thumbnail(picture))
        if taken is None:
            return self.observe(source, request)  # the collection has ended meanwhile
        self._log_clock(request.stream, placed)
        return body

    def _read(self, source: bytes | Path | Picture, transform: TransformConfig) -> Picture:
        if isinstance(source, Picture):
            return source
        settings = transform.resize, self.config.upload, transform.sample_bits
        if isinstance(source, Path):
            return read_picture_file(source, *settings)
        return read_picture(source, *settings)

    def _moments(self, request: Request, picture: Picture) -> tuple[datetime, ...]:
        """Return the moments at which a picture may have been taken; none if nothing tells."""
        if request.captured_at is not None:
            return (_milliseconds(request.captured_at),)
        reading = picture.taken or time_in_name(request.image_name, self._now())
        found = () if reading is None else reading.moments(self.config.camera.zone)
        return tuple(map(_milliseconds, found))

    def _now(self) -> datetime:
        return _milliseconds(datetime.fromtimestamp(self.store.clock(), UTC))

    def _placed(
        self, verdict: Mapping[str, Any], placed: Place, request: Request
    ) -> dict[str, Any]:
        """Return the verdict with the picture's times; a wrong clock is a cause, and worth a warning."""
        times = {"captured_at": iso_utc(placed.captured_at), "late": placed.late}
        camera_time = placed.camera_time or request.camera_time
        if camera_time is None:
            return {**verdict, **times}
        fixed = request.drift_distance is not None or self.config.alarm.drift_distance is not None
        told = {
            "warning": verdict["warning"] or not fixed,
            "causes": [*verdict["causes"], CAMERA_CLOCK],
            "camera_time": iso_utc(camera_time),
        }
        return {**verdict, **times, **told}

    def _log_clock(self, stream: str, placed: Place) -> None:
        """Log that a camera's clock is wrong, once until it is right again."""
        if placed.camera_time is None:
            self._wrong_clocks.discard(stream)
        elif stream not in self._wrong_clocks:
            self._wrong_clocks.add(stream)
            log.warning(
                "stream %s: the camera's clock shows %s, which cannot be right; pictures get the time of "
                "their arrival until the clock, or camera.timezone, is set",
                stream,
                iso_utc(placed.camera_time),
            )

    def _thumbnail(self, picture: Picture) -> bytes | None:
        wanted = self.config.storage.keep_images and self.config.tracking.url
        return picture.thumbnail() if wanted else None

    def _state(
        self, transaction: Transaction, fitted: FittedMMD, stream: str, digest: str
    ) -> StreamState:
        """Return the stream's state, or what follows on its state under another reference."""
        stored = transaction.newest_window(stream)
        if stored is not None and stored[0] == digest:
            return StreamState.from_bytes(stored[1])
        start = self._new_state(fitted)
        if stored is None:
            return start
        try:
            return StreamState.from_bytes(stored[1]).restarted(start.window)
        except StoreError:
            log.warning(
                "stream %s: its state under reference %s is damaged, so an alarm it may have had is lost",
                stream,
                stored[0],
            )
            return start

    def _new_state(self, fitted: FittedMMD) -> StreamState:
        warm = self.config.detector.warm_start
        return StreamState(fitted.warm() if warm else Window.empty(fitted.dimensions))

    def _job(self, body: Mapping[str, Any]) -> DriftJob:
        parameters = {key: value for key, value in body.items() if key not in ("drift", "model")}
        return DriftJob(
            "Completed", body["model"], body["drift"], self.config.tracking.tags, parameters
        )


def _about(
    reference: Reference, request: Request, embedding: npt.NDArray[np.float32]
) -> dict[str, Any]:
    """Return the part of the answer that identifies the picture."""
    about = {"model": reference.model, "nearest": reference.nearest(embedding)}
    return _identity(request) | about


def _identity(request: Request) -> dict[str, Any]:
    return {
        "stream": request.stream,
        "event_id": request.event_id or new_event_id(),
        "image_name": clean_name(request.image_name),
    }


def _notes(picture: Picture) -> dict[str, Any]:
    """Return the part of the answer on how the picture was read, if there is something to say."""
    return {"picture_notes": list(picture.notes)} if picture.notes else {}


def _milliseconds(moment: datetime) -> datetime:
    """Return a time in UTC as exactly as answers have it."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
