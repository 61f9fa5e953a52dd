"""Quality of the alarms: precision, recall and time to detection, with intervals and counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from marshmallow import Schema, fields, validate
from sqlalchemy import Connection, func, select
from starlette.responses import Response

from lenswatch.server.db.tables import drift_feedback, drifts, event_feedback, events
from lenswatch.server.experiments.api import require
from lenswatch.server.feedback.intervals import (
    CONFIDENCE,
    median,
    median_interval,
    share_interval,
)
from lenswatch.server.feedback.outcomes import Alarm, Label, Outcomes, outcomes
from lenswatch.server.http import bodies
from lenswatch.server.http.moments import Moment
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.records import Count, Record

__all__ = ["operations", "quality"]

operations = Operations()


class QualityArgs(Schema):
    """The query string of the quality of the alarms."""

    stream = bodies.Text()
    from_ = Moment(data_key="from")
    to = Moment()


class ShareRecord(Record):
    """A share with its interval; null if there is nothing to count."""

    value = fields.Float(allow_none=True)
    low = fields.Float(allow_none=True)
    high = fields.Float(allow_none=True)
    count = Count()
    of = Count()


class DelayRecord(Record):
    """The median time to detection with its interval, in seconds; null if there are too few."""

    median = fields.Float(allow_none=True)
    low = fields.Float(allow_none=True)
    high = fields.Float(allow_none=True)
    of = Count()


class FiguresRecord(Record):
    """Figures of the alarms of one reference and stream, or of all."""

    model = fields.String(allow_none=True)
    stream = fields.String(allow_none=True)
    alarms = Count()
    unknown = Count()
    precision = fields.Nested(ShareRecord)
    recall = fields.Nested(ShareRecord)
    seconds_to_detection = fields.Nested(DelayRecord)


class QualityRecord(Record):
    """Figures of all alarms of an experiment, and of each reference and stream."""

    confidence = fields.Float(validate=validate.Range(min=0, max=1))
    total = fields.Nested(FiguresRecord)
    groups = fields.List(fields.Nested(FiguresRecord))


def quality(
    connection: Connection,
    experiment: int,
    *,
    stream: str | None = None,
    begin: int | None = None,
    end: int | None = None,
) -> dict[str, Any]:
    """Return the record of how good the alarms of an experiment were.

    Args:
        connection: A transaction.
        experiment: Number of the experiment.
        stream: Only this stream; "" for jobs without one.
        begin: Only alarms and drifts that began at this moment or later, in microseconds.
        end: Only alarms and drifts that began before this moment, in microseconds.
    """
    alarms = list(_alarms(connection, experiment, stream))
    labels = list(_labels(connection, experiment, stream))
    found = outcomes(alarms, labels, begin, end)
    total = found.pop((None, None))
    groups = sorted(found.items(), key=lambda item: (item[0][1] or "", item[0][0] or ""))
    return {
        "confidence": CONFIDENCE,
        "total": _figures(None, None, total),
        "groups": [_figures(*key, counts) for key, counts in groups],
    }


def _alarms(connection: Connection, experiment: int, stream: str | None) -> Iterator[Alarm]:
    query = (
        select(
            events.c.stream,
            events.c.model,
            events.c.begun_at,
            events.c.ended_at,
            event_feedback.c.verdict,
        )
        .select_from(events.outerjoin(event_feedback))
        .where(events.c.experiment == experiment, events.c.kind == "drift")
    )
    if stream is not None:
        query = query.where(events.c.stream == stream)
    for row in connection.execute(query):
        said = None if row.verdict is None else row.verdict == "true drift"
        yield Alarm(row.stream, row.model, row.begun_at, row.ended_at, said)


def _labels(connection: Connection, experiment: int, stream: str | None) -> Iterator[Label]:
    shows_drift = drift_feedback.c.verdict == "true drift"
    query = (
        select(func.coalesce(drifts.c.stream, ""), drifts.c.model, drifts.c.taken_at, shows_drift)
        .select_from(drift_feedback.join(drifts))
        .where(drift_feedback.c.experiment == experiment)
        .order_by(drifts.c.number)
    )
    if stream is not None:
        query = query.where(drifts.c.stream == (stream or None))
    return map(Label._make, connection.execute(query).all())


def _figures(model: str | None, stream: str | None, counts: Outcomes) -> dict[str, Any]:
    judged, spans = counts.true + counts.false, len(counts.delays) + counts.missed
    return {
        "model": model,
        "stream": stream,
        "alarms": judged + counts.unknown,
        "unknown": counts.unknown,
        "precision": _share(counts.true, judged),
        "recall": _share(len(counts.delays), spans),
        "seconds_to_detection": _delay([delay / 1e6 for delay in counts.delays]),
    }


def _share(count: int, of: int) -> dict[str, Any]:
    low, high = share_interval(count, of) or (None, None)
    return {
        "value": count / of if of else None,
        "low": low,
        "high": high,
        "count": count,
        "of": of,
    }


def _delay(seconds: Sequence[float]) -> dict[str, Any]:
    low, high = median_interval(seconds) or (None, None)
    return {"median": median(seconds), "low": low, "high": high, "of": len(seconds)}


@operations.add(
    "GET /experiment/{experiment_id}/quality",
    who=Who.ANYBODY,
    extension=True,
    slow=True,
    args=QualityArgs(),
    returns=QualityRecord(),
    refusals=(403, 404, 422),
)
def read_quality(call: Call) -> Response:
    """Return precision, recall and time to detection of the alarms, for each reference and stream."""
    experiment = require("Read", call)
    found = quality(
        call.connection,
        experiment["number"],
        stream=call.args.get("stream"),
        begin=call.args.get("from_"),
        end=call.args.get("to"),
    )
    return reply(found)
