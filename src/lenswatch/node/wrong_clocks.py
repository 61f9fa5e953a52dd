"""The log of cameras whose clocks are wrong."""

from __future__ import annotations

import logging

from lenswatch.node.clock import Place
from lenswatch.node.request import iso_utc

__all__ = ["WrongClocks"]

log = logging.getLogger(__name__)


class WrongClocks:
    """The streams whose camera's clock is wrong, as one process knows them."""

    def __init__(self) -> None:
        self._streams: set[str] = set()

    def note(self, stream: str, placed: Place) -> None:
        """Log that a camera's clock is wrong, once until it is right again.

        Args:
            stream: The stream.
            placed: The place of its last picture.
        """
        if placed.camera_time is None:
            self._streams.discard(stream)
        elif stream not in self._streams:
            self._streams.add(stream)
            log.warning(
                "stream %s: the camera's clock shows %s, which cannot be right; pictures get the time of "
                "their arrival until the clock, or camera.timezone, is set",
                stream,
                iso_utc(placed.camera_time),
            )
