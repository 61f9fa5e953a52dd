"""The facts of one picture file that the checks compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lenswatch.config import Config
from lenswatch.detect.arrays import Pixels
from lenswatch.detect.chart.features import measure, view
from lenswatch.errors import ImageError
from lenswatch.progress import Progress, Step, no_progress
from lenswatch.reference.identity import content_digest
from lenswatch.reference.pictures import read_bytes, read_picture, suffix_of
from lenswatch.reference.schema import colours_of

__all__ = ["Facts", "Unreadable", "look_at"]


@dataclass(frozen=True)
class Facts:
    """One picture that can be read.

    Attributes:
        path: The file.
        size: Width and height of the picture, upright.
        colours: "grey" or "in colour".
        kind: Suffix of its kind of file, by its content.
        bytes: Size of the file.
        digest: SHA-256 of its content, hexadecimal.
        thumb: (64, 80) uint8, luma.
        luma: Mean luma, 0 to 255.
    """

    path: Path
    size: tuple[int, int]
    colours: str
    kind: str
    bytes: int
    digest: str
    thumb: Pixels
    luma: float


@dataclass(frozen=True)
class Unreadable:
    """A file that cannot be read as a picture, and why."""

    path: Path
    reason: str


def look_at(
    files: Sequence[Path], config: Config, progress: Progress = no_progress
) -> tuple[list[Facts], list[Unreadable]]:
    """Return the facts of the files that can be read, and the others, both in the order of the files."""
    found: list[Facts] = []
    unreadable: list[Unreadable] = []
    for done, path in enumerate(files, 1):
        try:
            found.append(_facts(path, config))
        except ImageError as error:
            unreadable.append(Unreadable(path, str(error).removeprefix(f"{path}: ")))
        progress(Step("checking pictures", done, len(files)))
    return found, unreadable


def _facts(path: Path, config: Config) -> Facts:
    data = read_bytes(path, config.upload)
    size, bits = config.transform.resize, config.transform.sample_bits
    picture = read_picture(data, size, config.upload, bits)
    pixels = picture.pixels(size)
    measured = measure(view(pixels))
    return Facts(
        path,
        (picture.width, picture.height),
        colours_of(pixels),
        suffix_of(data),
        len(data),
        content_digest(data),
        measured.thumbs,
        float(np.mean(measured.thumbs)),
    )
