"""Pictures of a folder in the order in which they were taken.

Without any time, that is the order of their names, with numbers by their value.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from lenswatch.errors import ConfigError
from lenswatch.reference.capture import Reading, Source, exif_reading
from lenswatch.reference.pictures import SUFFIXES, open_image
from lenswatch.reference.time_order import Shot, order_of, order_told

__all__ = ["Ordered", "exif_of", "find_in_order", "in_order", "natural_key", "times_of"]

_Key = tuple[tuple[str | int, ...], str]


@dataclass(frozen=True)
class Ordered:
    """Pictures of a folder in time order.

    Attributes:
        pictures: The n files.
        times: Time of capture of each in UTC; None where no time could be relied on.
        by: Kind of time that the order comes from; None for the order of the names.
        notes: Sentences on what speaks against that order.
        places: The times, and that of the neighbour by name for a picture without one; empty for the order
            of the names.
        wrong: Times that the camera's clock showed and that cannot be right, in UTC.
    """

    pictures: tuple[Path, ...]
    times: tuple[datetime | None, ...]
    by: Source | None
    notes: tuple[str, ...] = ()
    places: tuple[datetime, ...] = ()
    wrong: Mapping[Path, datetime] = field(default_factory=dict)

    def told(self) -> str:
        """Return the order in words: "60 pictures, ordered by EXIF time: 2026-06-01 to 2026-06-03"."""
        return order_told(len(self.pictures), self.times, self.by, self.notes)


def find_in_order(
    folder: Path,
    patterns: Sequence[str],
    zone: ZoneInfo | None = None,
    key: str = "camera_state.clean",
    but: Path | None = None,
) -> Ordered:
    """Return the pictures that match `patterns` in time order.

    Args:
        folder: The folder that the patterns start from.
        patterns: File names or globs.
        zone: Zone of times without offset; None for that of this machine.
        key: Setting that the patterns come from, for messages.
        but: Folder whose pictures only a pattern that names it matches.

    Raises:
        ConfigError: A pattern is absolute or matches no picture.
    """
    found: set[Path] = set()
    for pattern in patterns:
        if Path(pattern).is_absolute():
            raise ConfigError(f"{key}: {pattern!r}: give a name or pattern below {folder}")
        named = (path for path in folder.glob(pattern) if path.suffix.lower() in SUFFIXES)
        matches = {path for path in named if not path.is_dir()}
        if but is not None and not _named(folder, pattern).is_relative_to(but):
            matches = {path for path in matches if not path.is_relative_to(but)}
        if not matches:
            raise ConfigError(f"{key}: {pattern!r} names no picture below {folder}")
        found |= matches
    return in_order(found, zone, datetime.now(UTC))


def _named(folder: Path, pattern: str) -> Path:
    """Return the folder that a pattern names, up to its first sign for other names."""
    parts = itertools.takewhile(lambda part: not set(part) & set("*?["), Path(pattern).parts)
    return folder.joinpath(*parts)


def in_order(files: set[Path], zone: ZoneInfo | None, now: datetime) -> Ordered:
    """Return picture files in time order, as `order_of` finds it."""
    pictures = sorted(files, key=_by_name)
    order = order_of([_shot(path) for path in pictures], zone, now)
    return Ordered(
        tuple(pictures[i] for i in order.numbers),
        tuple(order.times[i] for i in order.numbers),
        order.by,
        order.notes,
        tuple(order.places[i] for i in order.numbers) if order.places else (),
        {pictures[i]: shown for i, shown in order.wrong.items()},
    )


def times_of(files: Sequence[Path], zone: ZoneInfo | None) -> tuple[datetime | None, ...]:
    """Return the time of capture of each file, in UTC; None for each where nothing can be relied on."""
    if not files:
        return ()
    ordered = in_order(set(files), zone, datetime.now(UTC))
    known = dict(zip(ordered.pictures, ordered.times, strict=True))
    return tuple(known[file] for file in files)


def natural_key(text: str) -> tuple[str | int, ...]:
    """Return a sort key in which numbers count by their value: `a2` before `a10`."""
    parts = re.split("([0-9]+)", text)
    return tuple(int(part) if at % 2 else part for at, part in enumerate(parts))


def _by_name(path: Path) -> tuple[_Key, _Key]:
    parent, name = str(path.parent), path.name
    return (natural_key(parent), parent), (natural_key(name), name)


def exif_of(source: Path | bytes) -> tuple[Reading | None, bool]:
    """Return the EXIF time of a picture, and False if it cannot be opened as one."""
    with warnings.catch_warnings(
        action="ignore"
    ):  # about sizes, which are checked when it is decoded
        try:
            with open_image(source) as image:
                return exif_reading(image.getexif()), True
        except Exception:  # decoders raise nearly anything on damaged input
            return None, False


def _shot(path: Path) -> Shot:
    exif, readable = exif_of(path)
    try:
        changed = path.stat().st_mtime
    except OSError:
        changed = None
    return Shot(path.name, exif, readable, changed)
