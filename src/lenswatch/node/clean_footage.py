"""Clean footage of a stream, and its distances from a reference that holds none of the measured pictures."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from lenswatch.config import Config, UploadConfig
from lenswatch.detect.arrays import Floats, Pixels
from lenswatch.detect.chart.features import Measured, measure, view
from lenswatch.detect.mmd import FittedMMD
from lenswatch.errors import ImageError, InputError
from lenswatch.node.remembered import Remembered
from lenswatch.progress import Progress, Step, no_progress
from lenswatch.reference.artefact import Reference, load_lens
from lenswatch.reference.footage import check_unreadable, read_pictures
from lenswatch.reference.identity import content_digest
from lenswatch.reference.order import times_of
from lenswatch.reference.pictures import read_bytes, read_picture
from lenswatch.stages import stage

if TYPE_CHECKING:
    from lenswatch.cluster.connection import Cluster

__all__ = ["CleanFootage", "clean_footage", "distance_runs", "embed_picture", "embed_pictures"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CleanFootage:
    """Clean pictures of a stream, in time order.

    Attributes:
        embeddings: (n, d).
        lens: Measurements for the lens chart; None when the pictures are not available.
        rows: For each picture, the rows of the reference's embeddings that are of the same picture.
        remembered: Files and contents of the pictures; None for the reference's own.
        times: Time of capture of each picture; None where nothing tells.
    """

    embeddings: Floats
    lens: Measured | None
    rows: tuple[tuple[int, ...], ...]
    remembered: Remembered | None = None
    times: tuple[datetime | None, ...] = ()

    @property
    def spacing(self) -> float | None:
        """Median time between two pictures in seconds; None if most times are not known."""
        known = [time.timestamp() for time in self.times if time is not None]
        if len(known) < max(2, len(self.rows) / 2):
            return None
        return float(np.median(np.abs(np.diff(known))))

    @property
    def span(self) -> timedelta | None:
        """Time from the first picture to the last; None if it is not known."""
        known = [time for time in self.times if time is not None]
        return max(known) - min(known) if known else None

    @property
    def known(self) -> list[int]:
        """Positions of the pictures that the reference was trained on."""
        return [i for i, rows in enumerate(self.rows) if rows]


def clean_footage(
    config: Config,
    reference: Reference,
    pictures: Sequence[Path] | None = None,
    progress: Progress = no_progress,
    cluster: Cluster | None = None,
) -> CleanFootage:
    """Return the clean footage in `pictures`; with None, that of the reference itself.

    A picture that is there twice, under two names, counts once.

    Args:
        config: The settings.
        reference: The reference whose encoder is used.
        pictures: The stream's own clean pictures, in time order; None for the reference's.
        progress: Called after each picture.
        cluster: Its workers read, encode and measure the pictures; None for this process.

    Raises:
        InputError: `pictures` is empty, or more than 2 % of them cannot be read; up to 2 % are listed and
            left out.
    """
    if pictures is None:
        rows = tuple((row,) for row in range(len(reference.embeddings)))
        lens = load_lens(config.storage_path, reference.digest)
        times = tuple(picture.taken for picture in reference.pictures)
        return CleanFootage(reference.embeddings.astype(np.float64), lens, rows, times=times)
    if not pictures:
        raise InputError("there are 0 clean pictures: nothing to calibrate from")
    first: dict[str, tuple[Path, _Look]] = {}
    unreadable: dict[Path, str] = {}
    looks = _looks(config, reference, pictures, cluster)
    for done, (path, look) in enumerate(zip(pictures, looks, strict=True), 1):
        if isinstance(look, str):
            unreadable[path] = look
        else:
            first.setdefault(look.digest, (path, look))
        progress(Step("reading pictures", done, len(pictures)))
    check_unreadable(unreadable, len(pictures), "clean pictures")
    read = len(pictures) - len(unreadable)
    if len(first) < read:
        copies = read - len(first)
        are = "is a copy of another and is" if copies == 1 else "are copies of others and are"
        log.warning("%d of %d clean pictures %s left out", copies, read, are)
    files = [path for path, _ in first.values()]
    found = [look for _, look in first.values()]
    embeddings = np.array([look.embedding for look in found], np.float64)
    digests = [look.digest for look in found]
    same = (reference.same_pictures(*each) for each in zip(digests, embeddings, strict=True))
    return CleanFootage(
        embeddings,
        Measured.stacked([look.measured for look in found]),
        tuple(same),
        Remembered.of(config.storage_path, files, digests),
        times_of(files, config.camera.zone),
    )


class _Look(NamedTuple):
    """All that calibration needs of a picture."""

    digest: str
    embedding: npt.NDArray[np.float32]
    measured: Measured


def _looks(
    config: Config, reference: Reference, pictures: Sequence[Path], cluster: Cluster | None
) -> Iterator[_Look | str]:
    """Yield a look at each picture, or what is wrong with it."""
    if cluster is None:
        return (_look(reference, config.upload, path) for path in pictures)
    from lenswatch.node.extractor import extractor_of

    fitted = reference.detector(config.detector.window_size)
    extractor = extractor_of(config, reference, fitted)
    cluster.keep(extractor.variant, extractor.ready)
    return cluster.in_order(functools.partial(_look_elsewhere, extractor.variant), pictures)


def _look(reference: Reference, limits: UploadConfig, path: Path) -> _Look | str:
    size, bits = reference.transform.resize, reference.transform.sample_bits
    try:
        data = read_bytes(path, limits)
        pixels = read_picture(data, size, limits, bits).pixels(size)
    except ImageError as error:
        return str(error).removeprefix(f"{path}: ")
    embedding = embed_picture(reference, pixels)
    return _Look(content_digest(data), embedding, measure(view(pixels)))


def _look_elsewhere(variant: str, path: Path) -> _Look | str:
    """Look at a picture in a worker."""
    from lenswatch.cluster.connection import kept

    extractor = kept(variant)
    return _look(extractor.reference, extractor.limits, path)


def embed_pictures(config: Config, reference: Reference, pictures: Sequence[Path]) -> Floats:
    """Return the embeddings (n, d) of picture files by a reference's encoder.

    Raises:
        InputError: More than 2 % of the pictures cannot be read; up to 2 % are listed and left out.
    """
    transform = reference.transform
    footage = read_pictures(
        pictures, transform.resize, config.upload, sample_bits=transform.sample_bits
    )
    return np.array([embed_picture(reference, one) for one in footage.pixels], np.float64)


@stage("encode")
def embed_picture(reference: Reference, pixels: Pixels) -> npt.NDArray[np.float32]:
    """Return the embedding (d,) of one picture that has the size of the reference's transform."""
    return reference.encoder(pixels)


def distance_runs(
    reference: Reference, clean: CleanFootage, window_size: int
) -> tuple[Floats, ...]:
    """Return out-of-sample distances of the footage, one array for each run, NaN while a window fills.

    Footage that the reference was not trained on is one run, compared with the whole reference. Otherwise
    it is split in time, with as many known pictures before as after, and a gap between. Each part is
    compared with a reference without the known pictures of that part and of the gap. So no picture is
    compared with itself or with a neighbour, and other cameras' pictures in the reference stay in it.
    """
    if not clean.known:
        return (reference.detector(window_size).distances(clean.embeddings),)
    return tuple(
        _without(reference, clean, excluded, window_size).distances(clean.embeddings[run])
        for run, excluded in _parts(clean.known, len(clean.rows), window_size)
    )


def _parts(known: list[int], n: int, gap: int) -> list[tuple[slice, slice]]:
    """Return (run, excluded) twice. With all pictures known these are its halves."""
    middle = known[(len(known) - 1) // 2] + known[len(known) // 2] + 1  # twice the position
    low = (middle - gap) // 2
    high = min(middle - low, n)
    low = max(low, 0)
    return [(slice(0, low), slice(0, high)), (slice(high, n), slice(low, n))]


def _without(
    reference: Reference, clean: CleanFootage, excluded: slice, window_size: int
) -> FittedMMD:
    keep = np.ones(len(reference.embeddings), bool)
    keep[[row for rows in clean.rows[excluded] for row in rows]] = False
    return FittedMMD.fit(reference.embeddings[keep], window_size, reference.sigma)
