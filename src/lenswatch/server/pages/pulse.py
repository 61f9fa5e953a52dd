"""A few bytes that change whenever something a visitor may see has changed, for pages that stay open."""

from __future__ import annotations

import hashlib

import anyio.to_thread
from sqlalchemy import func, select
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lenswatch.server.db.tables import cursors, experiments, streams
from lenswatch.server.http.execute import identify
from lenswatch.server.http.operations import Who
from lenswatch.server.http.services import Services
from lenswatch.server.identity.identity import Identity, find_caller
from lenswatch.server.identity.permissions import readable

__all__ = ["pulse"]

# What changes without a job: people and time.
_WATCHED = ("since", "silent_since", "acknowledged_at", "muted_until", "retired_at")


async def pulse(request: Request) -> Response:
    """Return the pulse of what the sender of `request` may read."""
    services: Services = request.app.state.services
    identity = await identify(services, request, Who.ANYBODY)
    found = await anyio.to_thread.run_sync(_pulse, services, identity)
    known = identity is not None
    return JSONResponse({"pulse": found, "known": known}, headers={"Cache-Control": "no-store"})


def _pulse(services: Services, identity: Identity | None) -> str:
    with services.database.read() as connection:
        seen = readable(find_caller(connection, identity))
        jobs = select(func.count(), func.sum(cursors.c.seq)).select_from(
            experiments.join(cursors, cursors.c.experiment == experiments.c.number)
        )
        sums = [func.sum(streams.c[name]) for name in _WATCHED]
        cameras = select(func.count(), *sums).select_from(
            experiments.join(streams, streams.c.experiment == experiments.c.number)
        )
        told = [
            tuple(map(str, connection.execute(query.where(seen)).one()))
            for query in (jobs, cameras)
        ]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]
