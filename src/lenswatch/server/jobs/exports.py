"""Export of an experiment's jobs as a stream: one state of the database, whatever its size.

The jobs are read in one transaction while they are sent. Old versions of what changes meanwhile are kept for
it, so it has a time limit, and few of them run at once.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import anyio
import anyio.to_thread
from marshmallow import Schema, ValidationError, fields, validate
from sqlalchemy import ColumnElement, select
from starlette.responses import Response, StreamingResponse

from lenswatch.errors import ServerError
from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import drifts
from lenswatch.server.experiments.api import record, require
from lenswatch.server.http import bodies
from lenswatch.server.http.operations import Call, Operations, Who
from lenswatch.server.jobs.export_formats import (
    FORMATS,
    Csv,
    Format,
    JsonLines,
    Parquet,
    make_format,
)
from lenswatch.server.jobs.search import FIELDS
from lenswatch.server.values import stamps
from lenswatch.wire import JOB_STATUSES

__all__ = ["ExportArgs", "operations", "selected"]

EXPORT_SECONDS = 900.0  # for a whole export; a client that is slower is disconnected
_ROWS = 50  # read at once, each of which may be a megabyte
_PIECE = 64 * 1024  # bytes sent at once, at least

operations = Operations()


def _is_moment(text: str) -> None:
    if stamps.microseconds(text) is None:
        raise ValidationError("Not a valid datetime.")


class ExportArgs(Schema):
    """The query string: the format, and which jobs."""

    format = fields.String(load_default="csv", validate=validate.OneOf(FORMATS))
    stream = bodies.Text()
    status = fields.String(validate=validate.OneOf(JOB_STATUSES))
    drift = fields.Boolean()
    tags = bodies.Text()
    from_ = fields.String(data_key="from", validate=_is_moment)
    to = fields.String(validate=_is_moment)


def selected(experiment: int, args: Mapping[str, Any]) -> ColumnElement[bool]:
    """Return the condition on jobs that the `ExportArgs` select."""
    found = drifts.c.experiment == experiment
    if "stream" in args:
        found &= drifts.c.stream == (args["stream"] or None)
    if "status" in args:
        found &= drifts.c.job_status == args["status"]
    if "drift" in args:
        found &= drifts.c.drift_detected.is_(args["drift"])
    for tag in filter(None, map(str.strip, args.get("tags", "").split(","))):
        found &= FIELDS.members["tags"]((tag,))
    if "from_" in args:
        found &= drifts.c.taken_at >= stamps.microseconds(args["from_"])
    if "to" in args:
        found &= drifts.c.taken_at < stamps.microseconds(args["to"])
    return found


@operations.add(
    "GET /experiment/{experiment_id}/export",
    who=Who.ANYBODY,
    extension=True,
    args=ExportArgs(),
    returns=tuple(kind.media_type.partition(";")[0] for kind in (Csv, JsonLines, Parquet)),
    refusals=(403, 404, 422, 501),
)
def export(call: Call) -> Response:
    """Send the selected jobs as CSV, JSON Lines or Parquet, in the order of their arrival."""
    experiment = require("Read", call)
    kind = call.args["format"]
    writer = make_format(kind)
    headers = {
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f'attachment; filename="{_file_name(experiment)}.{kind}"',
    }
    if call.request.method == "HEAD":
        return Response(media_type=writer.media_type, headers=headers)
    reading = _Reading(call.services.database, experiment, call.args, writer)
    body = _pieces(reading, call.services.exporters)
    return StreamingResponse(body, media_type=writer.media_type, headers=headers)


def _file_name(experiment: Mapping[Any, Any]) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", experiment["name"]).strip("-.")[:80] or "experiment"


async def _pieces(reading: _Reading, turn: anyio.CapacityLimiter) -> AsyncIterator[bytes]:
    """Yield the export in pieces, in its turn; each is made in a thread."""
    async with turn:
        threads = anyio.CapacityLimiter(1)
        try:
            while piece := await anyio.to_thread.run_sync(reading.next_piece, limiter=threads):
                yield piece
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(reading.close, limiter=threads)


class _Reading:
    """The jobs of one transaction in a format."""

    def __init__(
        self,
        database: Database,
        experiment: Mapping[Any, Any],
        args: Mapping[str, Any],
        writer: Format,
    ) -> None:
        self.database = database
        self.experiment = experiment
        self.args = args
        self.writer = writer
        self._open = ExitStack()
        self._parts = self._written()

    def next_piece(self) -> bytes:
        """Return the next piece; an empty one at the end."""
        piece = bytearray()
        for part in self._parts:
            piece += part
            if len(piece) >= _PIECE:
                break
        return bytes(piece)

    def close(self) -> None:
        """End the transaction."""
        self._open.close()

    def _written(self) -> Iterator[bytes]:
        end = time.monotonic() + EXPORT_SECONDS
        connection = self._open.enter_context(self.database.read())
        query = select(drifts).where(selected(self.experiment["number"], self.args))
        query = query.order_by(drifts.c.created_at, drifts.c.number)
        yield self.writer.begin(record(self.experiment))
        found = connection.execute(query.execution_options(yield_per=_ROWS))
        self._open.callback(found.close)  # also when the client is gone
        for rows in found.mappings().partitions():
            if time.monotonic() > end:
                raise ServerError(f"an export was not fetched within {EXPORT_SECONDS:g} s")
            yield self.writer.write(rows)
        yield self.writer.end()
