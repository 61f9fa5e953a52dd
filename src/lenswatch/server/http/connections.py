"""Connections to clients that never finish, or never begin.

A request's body has its own time (`lenswatch.server.http.reading`), and what a client does not fetch
that of TCP_USER_TIMEOUT (`lenswatch.server.run`).
Here: the request's head, and how many clients there may be.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["HttpConnection"]

HEAD_SECONDS = 30  # for a whole head, from the start or from the answer before it
MAX_CONNECTIONS = 900  # of one process, which may open 1,024 files where nobody says more


class HttpConnection(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it. Whoever has no request under way for too long is cut off.

    It does not matter what trickles in meanwhile: half a head, or a body that was refused.
    """

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, unless there are too many clients already."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        super().connection_lost(exc)
        self._wait_no_more()

    def handle_events(self) -> None:
        """Take up what has arrived: a request, perhaps."""
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_more()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(HEAD_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        """What is on its way to the client still goes there."""
        self.timeout_keep_alive_handler()

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
