"""Changes to an experiment's jobs as they happen, as server-sent events.

Every process looks at the experiments' cursors (`lenswatch.server.db.watch`), so it does not matter which
one took a job in. Whether the listener may still read the experiment is asked again before each event, and
now and then while there is none.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy import select
from starlette.responses import Response, StreamingResponse

from lenswatch.server.db.database import Database, Outage
from lenswatch.server.db.models import cursors, drifts
from lenswatch.server.experiments.api import require
from lenswatch.server.http.operations import Call, Operations, Who, identify, in_thread
from lenswatch.server.identity.identity import Identity, find_caller
from lenswatch.server.jobs import store as jobs
from lenswatch.server.values.refusals import Refusal

__all__ = ["operations"]

HEARTBEAT_SECONDS = 15.0
RECHECK_SECONDS = 2.0
_AT_ONCE = 20  # jobs, each of which may be a megabyte

operations = Operations()


@operations.get(
    "/experiment/{experiment_id}/drift/live",
    who=Who.ANYBODY,
    extension=True,
    returns="text/event-stream",
    refusals=(403, 404),
)
def follow(call: Call) -> Response:
    """Server-sent events: each is the JSON of a job stored or changed since the connection was made."""
    number = require("Read", call)["number"]
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if call.request.method == "HEAD":
        return Response(media_type="text/event-stream", headers=headers)
    events = _events(call, number, _cursor(call, number))
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def _cursor(call: Call, number: int) -> int:
    """Where to go on: after the event that the browser saw last, or from now."""
    query = select(cursors.c.seq).where(cursors.c.experiment == number)
    now = int(call.connection.execute(query).scalar_one())
    last = call.request.headers.get("last-event-id", "")
    if last.isascii() and last.isdigit() and len(last) < 19:
        return min(int(last), now)  # not ahead of a database that was put back to an older state
    return now


async def _events(call: Call, number: int, after: int) -> AsyncIterator[str]:
    """What changed `after` the last change that the listener knows of."""
    services = call.services
    yield "retry: 2000\n\n"
    spoken = checked = time.monotonic()
    newest = None  # the cursor when it was looked at last
    with services.watch.following(number), suppress(Outage):  # the browser asks again
        while not services.stopping.is_set():
            rows = []
            if newest != after:
                changes = partial(_changes, services.database, number)
                rows = await in_thread(changes, after, services.readers)
            if rows or time.monotonic() - checked > RECHECK_SECONDS:
                if not await _may_still_read(call):
                    return
                checked = time.monotonic()
            for row in rows:
                after = row["seq"]
                yield f"id: {after}\ndata: {json.dumps(jobs.record(row))}\n\n"
            if rows:
                spoken = time.monotonic()
            elif time.monotonic() - spoken > HEARTBEAT_SECONDS:
                spoken = time.monotonic()
                yield ": still here\n\n"
            if len(rows) == _AT_ONCE:
                continue
            if newest is not None:
                after = max(after, newest)  # which counts deletions too
            newest = await services.watch.next_look(number, after)
            after = min(after, newest)  # the database may have been put back to an older state


async def _may_still_read(call: Call) -> bool:
    """Whether the sender of the request would be let in now. If not, a new request tells why."""
    try:
        identity = await identify(call.services, call.request, Who.ANYBODY)
        await in_thread(partial(_require, call), identity, call.services.readers)
    except Refusal:
        return False
    return True


def _require(call: Call, identity: Identity | None) -> None:
    now = Call(call.request, call.services, identity, None, {})
    with call.services.database.read() as now.connection:
        now.caller = find_caller(now.connection, identity)
        require("Read", now)


def _changes(database: Database, number: int, after: int) -> list[Any]:
    query = (
        select(drifts)
        .where(drifts.c.experiment == number, drifts.c.seq > after)
        .order_by(drifts.c.seq)
        .limit(_AT_ONCE)
    )
    with database.read() as connection:
        return list(connection.execute(query).mappings())
