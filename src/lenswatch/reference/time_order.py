"""The order in which pictures were taken, from what is known of each.

It comes from the first kind of time that at least 9 of 10 pictures have: EXIF time, time in the name, date in
the name, file time. Without any it is that of the names.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from lenswatch.reference.capture import Reading, Source, date_in_name, time_in_name
from lenswatch.wire import CLOCK_ERROR, EARLIEST_CAPTURE

__all__ = ["BAD_SHARE", "Order", "Shot", "order_of", "order_told"]

# Files whose times are less than this apart on average were copied or unpacked, not taken, then.
LEAST_FILE_INTERVAL = timedelta(seconds=2)
ANOTHER_DAY = timedelta(
    hours=26
)  # between two times of one picture, beyond any difference of zones

# Times this far from all others of a folder come from a clock that started anew, if they are few.
FAR = timedelta(days=365)
BAD_SHARE = 10  # one in so many pictures may have a bad time or none
NAMED = 5  # pictures that a note names at most


@dataclass(frozen=True)
class Shot:
    """All that tells the place of a picture in the order.

    Attributes:
        name: Its name without folders.
        exif: Reading of the camera's clock by its EXIF data; None without one.
        readable: It can be opened as a picture.
        changed: Time of the file's last change, in seconds since 1970; None if that is not known.
    """

    name: str
    exif: Reading | None
    readable: bool
    changed: float | None


@dataclass(frozen=True)
class Order:
    """The order of pictures that are known by their numbers.

    Attributes:
        numbers: The n numbers, in time order.
        times: Time of capture of each by its number; None where no time could be relied on.
        places: The times, and that of the neighbour by name for a picture without one, by number; empty for
            the order of the names.
        by: Kind of time that the order comes from; None for the order of the names.
        notes: Sentences on what speaks against that order.
        wrong: Times that the camera's clock showed and that cannot be right, by number.
    """

    numbers: Sequence[int]
    times: Sequence[datetime | None]
    places: Sequence[datetime]
    by: Source | None
    notes: tuple[str, ...] = ()
    wrong: Mapping[int, datetime] = field(default_factory=dict)

    def told(self) -> str:
        """Return the order in words: "60 pictures, ordered by EXIF time: 2026-06-01 to 2026-06-03"."""
        return order_told(len(self.numbers), self.times, self.by, self.notes)


@dataclass(frozen=True)
class _Kind:
    """One kind of time, and the reading of it that a picture has."""

    source: Source
    read: Callable[[Shot], Reading | None]


def order_of(shots: Collection[Shot], zone: ZoneInfo | None, now: datetime) -> Order:
    """Return the time order of pictures.

    A kind of time counts if at most 1 in 10 of the readable pictures have none of it that can be right.
    Times after `now`, times too long ago, and few times far away from all others cannot be right.

    Args:
        shots: The pictures, in the order of their names. They are gone through several times, and none is
            kept.
        zone: Zone of times without offset; None for that of this machine.
        now: The present time.
    """
    count = len(shots)
    unreadable = sum(not shot.readable for shot in shots)
    if unreadable == count:
        unreadable = 0  # their names and files are all there is
    kinds = (
        _Kind("EXIF time", lambda shot: shot.exif),
        _Kind("time in the name", lambda shot: time_in_name(shot.name, now)),
        _Kind("date in the name", lambda shot: date_in_name(shot.name)),
        _Kind("file time", _file_reading),
    )
    notes: list[str] = []
    for kind in kinds:
        moments = _Moments(shots, kind, zone)
        times = _times(moments, now)
        lacking = _lacking(shots, times, skip_unreadable=unreadable > 0)
        if not any(times):
            continue
        if _too_many(len(lacking), count - unreadable):
            notes.append(_incomplete(kind.source, lacking, count))
            continue
        moments.stray = _stray(times)
        times = _times(moments, now) if moments.stray else times
        if kind.source == "file time" and not _spread(times):
            continue
        wrong = _wrong(_Moments(shots, kind, zone), times)
        lacking = _lacking(shots, times, skip_unreadable=unreadable > 0)
        if lacking:
            notes.append(_left_behind(kind.source, lacking, wrong, count))
        notes += _against(shots, times, kind.source)
        if kind.source == "EXIF time":
            notes += _other_days(shots, times, zone, now)
        shown = {} if kind.source == "file time" else wrong  # that is no camera's clock
        places = _places(times)
        numbers = sorted(range(count), key=lambda i: (places[i], i))
        return Order(numbers, times, places, kind.source, tuple(notes), shown)
    return Order(range(count), [None] * count, (), None, tuple(notes))


def _file_reading(shot: Shot) -> Reading | None:
    if shot.changed is None:
        return None
    try:
        return Reading(datetime.fromtimestamp(shot.changed, UTC), "file time")
    except (OverflowError, ValueError, OSError):
        return None


@dataclass
class _Moments:
    """The moments that the readings of one kind can mean, read anew each time that they are gone through.

    Attributes:
        stray: Numbers of pictures whose readings count as absent.
    """

    shots: Collection[Shot]
    kind: _Kind
    zone: ZoneInfo | None
    stray: set[int] = field(default_factory=set)

    def __iter__(self) -> Iterator[tuple[datetime, ...]]:
        for i, shot in enumerate(self.shots):
            reading = None if i in self.stray else self.kind.read(shot)
            yield () if reading is None else reading.moments(self.zone)


def _times(moments: Iterable[tuple[datetime, ...]], now: datetime) -> list[datetime | None]:
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
    shots: Iterable[Shot], times: Iterable[datetime | None], *, skip_unreadable: bool
) -> dict[int, str]:
    """Return the number and name of each readable picture without a time."""
    both = enumerate(zip(shots, times, strict=True))
    return {
        i: shot.name
        for i, (shot, time) in both
        if time is None and (shot.readable or not skip_unreadable)
    }


def _wrong(
    moments: Iterable[tuple[datetime, ...]], times: Iterable[datetime | None]
) -> dict[int, datetime]:
    """Return what the clock showed for each picture whose time cannot be right, by its number."""
    each = enumerate(zip(moments, times, strict=True))
    return {i: shown[0] for i, (shown, time) in each if shown and time is None}


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


def _places(times: Sequence[datetime | None]) -> list[datetime]:
    """Return the times; a picture without one has that of its neighbour by name."""
    filled, before = [], next(time for time in times if time is not None)
    for time in times:
        before = time or before
        filled.append(before)
    return filled


def _incomplete(source: Source, lacking: Mapping[int, str], total: int) -> str:
    such = next(iter(lacking.values()))
    return f"{_without(source, len(lacking), total)}, such as {such}; so it is not used"


def _left_behind(
    source: Source, lacking: Mapping[int, str], wrong: Mapping[int, datetime], total: int
) -> str:
    """Return a note that names pictures whose place in the order is a guess."""
    named = [
        f"{name} ({_shown(wrong[i])})" if i in wrong else name
        for i, name in itertools.islice(lacking.items(), NAMED)
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


def _against(shots: Iterable[Shot], times: Iterable[datetime | None], source: Source) -> list[str]:
    """Return a note if the names, read as people do, are in another order than the times."""
    both = zip(shots, times, strict=True)
    known = ((shot.name, time) for shot, time in both if time is not None)
    places, found = 0, ""
    for (first, earlier), (second, later) in itertools.pairwise(known):
        if later < earlier:
            places += 1
            found = found or (
                f"{first} ({_shown(earlier)}) comes before {second} ({_shown(later)}) by name"
            )
    if not places:
        return []
    where = "in 1 place" if places == 1 else f"in {places} places"
    return [
        f"the names are in another order than the {source} {where}: {found}; the {source} decides"
    ]


def _other_days(
    shots: Iterable[Shot],
    times: Sequence[datetime | None],
    zone: ZoneInfo | None,
    now: datetime,
) -> list[str]:
    """Return a note if a picture's name and its EXIF data name different days."""
    count, found = 0, ""
    for shot, time in zip(shots, times, strict=True):
        reading = time_in_name(shot.name, now) or date_in_name(shot.name)
        moments = () if reading is None or time is None else reading.moments(zone)
        if moments and time is not None and abs(moments[0] - time) > ANOTHER_DAY:
            count += 1
            found = found or (
                f"{shot.name} ({_shown(moments[0])} by name, {_shown(time)} by EXIF time)"
            )
    if not count:
        return []
    have = "has" if count == 1 else "have"
    return [
        f"{count} of {len(times)} names {have} another date than the EXIF time, such as {found}; "
        "the EXIF time decides"
    ]


def order_told(
    count: int, times: Iterable[datetime | None], by: Source | None, notes: Sequence[str]
) -> str:
    """Return the order of some pictures in words."""
    pictures = f"{count} picture{'s' * (count != 1)}"
    if by is None:
        tell = "fewer than 9 in 10 tell" if notes else "nothing tells"
        return f"{pictures}, ordered by name: {tell} when they were taken"
    known = [time for time in times if time is not None]
    return f"{pictures}, ordered by {by}: {_shown(min(known))} to {_shown(max(known))} UTC"


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
