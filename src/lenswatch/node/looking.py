"""Everything that is found out about a picture before the state of its stream counts.

It takes most of the time and changes nothing, so that pictures of a folder may be looked at together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lenswatch.config import Config, TransformConfig
from lenswatch.detect.chart.features import Measured, measure, view
from lenswatch.detect.mmd import Entry, FittedMMD
from lenswatch.errors import InputError
from lenswatch.node.clean_footage import embed_picture
from lenswatch.node.clean_pictures import CleanPictures
from lenswatch.node.current import Current
from lenswatch.node.judge import Judge
from lenswatch.node.request import Request
from lenswatch.node.store.store import NodeStore
from lenswatch.node.told import identity_of, notes_of
from lenswatch.reference.artefact import Reference
from lenswatch.reference.capture import time_in_name
from lenswatch.reference.pictures import Picture, read_picture, read_picture_file
from lenswatch.stages import stage

__all__ = ["Looking", "Refused", "Seen", "milliseconds"]


@dataclass(frozen=True)
class Seen:
    """All that is known of a picture before its stream's state.

    Attributes:
        request: The caller's arguments.
        fitted: The reference's detector.
        judge: The judge that the calibration of its stream makes.
        entry: Its embedding.
        measured: Its measurements for the lens chart; None without one.
        moments: Moments at which it may have been taken.
        about: The part of the answer that tells of the picture itself.
        digest: That of the reference.
        thumbnail: A small JPEG for the tracking server; None if none is sent.
    """

    request: Request
    fitted: FittedMMD
    judge: Judge
    entry: Entry
    measured: Measured | None
    moments: tuple[datetime, ...]
    about: dict[str, Any]
    digest: str
    thumbnail: bytes | None


@dataclass(frozen=True)
class Refused:
    """A picture or a request that cannot be used."""

    error: InputError


class Looking:
    """The look at pictures, for any number of threads.

    Args:
        config: The settings.
        store: The node's database, for its clock.
    """

    def __init__(self, config: Config, store: NodeStore) -> None:
        self._config = config
        self._store = store
        self._clean_pictures = CleanPictures(config)

    def look(
        self, source: bytes | Path | Picture, request: Request, current: Current
    ) -> Seen | Refused:
        """Read, encode and measure a picture."""
        reference, fitted = current.fitted_reference()
        try:
            request.check_distances()
            request.check_time()
            picture = self.read(source, reference.transform)
            pixels = picture.pixels(reference.transform.resize)
            embedding = embed_picture(reference, pixels)
            entry = fitted.entry(embedding)
        except InputError as error:
            return Refused(error)
        judge = current.judge_of(reference, request.stream)
        measured = None if judge.chart is None else measure(view(pixels))
        about = self._about(reference, request, embedding)
        about |= notes_of(picture, current.schema, pixels) | current.told
        moments, thumbnail = self.moments(request, picture), self.thumbnail(picture)
        digest = reference.digest
        return Seen(request, fitted, judge, entry, measured, moments, about, digest, thumbnail)

    @stage("decode")
    def read(self, source: bytes | Path | Picture, transform: TransformConfig) -> Picture:
        """Read a picture.

        Raises:
            InputError: It cannot be used.
        """
        if isinstance(source, Picture):
            return source
        settings = transform.resize, self._config.upload, transform.sample_bits
        if isinstance(source, Path):
            return read_picture_file(source, *settings)
        return read_picture(source, *settings)

    def moments(self, request: Request, picture: Picture) -> tuple[datetime, ...]:
        """Return the moments at which a picture may have been taken; none if nothing tells."""
        if request.captured_at is not None:
            return (milliseconds(request.captured_at),)
        now = milliseconds(datetime.fromtimestamp(self._store.clock(), UTC))
        reading = picture.taken or time_in_name(request.image_name, now)
        found = () if reading is None else reading.moments(self._config.camera.zone)
        return tuple(map(milliseconds, found))

    def thumbnail(self, picture: Picture) -> bytes | None:
        """Return a small JPEG of a picture for the tracking server; None if none is sent."""
        wanted = self._config.storage.keep_images and self._config.tracking.url
        return picture.thumbnail() if wanted else None

    def _about(
        self, reference: Reference, request: Request, embedding: npt.NDArray[np.float32]
    ) -> dict[str, Any]:
        """Return the part of the answer that says which picture it is, and what it is compared with."""
        about = {"model": reference.model, "nearest": reference.nearest(embedding)}
        return identity_of(request) | about | self._clean_pictures.nearest(reference, embedding)


def milliseconds(moment: datetime) -> datetime:
    """Return a time in UTC as exactly as answers have it."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
