"""The monitor inside another program: it watches the inputs and outputs of any vision model."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from lenswatch.config import Config, load_config
from lenswatch.errors import ArtefactError, InputError
from lenswatch.files import write_atomically
from lenswatch.forking import Uses
from lenswatch.node.observe import Node
from lenswatch.node.request import Request, open_store, record_refusal
from lenswatch.outbox.sender import Sender
from lenswatch.reference.pictures import Picture, file_of, picture_of
from lenswatch.sources.outputs import OutputSeries, classes_of, vector_of
from lenswatch.sources.series import Series, observe
from lenswatch.sources.vectors import VectorSeries
from lenswatch.wire import check_stream

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Monitor"]

OUTPUT_WINDOW = 24  # pictures whose predictions are compared at once


class Monitor:
    """A drift monitor in anybody's process: a DEEPaaS module, FastAPI, Ray Serve, a loop.

    Windows, alarms and drift jobs are in the storage folder, so that any number of threads and processes
    may each have a monitor of one folder, and each may be killed. Drift jobs are sent in the background to
    the tracking server of the settings.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with Monitor(folder.name, tracking_url="") as monitor:
    ...     monitor.fit_vectors(np.random.default_rng(0).normal(size=(100, 4)))
    ...     answer = monitor.observe_vector([0.5, 0.0, -0.5, 1.0])
    >>> answer["window"], answer["drift"]
    ({'filled': 1, 'size': 12}, False)
    >>> folder.cleanup()

    Args:
        storage: The storage folder; None for that of the settings.
        config: The settings, or their file; None finds them as every command does.
        tracking_url: The tracking server instead of that of the settings; "" sends nothing.

    Raises:
        ConfigError: The settings cannot be used.
        StoreError: The database in the storage folder cannot be used.
    """

    def __init__(
        self,
        storage: str | Path | None = None,
        *,
        config: Config | str | Path | None = None,
        tracking_url: str | None = None,
    ) -> None:
        settings = config if isinstance(config, Config) else load_config(config)
        if storage is not None:
            folder = dataclasses.replace(settings.storage, path=str(Path(storage).resolve()))
            settings = dataclasses.replace(settings, storage=folder)
        if tracking_url is not None:
            tracking = dataclasses.replace(settings.tracking, url=tracking_url)
            settings = dataclasses.replace(settings, tracking=tracking)
        self.config = settings
        self._store = open_store(settings)
        self._node: Node | None = None
        self._series: dict[str, tuple[int, Series, tuple[str, ...]]] = {}
        self._lock = threading.Lock()
        self._sender = Sender(self._store, settings.tracking)
        self._sender.start()
        self._uses = Uses(begin_anew=self._begin_anew)

    def observe(
        self,
        image: Any,
        *,
        stream: str = "default",
        captured_at: datetime | None = None,
        event_id: str | None = None,
        name: str = "",
    ) -> dict[str, Any]:
        """Judge one input picture of the model, and return the answer that `predict` gives.

        Args:
            image: The bytes of a file, its path, an open binary file, a Pillow image, or an array
                (height, width, 3) uint8 in RGB.
            stream: The camera.
            captured_at: When it was taken; None for the time in the file, its name, or now.
            event_id: A call with the same id gets the first answer, and counts nothing twice.
            name: Name of the picture; that of its file by default.

        Raises:
            InputError: The picture or an argument cannot be used. It is recorded as a Failed job.
            ArtefactError: There is no reference yet; `lenswatch train` makes one.
        """
        source, found = _source(image)
        request = Request(
            stream=stream,
            event_id=event_id,
            captured_at=captured_at,
            image_name=name or found,
        )
        request.check_names()
        with self._used():
            node = self._judge()
            if isinstance(source, Image.Image):
                source = self._picture(node, source, request)
            return node.observe(source, request)

    def fit_vectors(self, clean: ArrayLike, *, stream: str = "default", window: int = 0) -> None:
        """Learn from clean feature vectors what those of a stream look like.

        Args:
            clean: (n, d), in the order of time; at least twice the window.
            stream: The camera.
            window: Vectors that are compared at once; 0 for `detector.window_size`.

        Raises:
            InputError: They are too few, or not finite.
        """
        check_stream(stream)
        rows = _numbers(clean)
        size = window or self.config.detector.window_size
        VectorSeries(rows, size, self._ert, "").thresholds  # noqa: B018 - raises before it is saved
        self._save(f"{stream}.vectors", rows, size, ())

    def observe_vector(
        self,
        vector: ArrayLike,
        *,
        stream: str = "default",
        captured_at: datetime | None = None,
        event_id: str | None = None,
        name: str = "",
    ) -> dict[str, Any]:
        """Judge one feature vector (d,), which a model has made of an input.

        The stream `NAME.vectors` has the verdicts.

        Raises:
            InputError: The vector or an argument cannot be used.
            ArtefactError: `fit_vectors` was called neither for the stream nor for "default".
        """
        series, _ = self._load(stream, "vectors")
        row = _numbers(vector)
        request = Request(f"{stream}.vectors", event_id, captured_at, image_name=name)
        with self._used():
            return observe(self.config, self._store, series, row, request)

    def fit_outputs(
        self,
        clean: Sequence[Sequence[Mapping[str, Any]]],
        *,
        stream: str = "default",
        window: int = OUTPUT_WINDOW,
    ) -> None:
        """Learn from the predictions on clean pictures what those of a stream look like.

        Args:
            clean: The predictions of each picture, as `outputs` takes them, in the order of time.
            stream: The camera.
            window: Pictures that are compared at once.

        Raises:
            InputError: They are too few, or a score is not a finite number.
        """
        check_stream(stream)
        classes = classes_of(clean)
        rows = np.array([vector_of(predictions, classes) for predictions in clean])
        OutputSeries(rows, window, self._ert, "").thresholds  # noqa: B018 - raises before it is saved
        self._save(f"{stream}.outputs", rows, window, classes)

    def outputs(
        self,
        predictions: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        stream: str = "default",
        captured_at: datetime | None = None,
        event_id: str | None = None,
        name: str = "",
    ) -> dict[str, Any]:
        """Judge the predictions that a model made of one picture.

        Their number and confidence are compared with the clean span by the Kolmogorov-Smirnov distance, and
        the shares of their classes by the population stability index. The stream `NAME.outputs` has the
        verdicts.

        Args:
            predictions: For each prediction its `score` from 0 to 1 and its `class`, or one prediction.
            stream: The camera.
            captured_at: When the picture was taken; None for now.
            event_id: A call with the same id gets the first answer.
            name: Name of the picture.

        Raises:
            InputError: A score or an argument cannot be used.
            ArtefactError: `fit_outputs` was called neither for the stream nor for "default".
        """
        given = [predictions] if isinstance(predictions, Mapping) else list(predictions)
        series, classes = self._load(stream, "outputs")
        request = Request(f"{stream}.outputs", event_id, captured_at, image_name=name)
        with self._used():
            return observe(self.config, self._store, series, vector_of(given, classes), request)

    def close(self, timeout: float = 5.0) -> None:
        """Send the drift jobs that wait, as far as that takes no longer than `timeout` seconds."""
        self._sender.drain(timeout)
        self._sender.stop()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _ert(self) -> float:
        return self.config.alarm.expected_run_time

    def _picture(self, node: Node, image: Image.Image, request: Request) -> bytes | Picture:
        data = file_of(image)
        if data is not None:
            return data
        try:
            transform = node.reference.transform
        except ArtefactError:  # while clean pictures are collected for the first one
            transform = self.config.transform
        try:
            return picture_of(image, self.config.upload, transform.sample_bits)
        except InputError as error:
            record_refusal(self._store, self.config, request, error)
            raise

    @contextmanager
    def _used(self) -> Iterator[None]:
        """Use the store, and send what that posts, also in a forked process and after `close`."""
        self._sender.start()
        with self._uses.one():
            yield

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()

    def _judge(self) -> Node:
        with self._lock:
            if self._node is None:
                self._node = Node(self.config, self._store)
            return self._node

    def _file(self, stream: str) -> Path:
        check_stream(stream)
        return self.config.storage_path / "series" / f"{stream}.npz"

    def _save(self, stream: str, clean: Any, window: int, classes: tuple[str, ...]) -> None:
        about = json.dumps({"window": window, "classes": classes})
        buffer = io.BytesIO()
        np.savez_compressed(buffer, clean=clean, about=np.frombuffer(about.encode(), np.uint8))
        write_atomically(self._file(stream), buffer.getvalue())

    def _load(self, stream: str, kind: str) -> tuple[Series, tuple[str, ...]]:
        """Return what is known of a clean stream, else of the stream "default", and its classes."""
        check_stream(stream)
        for name in (f"{stream}.{kind}", f"default.{kind}"):
            file = self._file(name)
            try:
                return self._read(name, file, kind)
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError) as error:
                raise ArtefactError(
                    f"{file}: cannot be read ({error}); call Monitor.fit_{kind} again"
                ) from None
        raise ArtefactError(
            f"nothing is known of clean {kind} of stream {stream}; call Monitor.fit_{kind} first"
        )

    def _read(self, name: str, file: Path, kind: str) -> tuple[Series, tuple[str, ...]]:
        """Return a series and its classes, read again when another process has replaced its file."""
        stamp = file.stat().st_mtime_ns
        known = self._series.get(name)
        if known is None or known[0] != stamp:
            with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as found:
                clean, text = found["clean"], found["about"].tobytes()
            about = json.loads(text)
            digest = hashlib.sha256(clean.tobytes() + text).hexdigest()[:16]
            make: Any = VectorSeries if kind == "vectors" else OutputSeries
            series = make(clean, int(about["window"]), self._ert, digest)
            known = self._series[name] = (stamp, series, tuple(about["classes"]))
        return known[1], known[2]


def _numbers(given: Any) -> NDArray[np.float64]:
    try:
        return np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"vectors that are no numbers, or of several lengths: {error}") from None


def _source(image: Any) -> tuple[bytes | Path | Picture | Image.Image, str]:
    """Return what the node reads, and the picture's name."""
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        return path, path.name
    if isinstance(image, Image.Image):
        named = Path(str(getattr(image, "filename", "") or "")).name
        return image, named
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InputError(
                f"an array of shape {image.shape} and type {image.dtype}: give (h, w, 3) uint8, RGB"
            )
        return Picture.of(np.ascontiguousarray(image)), ""
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image), ""
    if callable(getattr(image, "read", None)):
        return bytes(image.read()), Path(str(getattr(image, "name", ""))).name
    raise InputError(
        f"a picture of type {type(image).__name__}: give bytes, a path, a file, an image or an array"
    )
