"""Reading of many pictures at one size, importable without torch."""

from __future__ import annotations

import functools
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lenswatch.config import UploadConfig
from lenswatch.detect.arrays import Pixels
from lenswatch.errors import ImageError, InputError
from lenswatch.progress import Progress, Step, no_progress
from lenswatch.reference.identity import content_digest
from lenswatch.reference.pictures import read_bytes, read_picture

if TYPE_CHECKING:
    from lenswatch.cluster.connection import Cluster

__all__ = ["Footage", "check_unreadable", "read_pictures"]

log = logging.getLogger(__name__)

UNREADABLE_PERCENT = 2  # of the pictures; with more, something else is wrong than a single file
LISTED = 20  # unreadable pictures that an error message names


@dataclass(frozen=True)
class Footage:
    """Pictures that could be read, in the order in which they were given.

    Attributes:
        pixels: (n, height, width, 3) uint8, in a temporary file that is mapped into memory.
        files: The n files.
        digests: SHA-256 of the content of each file, hexadecimal.
        largest: Largest value of those with 16 bits; None if there are none.
    """

    pixels: Pixels
    files: tuple[Path, ...]
    digests: tuple[str, ...]
    largest: int | None = None


def read_pictures(
    pictures: Sequence[Path],
    size: tuple[int, int],
    limits: UploadConfig,
    progress: Progress = no_progress,
    kind: str = "pictures",
    sample_bits: int = 0,
    cluster: Cluster | None = None,
) -> Footage:
    """Read pictures at one size, leaving out those that cannot be read.

    Any number of pictures fits, since the pixels are in a temporary file.

    Args:
        pictures: The pictures, in time order.
        size: Height and width.
        limits: Bytes and pixels that are accepted.
        progress: Called after each picture.
        kind: Description of the pictures, for messages.
        sample_bits: Bits of 16 that the camera uses; 0 for all.
        cluster: Its workers read the pictures; None for this process.

    Raises:
        InputError: More than 2 % of the pictures cannot be read; up to 2 % are listed in a warning.
    """
    with tempfile.TemporaryFile() as file:
        pixels = np.memmap(file, np.uint8, "w+", shape=(len(pictures), *size, 3))
    used: dict[Path, str] = {}
    unreadable: dict[Path, str] = {}
    largest: list[int] = []
    read = functools.partial(_read, size=size, limits=limits, sample_bits=sample_bits)
    found = map(read, pictures) if cluster is None else cluster.in_order(read, pictures)
    for done, (path, one) in enumerate(zip(pictures, found, strict=True), 1):
        if isinstance(one, str):
            unreadable[path] = one
        else:
            pixels[len(used)] = one.pixels
            used[path] = one.digest
            largest += [] if one.largest is None else [one.largest]
        progress(Step("reading pictures", done, len(pictures)))
    check_unreadable(unreadable, len(pictures), kind)
    digests = tuple(used.values())
    return Footage(pixels[: len(used)], tuple(used), digests, max(largest, default=None))


class _Read(NamedTuple):
    pixels: Pixels
    digest: str
    largest: int | None


def _read(path: Path, size: tuple[int, int], limits: UploadConfig, sample_bits: int) -> _Read | str:
    """Return a picture at one size, or what is wrong with it."""
    try:
        data = read_bytes(path, limits)
        picture = read_picture(data, size, limits, sample_bits)
        return _Read(picture.pixels(size), content_digest(data), picture.largest)
    except ImageError as error:
        return str(error).removeprefix(f"{path}: ")


def check_unreadable(unreadable: Mapping[Path, str], total: int, kind: str) -> None:
    """Check that few pictures are unreadable, and list them in a warning.

    Raises:
        InputError: More than 2 % are.
    """
    lines = [f"{path}: {reason}" for path, reason in unreadable.items()]
    problem = f"{len(lines)} of {total} {kind} cannot be read"
    if len(lines) * 100 > total * UNREADABLE_PERCENT:
        more = [f"and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
        listed = "".join(f"\n  {line}" for line in lines[:LISTED] + more)
        raise InputError(
            f"{problem}, more than {UNREADABLE_PERCENT} %; replace or remove them:{listed}"
        )
    if lines:
        log.warning("%s and are left out:%s", problem, "".join(f"\n  {line}" for line in lines))
