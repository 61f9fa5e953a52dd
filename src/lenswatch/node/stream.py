"""The state of a stream between two pictures: window, chart, alarm and time, as one value."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from lenswatch.detect.chart.chart import ChartState
from lenswatch.detect.mmd import Window
from lenswatch.detect.verdict import Alarm
from lenswatch.errors import StoreError
from lenswatch.node.clock import Newest

__all__ = ["StreamState"]

_FORMAT = b"LWS2\n"
# Before it: format, alarm raised, images since the last warning, bytes of the window; window; chart.
_FORMAT_1, _HEADER_1 = b"LWS1", struct.Struct("<4sBIQ")
_DAMAGED = "a stream's stored state cannot be read; clear it with `lenswatch reset STREAM`"


@dataclass(frozen=True)
class StreamState:
    """A stream's state under one reference.

    Attributes:
        window: The window of the MMD detector.
        chart: The state of the lens chart; None without one.
        alarm: The state of the alarm.
        pictures: Pictures since the state was started, clean embeddings of a warm start not counted.
        newest: Time of the newest picture; None before the first.
        since_drift: Pictures since the last one in drift, or since the state was started.
    """

    window: Window
    chart: ChartState | None = None
    alarm: Alarm = field(default_factory=Alarm)
    pictures: int = 0
    newest: Newest | None = None
    since_drift: int = 0

    def to_bytes(self) -> bytes:
        """Return a line with the format, a line of JSON, the window and the chart: under 64 KiB."""
        window = self.window.to_bytes()
        header = {
            "raised": self.alarm.raised,
            "quiet": self.alarm.quiet,
            "pictures": self.pictures,
            "since_drift": self.since_drift,
            "newest": None if self.newest is None else self.newest.at.astimezone(UTC).isoformat(),
            "arrived": self.newest is not None and self.newest.arrived,
            "window": len(window),
        }
        chart = b"" if self.chart is None else self.chart.to_bytes()
        return _FORMAT + json.dumps(header).encode() + b"\n" + window + chart

    def restarted(self, window: Window) -> StreamState:
        """Return the state with which the stream goes on under another reference.

        A raised alarm stays until pictures under that reference have ended it.

        Args:
            window: The window that a new stream starts with.
        """
        return StreamState(window, alarm=Alarm(self.alarm.raised), newest=self.newest)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the state that `to_bytes` wrote, in this version or an earlier one.

        A chart of another layout starts anew; alarm, window and time are kept.

        Raises:
            StoreError: The data is damaged.
        """
        if data.startswith(_FORMAT_1):
            return cls._from_format_1(data)
        if not data.startswith(_FORMAT):
            raise StoreError(_DAMAGED)
        header, _, body = data.removeprefix(_FORMAT).partition(b"\n")
        try:
            kept = json.loads(header)
            end, stamp = kept["window"], kept["newest"]
            alarm = Alarm(kept["raised"], kept["quiet"])
            newest = None
            if stamp is not None:
                newest = Newest(datetime.fromisoformat(stamp), bool(kept.get("arrived")))
            pictures, since_drift = kept["pictures"], kept.get("since_drift", 0)
        except (ValueError, KeyError, TypeError):
            raise StoreError(_DAMAGED) from None
        window = Window.from_bytes(body[:end])
        try:
            chart = ChartState.from_bytes(body[end:]) if len(body) > end else None
        except StoreError:
            return cls(window, None, alarm, 0, newest)
        return cls(window, chart, alarm, pictures, newest, since_drift)

    @classmethod
    def _from_format_1(cls, data: bytes) -> Self:
        """Read the format without number of pictures and time; its chart starts anew."""
        try:
            _, raised, quiet, length = _HEADER_1.unpack_from(data)
        except struct.error:
            raise StoreError(_DAMAGED) from None
        window = Window.from_bytes(data[_HEADER_1.size : _HEADER_1.size + length])
        return cls(window, alarm=Alarm(bool(raised), quiet))
