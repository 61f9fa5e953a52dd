"""What an operator asks: whether the process lives, whether it can work, and its numbers for Prometheus."""

from __future__ import annotations

import asyncio
from functools import partial

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lenswatch.server.db.database import Database, Outage
from lenswatch.server.http.metrics import CONTENT_TYPE, Metrics
from lenswatch.server.http.operations import Services, Who, identify, in_thread
from lenswatch.server.identity.identity import Identity, find_caller
from lenswatch.server.values.refusals import NO_DATABASE, forbidden, refusal

__all__ = ["add_routes"]

READY_SECONDS = 2.0  # within which the database must answer for us to be ready


def add_routes(app: Starlette) -> None:
    """`/healthz`, `/readyz` and `/metrics`."""
    app.state.looking = None
    app.state.lookers = anyio.CapacityLimiter(1)  # whatever else waits for the database
    app.add_route("/healthz", _healthz)
    app.add_route("/readyz", _readyz)
    app.add_route("/metrics", _metrics)


async def _healthz(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _readyz(request: Request) -> Response:
    """One look at the database at a time, for however many ask."""
    state = request.app.state
    if state.looking is None or state.looking.done():
        look = anyio.to_thread.run_sync(
            _answers, state.services.database, limiter=state.lookers, abandon_on_cancel=True
        )
        state.looking = asyncio.create_task(look)
    await asyncio.wait({state.looking}, timeout=READY_SECONDS)
    if not state.looking.done() or not state.looking.result():
        return refusal(503, NO_DATABASE, headers={"Retry-After": "2"})
    return JSONResponse({"status": "ok"})


def _answers(database: Database) -> bool:
    try:
        database.ping()
    except Outage:
        return False
    return True


async def _metrics(request: Request) -> Response:
    """For administrators, and for API keys that may read everywhere."""
    services: Services = request.app.state.services
    identity = await identify(services, request, Who.KNOWN)
    exposition = partial(_exposition, services.database, request.app.state.metrics)
    text = await in_thread(exposition, identity, services.readers)
    return Response(text, media_type=CONTENT_TYPE)


def _exposition(database: Database, metrics: Metrics, identity: Identity | None) -> bytes:
    with database.read() as connection:
        caller = find_caller(connection, identity)
    grant = caller.identity.grant if caller else None
    if not ((caller and caller.admin) or (grant and grant.experiments is None)):
        raise forbidden()
    return metrics.exposition()
