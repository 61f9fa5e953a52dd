"""From an uploaded picture to a verdict: the use case that the API, the command line and batch share.

A `Node` judges pictures. Its `observe` decodes and encodes the picture and evaluates the kernels,
then, in one transaction of `storage/node.db`, reads the stream's window, computes the distance and
writes the new window, the answer and the drift job. Nothing on this path waits for the network.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lenswatch.config import Config
from lenswatch.detect.chart.causes import MAP, Cause
from lenswatch.detect.chart.features import measure, view
from lenswatch.detect.mmd import FittedMMD, Window
from lenswatch.errors import InputError
from lenswatch.node.calibrate import calibrate_stream
from lenswatch.node.calibration import DEFAULT_STREAM, Calibration, load_calibration
from lenswatch.node.explain import draw_explanation
from lenswatch.node.judge import Judge
from lenswatch.node.request import Request, clean_name, iso_utc, open_store, record_refusal, repeat
from lenswatch.node.store.store import Answer, NodeStore, Transaction
from lenswatch.node.stream import StreamState
from lenswatch.reference.artefact import Reference, load_reference
from lenswatch.reference.autoencoder import encode
from lenswatch.reference.paths import calibration_folder, current_digest, reference_folder
from lenswatch.reference.pictures import (
    Picture,
    Pixels,
    encoder_input,
    read_picture,
    read_picture_file,
)
from lenswatch.wire import DriftJob, new_event_id

__all__ = ["Explanation", "Node"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Explanation:
    """A picture of what is wrong, and the causes it shows."""

    sheet: Image.Image
    causes: tuple[Cause, ...]


class Node:
    """Judges pictures of any number of streams. Safe in any number of processes at once.

    It notices when a new reference was made current or a stream was calibrated, and goes over.
    """

    def __init__(self, config: Config, store: NodeStore | None = None) -> None:
        self.config = config
        self.store = store or open_store(config)
        self._judges: dict[str, tuple[object, Judge]] = {}
        self._told: dict[str, object] = {}  # the calibration of each stream, once in the log
        self._current = reference_folder(config.storage_path) / "current"
        self._current_stamp = _stamp(self._current)
        self._load(load_reference(config.storage_path))

    @property
    def reference(self) -> Reference:
        return self._reference

    def observe(self, source: bytes | Path | Picture, request: Request) -> dict[str, Any]:
        """Judge one picture (bytes, a file, or decoded) and record it; the answer to send.

        Raises:
            InputError: the picture or the request cannot be used. It is recorded as a Failed job (and
                remembered for a retry) unless its stream or event id is at fault; the window is untouched.
        """
        request.check_names()
        if request.event_id is not None:
            first = self.store.answer(request.event_id)
            if first is not None:
                return repeat(first)
        self._refresh()
        try:
            request.check_distances()
            picture = self._read(source)
            pixels = picture.pixels(self._reference.transform.resize)
            embedding = self._encode(pixels)
            entry = self._fitted.entry(embedding)
        except InputError as error:
            record_refusal(self.store, self.config, request, error)
            raise
        judge = self._judge(request.stream)
        measured = None if judge.chart is None else measure(view(pixels))
        thumbnail = self._thumbnail(picture)
        about = self._about(request, picture, embedding)
        with self.store.begin() as transaction:
            first = transaction.answer(request.event_id) if request.event_id else None
            if first is not None:
                return repeat(first)
            state = self._state(transaction, request.stream)
            state = replace(state, window=state.window.push(entry, self._fitted.window_size))
            state, said = judge.judge(self._fitted, judge.see(state, measured), request)
            body = said | about | {"window": self._filled(state)}
            transaction.put_window(request.stream, self._reference.digest, state.to_bytes())
            transaction.put_answer(body["event_id"], Answer(200, body))
            transaction.post(self._job(body), thumbnail)
        return body

    def explain(self, source: bytes | Path, stream: str) -> Explanation:
        """What a picture by itself shows, drawn; nothing is recorded.

        Raises:
            InputError: the picture cannot be used.
        """
        self._refresh()
        picture = self._read(source)
        pixels = picture.pixels(self._reference.transform.resize)
        found, deviations = self._judge(stream).alone(measure(view(pixels)))
        name = self._reference.nearest(self._encode(pixels))
        shown = np.zeros(MAP) if deviations is None else deviations
        clean = self._clean_picture(name)
        caption = f"nearest clean picture: {name}" if name else ""
        return Explanation(draw_explanation(picture.image, clean, shown, found, caption), found)

    def _clean_picture(self, name: str | None) -> Image.Image | None:
        """A picture of the reference, if it is still where it was."""
        files = self.config.image_folder.rglob(name) if name else iter(())
        file = next(files, None)
        size = self._reference.transform.resize
        return None if file is None else read_picture_file(file, size, self.config.upload).image

    def reset(self, stream: str) -> int:
        """Forget a stream's window; the next picture starts it anew. How many windows there were."""
        with self.store.begin() as transaction:
            return transaction.delete_windows(stream)

    def warm(self) -> None:
        """Get ready for the first picture of the default stream."""
        self._judge(DEFAULT_STREAM)

    def _judge(self, stream: str) -> Judge:
        """What a stream is judged by, read again when its calibration was replaced."""
        folder = calibration_folder(self.config.storage_path)
        stamp = _stamp(folder / self._reference.digest)  # a file in it was replaced: another stamp
        kept = self._judges.get(stream)
        if kept is None or kept[0] != stamp:
            found = load_calibration(folder, self._reference.digest, stream)
            if found is None:
                found = self._calibrate()
                stamp = _stamp(folder / self._reference.digest)
            kept = self._judges[stream] = (stamp, Judge.of(found, self.config.alarm))
            self._tell(stream, kept[1])
        return kept[1]

    def _tell(self, stream: str, judge: Judge) -> None:
        """Log what a user should know of a stream's calibration, once for each."""
        told = (judge.calibration.digest, judge.calibration.created_at, judge.notes)
        if judge.notes and self._told.get(stream) != told:
            log.warning("stream %s: %s", stream, " ".join(judge.notes))
        self._told[stream] = told

    def _calibrate(self) -> Calibration:
        """A reference that came without thresholds gets them, if it has embeddings enough."""
        try:
            return calibrate_stream(self.config, self._reference)
        except InputError as error:
            log.warning(
                "no thresholds, only distances given by the caller or the settings: %s", error
            )
            return Calibration(self._reference.digest, {})

    def _load(self, reference: Reference) -> None:
        self._reference = reference
        self._fitted: FittedMMD = reference.detector(self.config.detector.window_size)
        self._judges.clear()

    def _refresh(self) -> None:
        stamp = _stamp(self._current)
        if stamp == self._current_stamp:
            return
        digest = current_digest(self.config.storage_path)
        if digest is not None and digest != self._reference.digest:
            self._load(load_reference(self.config.storage_path, digest))
        self._current_stamp = stamp

    def _read(self, source: bytes | Path | Picture) -> Picture:
        if isinstance(source, Picture):
            return source
        size, limits = self._reference.transform.resize, self.config.upload
        if isinstance(source, Path):
            return read_picture_file(source, size, limits)
        return read_picture(source, size, limits)

    def _encode(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        planes = encoder_input(pixels, self._reference.transform)
        row: npt.NDArray[np.float32] = encode(self._reference.autoencoder.encoder, planes[None])[0]
        return row

    def _thumbnail(self, picture: Picture) -> bytes | None:
        wanted = self.config.storage.keep_images and self.config.tracking.url
        return picture.thumbnail() if wanted else None

    def _state(self, transaction: Transaction, stream: str) -> StreamState:
        stored = transaction.window(stream, self._reference.digest)
        if stored is not None:
            return StreamState.from_bytes(stored)
        if self.config.detector.warm_start:
            return StreamState(self._fitted.warm())
        return StreamState(Window.empty(self._fitted.dimensions))

    def _filled(self, state: StreamState) -> dict[str, int]:
        return {"filled": len(state.window), "size": self._fitted.window_size}

    def _about(
        self, request: Request, picture: Picture, embedding: npt.NDArray[np.float32]
    ) -> dict[str, Any]:
        """What the answer says of the picture itself."""
        captured_at = request.captured_at or picture.captured_at or datetime.now(UTC)
        return {
            "stream": request.stream,
            "event_id": request.event_id or new_event_id(),
            "model": self._reference.model,
            "image_name": clean_name(request.image_name),
            "captured_at": iso_utc(captured_at),
            "nearest": self._reference.nearest(embedding),
        }

    def _job(self, body: Mapping[str, Any]) -> DriftJob:
        parameters = {key: value for key, value in body.items() if key not in ("drift", "model")}
        return DriftJob(
            "Completed", body["model"], body["drift"], self.config.tracking.tags, parameters
        )


def _stamp(file: Path) -> tuple[int, int]:
    """Changes whenever the file, or a file in the folder, is replaced."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns
