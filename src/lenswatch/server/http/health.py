"""Routes for operators: `/healthz` (alive), `/readyz` (the database answers) and `/metrics`."""

from __future__ import annotations

import asyncio

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lenswatch.server.db.database import Database, Outage
from lenswatch.server.http.execute import identify, in_thread
from lenswatch.server.http.metrics import Metrics
from lenswatch.server.http.operations import Who
from lenswatch.server.http.services import Services
from lenswatch.server.identity.identity import Identity, find_caller
from lenswatch.server.values.refusals import NO_DATABASE, forbidden, refusal

__all__ = ["routes"]


def routes() -> list[Route]:
    """Return the routes."""
    return [
        Route("/healthz", _healthz),
        Route("/readyz", _Readiness().answer),
        Route("/metrics", _metrics),
    ]


async def _healthz(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


class _Readiness:
    """A database ping shared by all who ask at the same time."""

    def __init__(self) -> None:
        self._ping: asyncio.Task[bool] | None = None
        self._limiter = anyio.CapacityLimiter(1)  # of its own, since readers may all be waiting

    async def answer(self, request: Request) -> Response:
        services: Services = request.app.state.services
        if self._ping is None or self._ping.done():
            answers = in_thread(self._limiter, _answers, services.database)
            self._ping = asyncio.create_task(answers)
        ping = self._ping
        await asyncio.wait({ping}, timeout=services.limits.ready_seconds)
        if not (ping.done() and ping.result()):
            return refusal(503, NO_DATABASE, headers={"Retry-After": "2"})
        return JSONResponse({"status": "ok"})


def _answers(database: Database) -> bool:
    try:
        database.ping()
    except Outage:
        return False
    return True


async def _metrics(request: Request) -> Response:
    """Answer administrators, and API keys that may read all experiments."""
    services: Services = request.app.state.services
    identity = await identify(services, request, Who.KNOWN)
    metrics: Metrics = request.app.state.metrics
    accept = request.headers.get("accept", "")
    text, media_type = await in_thread(
        services.readers, _exposition, services.database, metrics, identity, accept
    )
    return Response(text, headers={"Content-Type": media_type, "Vary": "Accept"})


def _exposition(
    database: Database, metrics: Metrics, identity: Identity | None, accept: str
) -> tuple[bytes, str]:
    with database.read() as connection:
        caller = find_caller(connection, identity)
    grant = caller.identity.grant if caller else None
    if not ((caller and caller.admin) or (grant and grant.experiments is None)):
        raise forbidden()
    return metrics.exposition(accept)
