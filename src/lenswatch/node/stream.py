"""The state of a stream between two pictures: window, chart and alarm, as one value."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Self

from lenswatch.detect.chart.chart import ChartState
from lenswatch.detect.mmd import Window
from lenswatch.detect.verdict import Alarm
from lenswatch.errors import StoreError

__all__ = ["StreamState"]

_HEADER = struct.Struct(
    "<4sBIQ"
)  # format, alarm raised, images since the last warning, bytes of the window
_FORMAT = b"LWS1"


@dataclass(frozen=True)
class StreamState:
    """A stream's state under one reference.

    Attributes:
        window: The window of the MMD detector.
        chart: The state of the lens chart; None without one.
        alarm: The state of the alarm.
    """

    window: Window
    chart: ChartState | None = None
    alarm: Alarm = field(default_factory=Alarm)

    def to_bytes(self) -> bytes:
        """Return header, window and chart as bytes, under 64 KiB for a window of 12."""
        window = self.window.to_bytes()
        header = _HEADER.pack(_FORMAT, self.alarm.raised, self.alarm.quiet, len(window))
        return header + window + (b"" if self.chart is None else self.chart.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the state that `to_bytes` wrote.

        Raises:
            StoreError: The data is damaged.
        """
        if len(data) < _HEADER.size or not data.startswith(_FORMAT):
            raise StoreError(
                "a stream's stored state cannot be read; clear it with `lenswatch reset STREAM`"
            )
        _, raised, quiet, length = _HEADER.unpack_from(data)
        end = _HEADER.size + length
        chart = ChartState.from_bytes(data[end:]) if len(data) > end else None
        return cls(Window.from_bytes(data[_HEADER.size : end]), chart, Alarm(bool(raised), quiet))
