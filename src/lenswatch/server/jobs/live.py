"""Changes to an experiment's jobs as they happen, as server-sent events.

Every process reads the experiments' cursors (`lenswatch.server.db.watch`), so it does not matter
which one stored a job. The listener's permission to read the experiment is checked again before
each event, and regularly while there is none.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from sqlalchemy import select
from starlette.responses import Response, StreamingResponse

from lenswatch.server.db.database import Database, Outage
from lenswatch.server.db.tables import cursors, drifts
from lenswatch.server.experiments.api import require
from lenswatch.server.http.execute import identify, in_thread
from lenswatch.server.http.operations import Call, Operations, Who
from lenswatch.server.identity.identity import Identity, find_caller
from lenswatch.server.jobs import store
from lenswatch.server.values.refusals import Refusal

__all__ = ["operations"]

_MOST = 20  # jobs read at once, each of which may be a megabyte

operations = Operations()


@operations.add(
    "GET /experiment/{experiment_id}/drift/live",
    who=Who.ANYBODY,
    extension=True,
    returns="text/event-stream",
    refusals=(403, 404),
)
def follow(call: Call) -> Response:
    """Send the JSON of each job that is stored or changed from now on, as server-sent events."""
    number = require("Read", call)["number"]
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if call.request.method == "HEAD":
        return Response(media_type="text/event-stream", headers=headers)
    events = _events(call, number, _cursor(call, number))
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def _cursor(call: Call, number: int) -> int:
    """Return the cursor to start after: that of the last event the browser has seen, or the present one."""
    query = select(cursors.c.seq).where(cursors.c.experiment == number)
    now = int(call.connection.execute(query).scalar_one())
    last = call.request.headers.get("last-event-id", "")
    if last.isascii() and last.isdigit() and len(last) < 19:
        return min(int(last), now)  # the database may have been restored from a backup
    return now


async def _events(call: Call, number: int, after: int) -> AsyncIterator[str]:
    """Yield the changes `after` the last one that the listener knows."""
    services, limits = call.services, call.services.limits
    yield "retry: 2000\n\n"
    sent = checked = time.monotonic()
    newest = None  # the cursor when it was read last
    with services.watch.following(number), suppress(Outage):  # the browser reconnects
        while not services.stopping.is_set():
            rows = []
            if newest != after:
                rows = await in_thread(services.readers, _changes, services.database, number, after)
            if rows or time.monotonic() - checked > limits.recheck_seconds:
                if not await _may_still_read(call):
                    return
                checked = time.monotonic()
            for row in rows:
                after = row["seq"]
                yield f"id: {after}\ndata: {json.dumps(store.record(row))}\n\n"
            if rows:
                sent = time.monotonic()
            elif time.monotonic() - sent > limits.heartbeat_seconds:
                sent = time.monotonic()
                yield ": still here\n\n"
            if len(rows) == _MOST:
                continue
            if newest is not None:
                after = max(after, newest)  # deletions advance the cursor too
            newest = await services.watch.next_look(number, after)
            after = min(after, newest)  # the database may have been restored from a backup


async def _may_still_read(call: Call) -> bool:
    """Return True while the listener may read the experiment. If not, a new request says why."""
    try:
        identity = await identify(call.services, call.request, Who.ANYBODY)
        await in_thread(call.services.readers, _require, call, identity)
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
        .limit(_MOST)
    )
    with database.read() as connection:
        return list(connection.execute(query).mappings())
