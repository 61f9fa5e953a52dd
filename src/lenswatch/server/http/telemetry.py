"""Observation of every request: its id, log line and metrics, and the answer to a crash."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lenswatch.server.http.metrics import Metrics
from lenswatch.server.values.refusals import Refusal

__all__ = ["REQUEST_ID", "ROUTE", "SHOWN", "Telemetry"]

REQUEST_ID = "lenswatch.request_id"  # key of the scope: the id of the request
ROUTE = "lenswatch.route"  # key of the scope: the path of the route
SHOWN = 200  # characters of a path in the log
Refuse = Callable[[Request, Refusal], Awaitable[Response]]
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


class Telemetry:
    """The outermost middleware."""

    def __init__(self, app: ASGIApp, log: Any, metrics: Metrics, refuse: Refuse) -> None:
        self.app = app
        self.log = log
        self.metrics = metrics
        self.refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and record its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _GIVEN_ID.match(given) else uuid.uuid4().hex
        scope[REQUEST_ID] = request_id
        started, status = time.perf_counter(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
                self._note(scope, request_id, status, time.perf_counter() - started)
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except Exception:
            self.log.exception("crash", request_id=request_id, path=scope["path"][:SHOWN])
            if not status:
                answer = await self.refuse(Request(scope), Refusal(500))
                await answer(scope, receive, noting)

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = scope.get(ROUTE, "other")
        self.metrics.observe(scope["method"] if route != "other" else "any", route, status, seconds)
        level = self.log.warning if status >= 500 else self.log.info
        level(
            "request",
            request_id=request_id,
            method=scope["method"][:SHOWN],
            path=scope["path"][:SHOWN],
            status=status,
            milliseconds=round(seconds * 1000, 1),
        )
