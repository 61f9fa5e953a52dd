"""Which pictures a collection of clean footage keeps, and when it is over.

A collection runs for a time. It keeps pictures that are spread over that time: never two that are closer
to each other than a step, and never more than wanted. Nothing here reads files, clocks or databases.
"""

from __future__ import annotations

import bisect
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

__all__ = ["MOST", "Choice", "Collection", "spread", "thin"]

MOST = 400  # pictures that a collection keeps, unless another number is asked for
# Time between two pictures counts for at most this share of the whole. So a clock that is set while the
# node runs, or a camera that is switched off for a month, does not end a collection by itself.
LONGEST_GAP = 1 / 4
AGAIN = 1 / 4  # share of the time that is added when what was kept cannot be trained on
NEARLY_OVER = 3 / 4  # share of the time after which a stream is finished together with others


@dataclass(frozen=True)
class Choice:
    """Fate of one picture.

    Attributes:
        keep: The picture is kept.
        drop: Positions, among the kept pictures in time order, of those that are no longer needed.
        step: Seconds between two kept pictures, at least, from now on.
    """

    keep: bool
    drop: tuple[int, ...]
    step: float


@dataclass(frozen=True)
class Collection:
    """A collection of clean pictures of one stream.

    Attributes:
        seconds: How long it runs.
        wanted: Most pictures that are kept.
        least: Fewest pictures that training needs.
        judged: The pictures are judged as well, and those in drift or alarm are left out.
        step: Seconds between two kept pictures, at least.
        passed: Seconds that have passed, see `after`.
        last_at: Arrival of the last picture, seconds since 1970; None before the first.
        newest: Latest capture time so far, seconds since 1970; None before the first.
        left_out: Pictures that were in drift or alarm.
        in_alarm: Those of them that were not in drift themselves.
        finishing: It is over: no more pictures are kept, and training is due.
        note: Reason why it went on after its time was over; empty without one.
        trouble: Reason why the newest picture could not be kept; empty without one.
    """

    seconds: float
    wanted: int
    least: int
    judged: bool
    step: float
    passed: float = 0.0
    last_at: float | None = None
    newest: float | None = None
    left_out: int = 0
    in_alarm: int = 0
    finishing: bool = False
    note: str = ""
    trouble: str = ""

    @classmethod
    def begin(cls, seconds: float, wanted: int, least: int, *, judged: bool) -> Self:
        """Return a new collection, which wants at least as many pictures as it needs."""
        wanted = max(wanted, least)
        return cls(seconds, wanted, least, judged, step=seconds / wanted)

    @property
    def left(self) -> float:
        """Seconds until it is over."""
        return max(0.0, self.seconds - self.passed)

    def left_at(self, now: float) -> float:
        """Return the seconds that would be left if the next picture arrived at `now`, as `after` has it."""
        gap = 0.0 if self.last_at is None else max(0.0, now - self.last_at)
        return max(0.0, self.left - min(gap, LONGEST_GAP * self.seconds))

    def after(self, arrival: float, taken: float) -> Self:
        """Return the collection after one more picture.

        The time that passed is that between arrivals or between capture times, whichever is longer, so
        that pictures that were stored on the way count like others. A gap counts for at most a quarter of
        the whole time, and a clock that was set back for nothing.

        Args:
            arrival: Time of arrival, seconds since 1970.
            taken: Capture time, seconds since 1970.
        """
        if self.last_at is None or self.newest is None:
            return dataclasses.replace(self, last_at=arrival, newest=taken)
        gap = max(0.0, arrival - self.last_at, taken - self.newest)
        passed = self.passed + min(gap, LONGEST_GAP * self.seconds)
        newest = max(taken, self.newest)
        return dataclasses.replace(self, passed=passed, last_at=arrival, newest=newest)

    def choose(self, kept: Sequence[float], taken: float) -> Choice:
        """Decide about a picture.

        Args:
            kept: Capture times of the kept pictures, in order, in seconds.
            taken: Capture time of the new one.
        """
        at = bisect.bisect(kept, taken)
        if any(abs(taken - near) < self.step for near in kept[max(0, at - 1) : at + 1]):
            return Choice(False, (), self.step)
        times = [*kept[:at], taken, *kept[at:]]
        stay, step = set(range(len(times))), self.step
        while len(stay) > self.wanted:
            step *= 2
            stay = set(thin(times, step))
        drop = [i if i < at else i - 1 for i in range(len(times)) if i not in stay and i != at]
        return Choice(at in stay, tuple(drop), step)

    def is_over(self, kept: int) -> bool:
        """Return True when the time has passed and enough pictures were kept."""
        return self.left == 0 and kept >= self.least

    def is_nearly_over(self, kept: int) -> bool:
        """Return True when it can be finished together with another stream's."""
        return self.finishing or (self.passed >= NEARLY_OVER * self.seconds and kept >= self.least)

    def again(self, note: str) -> Self:
        """Return the collection that goes on for a while, because what was kept cannot be used."""
        passed = min(self.passed, self.seconds) - AGAIN * self.seconds
        return dataclasses.replace(self, passed=max(0.0, passed), finishing=False, note=note)

    def to_json(self) -> str:
        """Return JSON text that `from_json` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the collection that `to_json` wrote."""
        return cls(**json.loads(text))


def thin(times: Sequence[float], step: float) -> list[int]:
    """Return the positions of times in order, leaving out those less than `step` after the last one.

    >>> thin([0, 1, 2, 3, 9], 2)
    [0, 2, 4]
    """
    stay: list[int] = []
    for i, time in enumerate(times):
        if not stay or time - times[stay[-1]] >= step:
            stay.append(i)
    return stay


def spread(times: Sequence[float], wanted: int) -> list[int]:
    """Return the positions of at most `wanted` times in order, spread as evenly as they allow.

    They are those nearest to `wanted` moments at equal distances. Of pictures that came in bursts there
    are fewer.

    >>> spread([0, 1, 2, 3, 4, 5, 6, 7, 8], 3)
    [0, 4, 8]
    >>> spread([0, 1, 2, 100], 3)
    [0, 2, 3]
    """
    if len(times) <= wanted:
        return list(range(len(times)))
    first, length = times[0], times[-1] - times[0]
    moments = (first + length * i / max(1, wanted - 1) for i in range(wanted))
    return sorted({_nearest(times, moment) for moment in moments})


def _nearest(times: Sequence[float], moment: float) -> int:
    after = bisect.bisect_left(times, moment)
    around = range(max(0, after - 1), min(after + 1, len(times)))
    return min(around, key=lambda i: abs(times[i] - moment))
