"""The place of a picture in the time of its stream, whatever clocks camera and node have.

The order of a stream is that in which its pictures arrive. A picture that is older than the newest one is
late. A time that cannot be right is replaced by the time of arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lenswatch.detect.chart.fitting import are_far_apart
from lenswatch.wire import CLOCK_ERROR, EARLIEST_CAPTURE

__all__ = ["Newest", "Place", "place"]

RESTARTED = timedelta(days=365)  # this far behind the newest picture a clock has started anew
# Stamps follow a picture's transport, arrival does not: in a stream with both, so much is no lateness.
MIXED = timedelta(hours=1)
LIVE = timedelta(minutes=30)  # nearer to its arrival, a stamp is that of a live picture


@dataclass(frozen=True)
class Newest:
    """Time of a stream's newest picture.

    Attributes:
        at: The time, in UTC.
        arrived: It is a time of arrival, not of capture.
    """

    at: datetime
    arrived: bool = False


@dataclass(frozen=True)
class Place:
    """The place of one picture.

    Attributes:
        captured_at: Time of capture, or of arrival, in UTC.
        camera_time: A time of capture that cannot be right, in UTC, else None.
        late: The picture is older than the newest one.
        newest: The newest picture of the stream after this one.
    """

    captured_at: datetime
    camera_time: datetime | None
    late: bool
    newest: Newest

    def after_a_gap(self, before: Newest | None) -> bool | None:
        """Return whether the picture was taken long after the one before.

        None if that is not known, since one of the two has no time of capture.
        """
        if before is None or before.arrived or self.newest.arrived:
            return None
        return are_far_apart((self.newest.at - before.at).total_seconds())


def place(
    moments: Sequence[datetime],
    arrival: datetime,
    newest: Newest | None,
    *,
    backlog: bool = False,
) -> Place:
    """Return the place of a picture.

    Args:
        moments: Moments at which it may have been taken, the earlier first; none if nothing tells.
        arrival: The node's present time.
        newest: The newest picture so far; None before the first.
        backlog: The picture belongs to a folder in time order, where years ago is no wrong clock.
    """
    clock_runs = arrival >= EARLIEST_CAPTURE  # a node without network may stand at 1970 itself
    if newest is not None and clock_runs and newest.at > arrival + CLOCK_ERROR:
        newest = None  # the node's clock was ahead when that picture came
    latest = arrival + CLOCK_ERROR if clock_runs else None
    if not moments:
        return _arrived(arrival, None, newest)
    floor = None if newest is None else newest.at - (MIXED if newest.arrived else timedelta(0))
    moment = _choose(moments, arrival, floor, latest)
    if _impossible(moment, newest, latest, backlog):
        return _arrived(arrival, moment, newest)
    late = floor is not None and moment < floor
    if newest is None or moment >= newest.at:
        newest = Newest(moment)
    return Place(moment, None, late, newest)


def _arrived(arrival: datetime, camera_time: datetime | None, newest: Newest | None) -> Place:
    """Return the place of a picture that is ordered by its arrival: it is never late."""
    if newest is None or arrival > newest.at:
        newest = Newest(arrival, arrived=True)
    return Place(arrival, camera_time, False, newest)


def _choose(
    moments: Sequence[datetime],
    arrival: datetime,
    floor: datetime | None,
    latest: datetime | None,
) -> datetime:
    """Return the one of several moments that continues the stream: in autumn an hour comes twice."""
    known = [moment for moment in moments if latest is None or moment <= latest]
    known = known or list(moments)
    following = [moment for moment in known if floor is None or moment >= floor]
    live = [moment for moment in following if abs(arrival - moment) <= LIVE]
    return (live or following or known)[0]


def _impossible(
    moment: datetime, newest: Newest | None, latest: datetime | None, backlog: bool
) -> bool:
    if moment < EARLIEST_CAPTURE or (latest is not None and moment > latest):
        return True
    return not backlog and newest is not None and newest.at - moment >= RESTARTED
