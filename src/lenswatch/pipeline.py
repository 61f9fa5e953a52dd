"""From an uploaded picture to a verdict: the use case that the API, the command line and batch share.

A `Node` judges pictures. Its `observe` decodes and encodes the picture and evaluates the kernels,
then, in one transaction of `storage/node.db`, reads the stream's window, computes the distance and
writes the new window, the answer and the drift job. Nothing on this path waits for the network.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lenswatch.autoencoder import encode
from lenswatch.calibration_file import Calibration, load_calibration
from lenswatch.config import Config
from lenswatch.detector import Entry, FittedMMD, Window
from lenswatch.errors import InputError
from lenswatch.images import Picture, encoder_input, read_picture, read_picture_file
from lenswatch.intake import Request, clean_name, iso_utc, open_store, record_refusal, repeat
from lenswatch.layout import calibration_folder, current_digest, reference_folder
from lenswatch.reference import Reference, load_reference
from lenswatch.store import Answer, NodeStore, Transaction
from lenswatch.stream_calibration import calibrate_stream
from lenswatch.wire import DriftJob, new_event_id

__all__ = ["Node", "Thresholds"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Thresholds:
    """What a distance is compared with; None: never exceeded."""

    warning: float | None
    drift: float | None
    calibrated: bool


class Node:
    """Judges pictures of any number of streams. Safe in any number of processes at once.

    It notices when a new reference was made current or a stream was calibrated, and goes over.
    """

    def __init__(self, config: Config, store: NodeStore | None = None) -> None:
        self.config = config
        self.store = store or open_store(config)
        self._calibrations: dict[str, tuple[object, Calibration]] = {}
        self._current = reference_folder(config.storage_path) / "current"
        self._current_stamp = _stamp(self._current)
        self._load(load_reference(config.storage_path))

    @property
    def reference(self) -> Reference:
        return self._reference

    def observe(self, source: bytes | Path, request: Request) -> dict[str, Any]:
        """Judge one picture, given as bytes or as a file, and record it; the answer to send.

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
            entry = self._fitted.entry(self._encode(picture))
        except InputError as error:
            record_refusal(self.store, self.config, request, error)
            raise
        thumbnail = self._thumbnail(picture)
        captured_at = request.captured_at or picture.captured_at or datetime.now(UTC)
        thresholds = self._thresholds(request)
        with self.store.begin() as transaction:
            first = transaction.answer(request.event_id) if request.event_id else None
            if first is not None:
                return repeat(first)
            window, distance = self._advance(transaction, request.stream, entry)
            body = self._body(request, thresholds, window, distance, captured_at)
            transaction.put_answer(body["event_id"], Answer(200, body))
            transaction.post(self._job(body), thumbnail)
        return body

    def reset(self, stream: str) -> int:
        """Forget a stream's window; the next picture starts it anew. How many windows there were."""
        with self.store.begin() as transaction:
            return transaction.delete_windows(stream)

    def calibration(self, stream: str) -> Calibration:
        """The thresholds of a stream, read again when their file was replaced."""
        folder = calibration_folder(self.config.storage_path)
        files = [folder / self._reference.digest / f"{name}.json" for name in (stream, "default")]
        stamp = [_stamp(file) for file in files]
        kept = self._calibrations.get(stream)
        if kept is None or kept[0] != stamp:
            found = load_calibration(folder, self._reference.digest, stream)
            if found is None:
                found = self._calibrate()
                stamp = [_stamp(file) for file in files]
            kept = self._calibrations[stream] = (stamp, found)
        return kept[1]

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
        self._calibrations.clear()

    def _refresh(self) -> None:
        stamp = _stamp(self._current)
        if stamp == self._current_stamp:
            return
        digest = current_digest(self.config.storage_path)
        if digest is not None and digest != self._reference.digest:
            self._load(load_reference(self.config.storage_path, digest))
        self._current_stamp = stamp

    def _read(self, source: bytes | Path) -> Picture:
        size, limits = self._reference.transform.resize, self.config.upload
        if isinstance(source, Path):
            return read_picture_file(source, size, limits)
        return read_picture(source, size, limits)

    def _encode(self, picture: Picture) -> Any:
        transform = self._reference.transform
        planes = encoder_input(picture.pixels(transform.resize), transform)
        return encode(self._reference.autoencoder.encoder, planes[None])[0]

    def _thumbnail(self, picture: Picture) -> bytes | None:
        wanted = self.config.storage.keep_images and self.config.tracking.url
        return picture.thumbnail() if wanted else None

    def _advance(
        self, transaction: Transaction, stream: str, entry: Entry
    ) -> tuple[Window, float | None]:
        stored = transaction.window(stream, self._reference.digest)
        if stored is not None:
            window = Window.from_bytes(stored)
        elif self.config.detector.warm_start:
            window = self._fitted.warm()
        else:
            window = Window.empty(self._fitted.dimensions)
        window = window.push(entry, self._fitted.window_size)
        transaction.put_window(stream, self._reference.digest, window.to_bytes())
        return window, self._fitted.distance(window)

    def _thresholds(self, request: Request) -> Thresholds:
        """The caller's, else the configuration's, else the calibrated ones."""
        fixed = self.config.alarm
        mmd = self.calibration(request.stream).thresholds.get("mmd")
        drift = (
            request.drift_distance if request.drift_distance is not None else fixed.drift_distance
        )
        warning = request.warning_distance
        if drift is None and mmd is not None:
            drift = mmd.drift if mmd.votes else None
            return Thresholds(mmd.warning if warning is None else warning, drift, mmd.calibrated)
        if drift is None:
            return Thresholds(warning, None, False)
        if warning is None:
            warning = (
                drift if fixed.warning_distance is None else min(fixed.warning_distance, drift)
            )
        return Thresholds(warning, drift, True)

    def _body(
        self,
        request: Request,
        thresholds: Thresholds,
        window: Window,
        distance: float | None,
        captured_at: datetime,
    ) -> dict[str, Any]:
        drift = _exceeds(distance, thresholds.drift)
        return {
            "drift": drift,
            "warning": drift or _exceeds(distance, thresholds.warning),
            "distance": distance,
            "drift_distance": thresholds.drift,
            "warning_distance": thresholds.warning,
            "calibrated": thresholds.calibrated,
            "window": {"filled": len(window), "size": self._fitted.window_size},
            "stream": request.stream,
            "event_id": request.event_id or new_event_id(),
            "model": self._reference.model,
            "image_name": clean_name(request.image_name),
            "captured_at": iso_utc(captured_at),
        }

    def _job(self, body: Mapping[str, Any]) -> DriftJob:
        parameters = {key: value for key, value in body.items() if key not in ("drift", "model")}
        return DriftJob(
            "Completed", body["model"], body["drift"], self.config.tracking.tags, parameters
        )


def _exceeds(distance: float | None, threshold: float | None) -> bool:
    return distance is not None and threshold is not None and distance > threshold


def _stamp(file: Path) -> tuple[int, int]:
    """Changes whenever the file is replaced."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns
