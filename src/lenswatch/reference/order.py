"""Pictures of a folder in the order in which they were taken.

The order comes from the first kind of time that at least 9 of 10 pictures have: EXIF time, time in the name,
date in the name, file time. Without any it is that of the names, with numbers by their value.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from lenswatch.errors import ConfigError
from lenswatch.reference.capture import (
    Reading,
    Source,
    date_in_name,
    exif_reading,
    time_in_name,
)
from lenswatch.reference.pictures import SUFFIXES, open_image
from lenswatch.wire import CLOCK_ERROR, EARLIEST_CAPTURE

__all__ = ["Ordered", "find_in_order", "in_order", "natural_key", "times_of"]

# Files whose times are less than this apart on average were copied or unpacked, not taken, then.
LEAST_FILE_INTERVAL = timedelta(seconds=2)
ANOTHER_DAY = timedelta(
    hours=26
)  # between two times of one picture, beyond any difference of zones

# Times this far from all others of a folder come from a clock that started anew, if they are few.
FAR = timedelta(days=365)
BAD_SHARE = 10  # one in so many pictures may have a bad time or none
NAMED = 5  # pictures that a note names at most

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
        pictures = f"{len(self.pictures)} picture{'s' * (len(self.pictures) != 1)}"
        if self.by is None:
            tell = "fewer than 9 in 10 tell" if self.notes else "nothing tells"
            return f"{pictures}, ordered by name: {tell} when they were taken"
        known = [time for time in self.times if time is not None]
        return f"{pictures}, ordered by {self.by}: {_shown(min(known))} to {_shown(max(known))} UTC"


@dataclass(frozen=True)
class _Kind:
    """One kind of time, and the reading of it that a picture has."""

    source: Source
    read: Callable[[Path], Reading | None]


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
        matches = {path for path in folder.glob(pattern) if path.suffix.lower() in SUFFIXES}
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
    """Return picture files in time order.

    A kind of time counts if at most 1 in 10 of the readable pictures have none of it that can be right.
    Times after `now`, times too long ago, and few times far away from all others cannot be right.
    """
    pictures = sorted(files, key=_by_name)
    exif, unreadable = _exif_readings(pictures)
    if len(unreadable) == len(pictures):
        unreadable = set()  # their names and files are all there is
    kinds = (
        _Kind("EXIF time", exif.get),
        _Kind("time in the name", lambda path: time_in_name(path.name, now)),
        _Kind("date in the name", lambda path: date_in_name(path.name)),
        _Kind("file time", _file_reading),
    )
    notes: list[str] = []
    for kind in kinds:
        moments = [_moments(path, kind, zone) for path in pictures]
        times = _times(moments, now)
        lacking = _lacking(pictures, times, unreadable)
        if not any(times):
            continue
        if _too_many(len(lacking), len(pictures) - len(unreadable)):
            notes.append(_incomplete(kind.source, lacking, len(pictures)))
            continue
        stray = _stray(times)
        times = _times([() if i in stray else each for i, each in enumerate(moments)], now)
        if kind.source == "file time" and not _spread(times):
            continue
        wrong = _wrong(pictures, moments, times)
        lacking = _lacking(pictures, times, unreadable)
        if lacking:
            notes.append(_left_behind(kind.source, lacking, wrong, len(pictures)))
        notes += _against(pictures, times, kind.source)
        if kind.source == "EXIF time":
            notes += _other_days(pictures, times, zone, now)
        shown = {} if kind.source == "file time" else wrong  # that is no camera's clock
        return replace(_sorted(pictures, times, kind.source), notes=tuple(notes), wrong=shown)
    return Ordered(tuple(pictures), (None,) * len(pictures), None, tuple(notes))


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


def _exif_readings(pictures: Sequence[Path]) -> tuple[dict[Path, Reading], set[Path]]:
    """Return the EXIF times of pictures, and the pictures that cannot be read."""
    found: dict[Path, Reading] = {}
    unreadable: set[Path] = set()
    with warnings.catch_warnings(
        action="ignore"
    ):  # about sizes, which are checked when it is decoded
        for path in pictures:
            try:
                with open_image(path) as image:
                    reading = exif_reading(image.getexif())
            except Exception:  # decoders raise nearly anything on damaged input
                unreadable.add(path)
                continue
            if reading is not None:
                found[path] = reading
    return found, unreadable


def _file_reading(path: Path) -> Reading | None:
    try:
        return Reading(datetime.fromtimestamp(path.stat().st_mtime, UTC), "file time")
    except (OSError, OverflowError, ValueError):
        return None


def _moments(path: Path, kind: _Kind, zone: ZoneInfo | None) -> tuple[datetime, ...]:
    reading = kind.read(path)
    return () if reading is None else reading.moments(zone)


def _times(moments: Sequence[tuple[datetime, ...]], now: datetime) -> list[datetime | None]:
    """Return the plausible time of each picture; in a repeated hour, that which continues the names."""
    times: list[datetime | None] = []
    before = EARLIEST_CAPTURE
    for each in moments:
        known = [m for m in each if EARLIEST_CAPTURE <= m <= now + CLOCK_ERROR]
        following = [moment for moment in known if moment >= before]
        times.append(next(iter(following or known), None))
        before = times[-1] or before
    return times


def _lacking(
    pictures: Sequence[Path], times: Sequence[datetime | None], unreadable: set[Path]
) -> list[Path]:
    """Return the readable pictures without a time."""
    both = zip(pictures, times, strict=True)
    return [path for path, time in both if time is None and path not in unreadable]


def _wrong(
    pictures: Sequence[Path],
    moments: Sequence[tuple[datetime, ...]],
    times: Sequence[datetime | None],
) -> dict[Path, datetime]:
    """Return what the clock showed for each picture whose time cannot be right."""
    each = zip(pictures, moments, times, strict=True)
    return {path: shown[0] for path, shown, time in each if shown and time is None}


def _too_many(bad: int, total: int) -> bool:
    return bad * BAD_SHARE > total


def _stray(times: Sequence[datetime | None]) -> set[int]:
    """Return the positions of times a year or more from all others around the median, if they are few.

    Footage of several years has no such gap, and that of two seasons has many pictures on both sides.
    """
    known = sorted((time, i) for i, time in enumerate(times) if time is not None)
    first = last = len(known) // 2
    while first > 0 and known[first][0] - known[first - 1][0] < FAR:
        first -= 1
    while last < len(known) - 1 and known[last + 1][0] - known[last][0] < FAR:
        last += 1
    stray = {i for _, i in known[:first] + known[last + 1 :]}
    return set() if _too_many(len(stray), len(known)) else stray


def _spread(times: Sequence[datetime | None]) -> bool:
    known = [time for time in times if time is not None]
    span = max(known) - min(known)
    return len(known) > 1 and span >= (len(known) - 1) * LEAST_FILE_INTERVAL


def _sorted(pictures: Sequence[Path], times: Sequence[datetime | None], by: Source) -> Ordered:
    """Return the pictures by time; one without a time stays behind its neighbour by name."""
    filled, before = [], next(time for time in times if time is not None)
    for time in times:
        before = time or before
        filled.append(before)
    order = sorted(range(len(pictures)), key=lambda i: (filled[i], i))
    return Ordered(
        tuple(pictures[i] for i in order),
        tuple(times[i] for i in order),
        by,
        places=tuple(filled[i] for i in order),
    )


def _incomplete(source: Source, lacking: Sequence[Path], total: int) -> str:
    return f"{_without(source, len(lacking), total)}, such as {lacking[0].name}; so it is not used"


def _left_behind(
    source: Source, lacking: Sequence[Path], wrong: Mapping[Path, datetime], total: int
) -> str:
    """Return a note that names pictures whose place in the order is a guess."""
    named = [
        f"{path.name} ({_shown(wrong[path])})" if path in wrong else path.name
        for path in lacking[:NAMED]
    ]
    more = len(lacking) - len(named)
    which = ", ".join(named) + (f" and {more} more" if more else "")
    stay = (
        "it stays behind its neighbour"
        if len(lacking) == 1
        else "they stay behind their neighbours"
    )
    return f"{_without(source, len(lacking), total)}: {which}; {stay} by name"


def _without(source: Source, lacking: int, total: int) -> str:
    have = "has" if lacking == 1 else "have"
    return f"{lacking} of {total} pictures {have} no {source} that can be right"


def _against(
    pictures: Sequence[Path], times: Sequence[datetime | None], source: Source
) -> list[str]:
    """Return a note if the names, read as people do, are in another order than the times."""
    known = [(path, time) for path, time in zip(pictures, times, strict=True) if time is not None]
    wrong = [(a, b) for a, b in itertools.pairwise(known) if b[1] < a[1]]
    if not wrong:
        return []
    (first, earlier), (second, later) = wrong[0]
    places = "in 1 place" if len(wrong) == 1 else f"in {len(wrong)} places"
    return [
        f"the names are in another order than the {source} {places}: {first.name} "
        f"({_shown(earlier)}) comes before {second.name} ({_shown(later)}) by name; "
        f"the {source} decides"
    ]


def _other_days(
    pictures: Sequence[Path],
    times: Sequence[datetime | None],
    zone: ZoneInfo | None,
    now: datetime,
) -> list[str]:
    """Return a note if a picture's name and its EXIF data name different days."""
    wrong = []
    for path, time in zip(pictures, times, strict=True):
        reading = time_in_name(path.name, now) or date_in_name(path.name)
        moments = () if reading is None or time is None else reading.moments(zone)
        if moments and time is not None and abs(moments[0] - time) > ANOTHER_DAY:
            wrong.append((path, moments[0], time))
    if not wrong:
        return []
    path, named, time = wrong[0]
    have = "has" if len(wrong) == 1 else "have"
    return [
        f"{len(wrong)} of {len(pictures)} names {have} another date than the EXIF time, such as "
        f"{path.name} ({_shown(named)} by name, {_shown(time)} by EXIF time); the EXIF time decides"
    ]


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
