"""Everything that is found out about a picture before the state of its stream counts.

It takes most of the time and changes nothing, so that pictures of a folder may be looked at together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lenswatch.config import Config, TransformConfig
from lenswatch.detect.chart.features import Measured
from lenswatch.detect.mmd import Entry, FittedMMD
from lenswatch.errors import InputError
from lenswatch.node.aside import Beside, at_once
from lenswatch.node.clean_pictures import CleanPictures
from lenswatch.node.current import Current
from lenswatch.node.features import Features, features_of
from lenswatch.node.judge import Judge
from lenswatch.node.living import Living
from lenswatch.node.request import Request
from lenswatch.node.shadow import SeenByShadow, Shadow
from lenswatch.node.store.store import NodeStore
from lenswatch.node.told import identity_of, notes_of
from lenswatch.reference.artefact import Reference
from lenswatch.reference.capture import Reading, time_in_name
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
        shadow: The picture as the reference in shadow sees it; None without one.
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
    shadow: SeenByShadow | None = None


@dataclass(frozen=True)
class Refused:
    """A picture or a request that cannot be used."""

    error: InputError


class Looking:
    """The look at pictures, for any number of threads.

    Args:
        config: The settings.
        store: The node's database, for its clock.

    Attributes:
        shadow: The reference in shadow, if there is one.
        living: The baselines in force.
    """

    def __init__(self, config: Config, store: NodeStore) -> None:
        self._config = config
        self._store = store
        self._clean_pictures = CleanPictures(config)
        self.shadow = Shadow(config)
        self.living = Living()

    def look(
        self,
        source: bytes | Path | Picture,
        request: Request,
        current: Current,
        beside: Beside = at_once,
    ) -> Seen | Refused:
        """Read, encode and measure a picture; `beside` does a part of it while this thread does the rest."""
        reference, fitted = current.fitted_reference()
        try:
            request.check_distances()
            request.check_time()
            picture = self.read(source, reference.transform)
            chart = current.judge_of(reference, request.stream).chart
            features = features_of(
                picture,
                reference,
                fitted,
                measured=chart is not None,
                chart=self.living.chart(request.stream, chart),
                colours=current.schema is not None,
                thumbnail=self.wants_thumbnails,
                beside=beside,
            )
        except InputError as error:
            return Refused(error)
        shadow = self.shadow.look(source, request, picture, reference)
        return self._seen(features, request, current, shadow)

    def recognise(
        self, features: Features | InputError, request: Request, current: Current
    ) -> Seen | Refused:
        """Return what `look` returns for a picture whose features are known, or what makes it unusable.

        A reference in shadow does not see it.
        """
        try:
            request.check_distances()
            request.check_time()
        except InputError as error:
            return Refused(error)
        if isinstance(features, InputError):
            return Refused(features)
        return self._seen(features, request, current)

    @property
    def wants_thumbnails(self) -> bool:
        """True if the tracking server is sent a small JPEG of each picture."""
        return self._config.storage.keep_images and bool(self._config.tracking.url)

    def _seen(
        self,
        features: Features,
        request: Request,
        current: Current,
        shadow: SeenByShadow | None = None,
    ) -> Seen:
        reference, fitted = current.fitted_reference()
        judge = current.judge_of(reference, request.stream)
        about = self._about(reference, request, features)
        about |= notes_of(features.notes, current.schema, features.size, features.colours)
        about |= current.told
        return Seen(
            request,
            fitted,
            judge,
            features.entry,
            None if judge.chart is None else features.measured,
            self._moments(request, features.taken),
            about,
            reference.digest,
            features.thumbnail if self.wants_thumbnails else None,
            shadow,
        )

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
        return self._moments(request, picture.taken)

    def thumbnail(self, picture: Picture) -> bytes | None:
        """Return a small JPEG of a picture for the tracking server; None if none is sent."""
        return picture.thumbnail() if self.wants_thumbnails else None

    def _moments(self, request: Request, taken: Reading | None) -> tuple[datetime, ...]:
        if request.captured_at is not None:
            return (milliseconds(request.captured_at),)
        now = milliseconds(datetime.fromtimestamp(self._store.clock(), UTC))
        reading = taken or time_in_name(request.image_name, now)
        found = () if reading is None else reading.moments(self._config.camera.zone)
        return tuple(map(milliseconds, found))

    def _about(self, reference: Reference, request: Request, features: Features) -> dict[str, Any]:
        """Return the part of the answer that says which picture it is, and what it is compared with."""
        row = features.nearest_row
        nearest = None if row is None else reference.pictures[row].path
        about = {"model": reference.model, "nearest": nearest}
        clean = self._clean_pictures.nearest(reference, features.embedding)
        return identity_of(request) | about | clean


def milliseconds(moment: datetime) -> datetime:
    """Return a time in UTC as exactly as answers have it."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
