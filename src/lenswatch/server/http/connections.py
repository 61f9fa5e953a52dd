"""Limits of connections: the time for a request's head, and the number of clients.

A request's body has its own time limit (`lenswatch.server.http.reading`). TCP_USER_TIMEOUT
(`lenswatch.server.run`) ends connections whose client does not read its answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["HttpConnection"]


class HttpConnection(H11Protocol):
    """uvicorn's HTTP/1.1, which disconnects a client that sends no whole request head in time.

    Bytes that trickle in meanwhile (half a head, or a body that was refused) do not prolong that
    time.

    Args:
        head_seconds: Time for a whole head, from the start or from the previous answer.
        most: Connections of this process; further ones are closed at once.
        options: Those of uvicorn.
    """

    def __init__(self, *, head_seconds: float, most: int, **options: Any) -> None:
        super().__init__(**options)
        self.head_seconds = head_seconds
        self.most = most
        self._waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, unless there are too many clients already."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._stop_waiting()

    def handle_events(self) -> None:
        """Handle the bytes that have arrived, which may complete a request head."""
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(self.head_seconds, self._hang_up)

    def _hang_up(self) -> None:
        """Close the connection once what was written has been sent."""
        self.timeout_keep_alive_handler()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
