"""How often the pictures of a stream come, and how long it may be until the next one.

The usual interval is the median of the last 50 gaps between two pictures, by their times of capture. A gap
of more than 3 times that is a pause. A pause is expected again where one began at about the same time of
day on two of the days before, as the nights of a camera do, or where the camera works in bursts: it
paused for most of the time of its last pauses, and at different times of day.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from statistics import median

__all__ = ["NO_RHYTHM", "TIMES", "Rhythm", "due_after", "longest_wait"]

TIMES = 3  # the usual interval until a stream is silent
_GAPS = 50
_FEWEST_GAPS = 5  # to know the interval
_PAUSES = 32
_BURSTS = 4  # pauses that are needed to see that a camera works in bursts
_MARGIN = 1.25  # by which an expected pause may be longer than before
_MILLISECOND = 1000
_HOUR = 3600 * 10**6
_DAY = 24 * _HOUR
_NEAR = 3 * _HOUR // 2  # times of day that are about the same
_SHORTEST = 120 * 10**6  # a wait by a learnt interval is not shorter: jobs are sent in batches
_LIVE = _DAY  # pictures that are older at their arrival come from an archive


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The gaps between the pictures of a stream.

    Attributes:
        gaps: The last ones, in milliseconds.
        pauses: Beginning in microseconds and length in milliseconds of the last ones.
        taken: Time of capture of the last picture, in microseconds.
        live: Whether a picture ever arrived soon after it was taken. Else all come from an archive.
    """

    gaps: tuple[int, ...] = ()
    pauses: tuple[tuple[int, int], ...] = ()
    taken: int | None = None
    live: bool = False

    @property
    def interval(self) -> int | None:
        """The usual interval in microseconds; None before it is known."""
        if len(self.gaps) < _FEWEST_GAPS:
            return None
        return int(median(self.gaps) * _MILLISECOND) or None

    def after(self, taken: int, arrived: int) -> Rhythm:
        """Return the rhythm after one more picture."""
        live = self.live or arrived - taken <= _LIVE
        if self.taken is None:
            return Rhythm(taken=taken, live=live)
        gap = (taken - self.taken) // _MILLISECOND
        if gap <= 0:
            return replace(self, live=live)
        pauses = self.pauses
        if len(self.gaps) >= _FEWEST_GAPS and gap > TIMES * min(self.gaps):  # else it is no pause
            usual = self.interval
            if usual is not None and gap * _MILLISECOND > TIMES * usual:
                pauses = (*pauses, (self.taken, gap))[-_PAUSES:]
        return Rhythm((*self.gaps, gap)[-_GAPS:], pauses, taken, live)

    def to_text(self) -> str:
        """Return the JSON that is stored."""
        return json.dumps([self.gaps, self.pauses, self.taken, self.live])

    @classmethod
    def of(cls, stored: str | None) -> Rhythm:
        """Return the rhythm that `to_text` wrote."""
        if not stored:
            return cls()
        gaps, pauses, taken, live = json.loads(stored)
        return cls(tuple(gaps), tuple([(begin, length) for begin, length in pauses]), taken, live)


NO_RHYTHM = Rhythm()


def longest_wait(rhythm: Rhythm, interval_set: int | None = None) -> int | None:
    """Return how long after its last picture the next one is expected at the latest.

    Args:
        rhythm: What is known of the stream.
        interval_set: The interval that a person set, in microseconds.

    Returns:
        Microseconds; None while the interval is not known.
    """
    base = _base(rhythm, interval_set)
    if base is None or rhythm.taken is None:
        return base
    return max(
        base, _as_before(rhythm.pauses, rhythm.taken), _in_bursts(rhythm.pauses, rhythm.taken)
    )


def due_after(rhythm: Rhythm, arrived: int, interval_set: int | None = None) -> int | None:
    """Return when a stream is silent if nothing comes until then; None if nothing is expected.

    Args:
        rhythm: What is known of the stream.
        arrived: Arrival of its last job, in microseconds.
        interval_set: The interval that a person set, in microseconds.
    """
    base, wait = _base(rhythm, interval_set), longest_wait(rhythm, interval_set)
    if base is None or wait is None or not (rhythm.live or interval_set is not None):
        return None
    return max(arrived + base, (arrived if rhythm.taken is None else rhythm.taken) + wait)


def _base(rhythm: Rhythm, interval_set: int | None) -> int | None:
    if interval_set is not None:
        return TIMES * interval_set
    usual = rhythm.interval
    return None if usual is None else max(TIMES * usual, _SHORTEST)


def _as_before(pauses: tuple[tuple[int, int], ...], begin: int) -> int:
    """Return the length of a pause that begins at this time of day, as two of the days before had it."""
    longest: dict[int, int] = {}
    for earlier, length in pauses:
        days, rest = divmod(begin - earlier + _DAY // 2, _DAY)
        if abs(rest - _DAY // 2) <= _NEAR and days > 0:
            longest[days] = max(longest.get(days, 0), length)
    lengths = sorted(longest.values())
    return int(lengths[-2] * _MILLISECOND * _MARGIN) if len(lengths) > 1 else 0


def _in_bursts(pauses: tuple[tuple[int, int], ...], now: int) -> int:
    """Return `TIMES` the usual pause of a camera that works in bursts; 0 for any other."""
    last = pauses[-2 * _BURSTS :]
    if len(last) < _BURSTS:
        return 0
    paused = sum(length for _, length in last) * _MILLISECOND
    hours = {begin % _DAY // (2 * _HOUR) for begin, _ in last}
    if 2 * paused < now - last[0][0] or len(hours) < 3:
        return 0
    return int(TIMES * median(length for _, length in last) * _MILLISECOND)
