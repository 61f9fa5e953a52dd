"""From a picture to a recorded verdict: the use case that API, command line and evaluation share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lenswatch.config import Config
from lenswatch.detect.chart.features import measure, view
from lenswatch.detect.mmd import FittedMMD, Window
from lenswatch.errors import InputError
from lenswatch.node.calibrate import embed_picture
from lenswatch.node.calibration_file import DEFAULT_STREAM
from lenswatch.node.collect import Collector
from lenswatch.node.current import Current
from lenswatch.node.request import Request, clean_name, iso_utc, open_store, record_refusal, repeat
from lenswatch.node.store.store import Answer, NodeStore, Transaction
from lenswatch.node.stream import StreamState
from lenswatch.reference.artefact import Reference
from lenswatch.reference.pictures import Picture, read_picture, read_picture_file
from lenswatch.wire import DriftJob, new_event_id

__all__ = ["Node"]


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

    @property
    def reference(self) -> Reference:
        """The reference in force."""
        return self._current().fitted_reference().reference

    def observe(self, source: bytes | Path | Picture, request: Request) -> dict[str, Any]:
        """Judge one picture, record the verdict, and return the answer for the caller.

        The picture is decoded and encoded first. Then one transaction reads the stream's window, computes
        the distance, and writes the new window, the answer and the drift job. Nothing waits for the network.

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
            picture = self._read(source, reference.transform.resize)
            pixels = picture.pixels(reference.transform.resize)
            embedding = embed_picture(reference, pixels)
            entry = fitted.entry(embedding)
        except InputError as error:
            record_refusal(self.store, self.config, request, error)
            raise
        judge = current.judge_of(reference, request.stream)
        measured = None if judge.chart is None else measure(view(pixels))
        thumbnail = self._thumbnail(picture)
        about = _about(reference, request, picture, embedding, self._collector.now())
        with self.store.begin() as transaction:
            first = transaction.answer(request.event_id) if request.event_id else None
            if first is not None:
                return repeat(first)
            state = self._state(transaction, fitted, request.stream, reference.digest)
            pushed = state.window.push(entry, fitted.window_size)
            state = replace(state, window=pushed, pictures=state.pictures + 1)
            state, verdict = judge.judge(fitted, judge.update_chart(state, measured), request)
            filled = min(state.pictures, fitted.window_size)
            window = {"filled": filled, "size": fitted.window_size}
            body = verdict | about | {"window": window}
            body |= self._collector.take_judged(transaction.connection, source, body)
            transaction.put_window(request.stream, reference.digest, state.to_bytes())
            transaction.put_answer(body["event_id"], Answer("judged", body))
            transaction.post(self._job(body), thumbnail)
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
            picture = self._read(source, self.config.transform.resize)
        except InputError as error:
            record_refusal(self.store, self.config, request, error)
            raise
        taken = request.captured_at or picture.captured_at or self._collector.now()
        incoming = self._collector.incoming(request.stream, source, taken)
        with self.store.begin() as transaction:
            first = transaction.answer(request.event_id) if request.event_id else None
            if first is not None:
                return repeat(first)
            told = self._collector.take(transaction.connection, incoming)
            if told is not None:
                body = told | _identity(request, taken)
                transaction.put_answer(body["event_id"], Answer("judged", body))
                transaction.post(self._job(body), self._thumbnail(picture))
                return body
        return self.observe(source, request)  # the collection has ended meanwhile

    def _read(self, source: bytes | Path | Picture, size: tuple[int, int]) -> Picture:
        if isinstance(source, Picture):
            return source
        limits = self.config.upload
        if isinstance(source, Path):
            return read_picture_file(source, size, limits)
        return read_picture(source, size, limits)

    def _thumbnail(self, picture: Picture) -> bytes | None:
        wanted = self.config.storage.keep_images and self.config.tracking.url
        return picture.thumbnail() if wanted else None

    def _state(
        self, transaction: Transaction, fitted: FittedMMD, stream: str, digest: str
    ) -> StreamState:
        stored = transaction.window(stream, digest)
        if stored is not None:
            return StreamState.from_bytes(stored)
        warm = self.config.detector.warm_start
        return StreamState(fitted.warm() if warm else Window.empty(fitted.dimensions))

    def _job(self, body: Mapping[str, Any]) -> DriftJob:
        parameters = {key: value for key, value in body.items() if key not in ("drift", "model")}
        return DriftJob(
            "Completed", body["model"], body["drift"], self.config.tracking.tags, parameters
        )


def _about(
    reference: Reference,
    request: Request,
    picture: Picture,
    embedding: npt.NDArray[np.float32],
    arrival: datetime,
) -> dict[str, Any]:
    """Return the part of the answer that identifies the picture."""
    captured_at = request.captured_at or picture.captured_at or arrival
    about = {"model": reference.model, "nearest": reference.nearest(embedding)}
    return _identity(request, captured_at) | about


def _identity(request: Request, captured_at: datetime) -> dict[str, Any]:
    return {
        "stream": request.stream,
        "event_id": request.event_id or new_event_id(),
        "image_name": clean_name(request.image_name),
        "captured_at": iso_utc(captured_at),
    }
