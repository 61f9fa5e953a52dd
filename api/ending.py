"""The end of the server after a signal: requests finish in time, or get a 503."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import StreamReader, web

__all__ = ["Ending", "Handler"]

log = logging.getLogger(__name__)

LINGER_SECONDS = 1.0  # in which a client that still sends its body can read the answer
AIOHTTP_LINGERS_SECONDS = (
    10.0  # for the rest of a body after the answer, if the server does not end
)
RETRY_SECONDS = 5
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Ending:
    """All requests that run, so that none of them keeps the server from ending.

    When aiohttp ends it drops what still arrives, and waits a minute for each handler, also for one that
    waits for the rest of its body.
    """

    def __init__(self) -> None:
        self._begun = False
        self._running: set[tuple[StreamReader, asyncio.Timeout]] = set()
        self._answered: set[StreamReader] = set()  # before the body was read

    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request be handled, or answer 503 when the server ends before its body is there."""
        if self._begun:
            return self._refuse(request.content)
        running = (request.content, asyncio.timeout(None))
        self._running.add(running)
        try:
            async with running[1]:
                return await handler(request)
        except TimeoutError:
            if not running[1].expired():
                raise
            return self._refuse(request.content)
        finally:
            self._running.discard(running)
            if not request.content.is_eof():
                self._answered.add(request.content)
                later = asyncio.get_running_loop().call_later
                later(AIOHTTP_LINGERS_SECONDS, self._answered.discard, request.content)

    def begin(self, seconds: float) -> None:
        """Give up all requests whose body is not there yet, and refuse new ones.

        Args:
            seconds: Time that the others have to finish, for the log.
        """
        self._begun = True
        now = asyncio.get_running_loop().time()
        log.info(
            "ending: %d requests run and get %g s to finish, and %d whose body is not there yet are refused",
            sum(content.is_eof() for content, _ in self._running),
            seconds,
            sum(not content.is_eof() for content, _ in self._running),
        )
        for content, limit in self._running:
            if not content.is_eof():
                limit.reschedule(now)
        for content in self._answered:
            self._stop_lingering(content)

    def _refuse(self, content: StreamReader) -> web.Response:
        if not content.is_eof():
            self._stop_lingering(content)
        told = {"message": "the server is ending, so nothing was judged; send the request again"}
        return web.json_response(told, status=503, headers={"Retry-After": str(RETRY_SECONDS)})

    def _stop_lingering(self, content: StreamReader) -> None:
        """Keep aiohttp from waiting for the rest of the body after the answer."""
        asyncio.get_running_loop().call_later(LINGER_SECONDS, content.feed_eof)
