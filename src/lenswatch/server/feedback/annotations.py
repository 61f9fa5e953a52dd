"""Annotations: what was done to a camera, or happened to it, at a moment or over a span."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema
from sqlalchemy import ColumnElement, Connection, delete, func, or_, select, update
from starlette.responses import Response

from lenswatch.server.db.database import insert_into
from lenswatch.server.db.tables import annotations_table
from lenswatch.server.experiments.api import require
from lenswatch.server.http import bodies
from lenswatch.server.http.moments import Moment
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.records import Record
from lenswatch.server.identity.authors import author_of, shown_author
from lenswatch.server.identity.identity import Caller
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import not_found
from lenswatch.server.values.stream_names import STREAM_RULE, is_stream
from lenswatch.wire import ANNOTATION_KINDS

__all__ = [
    "MAX_LISTED",
    "MAX_TEXT",
    "AnnotationBody",
    "NewAnnotationBody",
    "Stream",
    "add",
    "annotation_id",
    "change",
    "find",
    "listed",
    "operations",
    "record",
    "remove",
]

MAX_TEXT = 2000  # characters
MAX_LISTED = 1000  # annotations of one answer

Row = Mapping[Any, Any]
operations = Operations()


class Stream(bodies.Text):
    """The name of a stream; "" for jobs without one."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        name = super()._deserialize(value, *args, **kwargs)
        if name and not is_stream(name):
            raise ValidationError(f"Not the name of a stream: {STREAM_RULE}.")
        return name


class AnnotationBody(bodies.Body):
    """Fields of an annotation that a client may set."""

    stream = Stream(
        load_default=None,
        allow_none=True,
        metadata={"description": 'null for the whole experiment; "" for jobs without a stream.'},
    )
    kind = fields.String(required=True, validate=validate.OneOf(ANNOTATION_KINDS))
    text = bodies.Text(load_default="", validate=validate.Length(max=MAX_TEXT))
    begins_at = Moment(load_default=None, allow_none=True)
    ends_at = Moment(load_default=None, allow_none=True)

    @validates_schema
    def _ends_after_it_begins(self, data: Mapping[str, Any], **_: Any) -> None:
        if data["ends_at"] is None:
            return
        if data["begins_at"] is None:
            raise ValidationError("Needs begins_at.", "ends_at")
        if data["ends_at"] < data["begins_at"]:
            raise ValidationError("Before begins_at.", "ends_at")


class NewAnnotationBody(AnnotationBody):
    """Fields of a new annotation."""

    id = fields.UUID(
        metadata={"description": "Chosen by a client that may send the annotation again."}
    )


class AnnotationArgs(Schema):
    """The query string of a list of annotations."""

    stream = bodies.Text()
    kind = fields.String(validate=validate.OneOf(ANNOTATION_KINDS))
    from_ = Moment(data_key="from")
    to = Moment()
    limit = fields.Integer(load_default=MAX_LISTED, validate=validate.Range(min=1, max=MAX_LISTED))


class AnnotationRecord(Record):
    """An annotation. Authors are shown to registered callers only."""

    id = fields.UUID()
    stream = fields.String(allow_none=True)
    kind = fields.String(validate=validate.OneOf(ANNOTATION_KINDS))
    text = fields.String()
    begins_at = fields.DateTime()
    ends_at = fields.DateTime(allow_none=True)
    author = fields.String(allow_none=True)
    created_at = fields.DateTime()
    changed_by = fields.String(allow_none=True)
    changed_at = fields.DateTime(allow_none=True)


def listed(
    connection: Connection,
    experiment: int,
    *,
    stream: str | None = None,
    kinds: Collection[str] = (),
    begin: int | None = None,
    end: int | None = None,
    limit: int = MAX_LISTED,
) -> Sequence[Row]:
    """Return annotations in the order in which they begin; the last ones, if there are more than `limit`.

    Args:
        connection: A transaction.
        experiment: Number of the experiment.
        stream: Only those that concern this stream: its own, and those of the whole experiment.
        kinds: Only these kinds; empty for all.
        begin: Only those that have not ended before this moment, in microseconds.
        end: Only those that begin before this moment, in microseconds.
        limit: Most rows.
    """
    wanted: list[ColumnElement[bool]] = [annotations_table.c.experiment == experiment]
    if stream is not None:
        wanted.append(
            or_(annotations_table.c.stream == stream, annotations_table.c.stream.is_(None))
        )
    if kinds:
        wanted.append(annotations_table.c.kind.in_(sorted(kinds)))
    if begin is not None:
        last = func.coalesce(annotations_table.c.ends_at, annotations_table.c.begins_at)
        wanted.append(last >= begin)
    if end is not None:
        wanted.append(annotations_table.c.begins_at < end)
    order = (annotations_table.c.begins_at.desc(), annotations_table.c.number.desc())
    query = select(annotations_table).where(*wanted).order_by(*order).limit(limit)
    return connection.execute(query).mappings().all()[::-1]


def find(connection: Connection, experiment: int, annotation: str) -> Row:
    """Return the row of the annotation with an id.

    Raises:
        Refusal: 404 if the experiment has none.
    """
    query = select(annotations_table).where(_is(experiment, annotation))
    row = connection.execute(query).mappings().first()
    if row is None:
        raise not_found("Annotation")
    return row


def add(connection: Connection, experiment: int, caller: Caller, given: Mapping[str, Any]) -> Row:
    """Store an annotation, and return its row. If the experiment has its id already, that one stays.

    Args:
        connection: A transaction that writes.
        experiment: Number of the experiment.
        caller: The author.
        given: What `NewAnnotationBody` loads. It begins now unless it says when.
    """
    now = stamps.now()
    chosen = str(given.get("id") or uuid.uuid4())
    values = {name: given[name] for name in ("stream", "kind", "text", "begins_at", "ends_at")}
    values |= {"id": chosen, "experiment": experiment, "created_at": now}
    values |= {"author": author_of(connection, caller)}
    if values["begins_at"] is None:
        values["begins_at"] = now
    new = insert_into(connection, annotations_table).values(values)
    connection.execute(new.on_conflict_do_nothing(index_elements=["experiment", "id"]))
    return find(connection, experiment, chosen)


def change(connection: Connection, old: Row, caller: Caller, given: Mapping[str, Any]) -> Row:
    """Replace the fields of the annotation `old`, and return its new row. It keeps its author.

    Raises:
        Refusal: 404 if it was deleted meanwhile.
    """
    values = {name: given[name] for name in ("stream", "kind", "text", "begins_at", "ends_at")}
    if values["begins_at"] is None:
        values["begins_at"] = old["begins_at"]
    values |= {"changed_at": stamps.now(), "changed_by": author_of(connection, caller)}
    here = _is(old["experiment"], old["id"])
    query = update(annotations_table).where(here).values(values).returning(annotations_table)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise not_found("Annotation")
    return row


def remove(connection: Connection, experiment: int, annotation: str) -> None:
    """Delete an annotation.

    Raises:
        Refusal: 404 if the experiment has none with this id.
    """
    gone = (
        delete(annotations_table)
        .where(_is(experiment, annotation))
        .returning(annotations_table.c.number)
    )
    if connection.execute(gone).first() is None:
        raise not_found("Annotation")


def record(row: Row, caller: Caller | None) -> dict[str, Any]:
    """Return a row as `caller` may see it."""
    ended, changed = row["ends_at"], row["changed_at"]
    return {
        "id": row["id"],
        "stream": row["stream"],
        "kind": row["kind"],
        "text": row["text"],
        "begins_at": stamps.iso(row["begins_at"]),
        "ends_at": None if ended is None else stamps.iso(ended),
        "author": shown_author(row["author"], caller),
        "created_at": stamps.iso(row["created_at"]),
        "changed_by": shown_author(row["changed_by"], caller),
        "changed_at": None if changed is None else stamps.iso(changed),
    }


def _is(experiment: int, annotation: str) -> ColumnElement[bool]:
    return (annotations_table.c.experiment == experiment) & (annotations_table.c.id == annotation)


@operations.add(
    "GET /experiment/{experiment_id}/annotation",
    who=Who.ANYBODY,
    extension=True,
    args=AnnotationArgs(),
    returns=AnnotationRecord(many=True),
    refusals=(403, 404, 422),
)
def list_annotations(call: Call) -> Response:
    """Return the annotations of a range in the order in which they begin; of more than `limit` the last."""
    experiment = require("Read", call)
    rows = listed(
        call.connection,
        experiment["number"],
        stream=call.args.get("stream"),
        kinds=[call.args["kind"]] if "kind" in call.args else (),
        begin=call.args.get("from_"),
        end=call.args.get("to"),
        limit=call.args["limit"],
    )
    return reply([record(row, call.caller) for row in rows])


@operations.add(
    "POST /experiment/{experiment_id}/annotation",
    who=Who.REGISTERED,
    body=NewAnnotationBody(),
    writes=True,
    extension=True,
    success=201,
    returns=AnnotationRecord(),
    refusals=(401, 403, 404, 422),
)
def create_annotation(call: Call) -> Response:
    """Store an annotation. One with an id that is stored already is answered by the stored one."""
    assert call.caller
    experiment = require("Edit", call)
    row = add(call.connection, experiment["number"], call.caller, call.body)
    return reply(record(row, call.caller), 201)


@operations.add(
    "PUT /experiment/{experiment_id}/annotation/{annotation_id}",
    who=Who.REGISTERED,
    body=AnnotationBody(),
    writes=True,
    extension=True,
    returns=AnnotationRecord(),
    refusals=(401, 403, 404, 422),
)
def replace_annotation(call: Call) -> Response:
    """Replace an annotation's fields. Its begin is kept if none is given."""
    assert call.caller
    experiment = require("Edit", call)
    old = find(call.connection, experiment["number"], annotation_id(call))
    return reply(record(change(call.connection, old, call.caller, call.body), call.caller))


@operations.add(
    "DELETE /experiment/{experiment_id}/annotation/{annotation_id}",
    who=Who.REGISTERED,
    writes=True,
    extension=True,
    success=204,
    refusals=(401, 403, 404),
)
def delete_annotation(call: Call) -> Response:
    """Delete an annotation."""
    remove(call.connection, require("Edit", call)["number"], annotation_id(call))
    return Response(status_code=204)


def annotation_id(call: Call) -> str:
    """Return the annotation's id in the path, in lower case."""
    return str(call.request.path_params["annotation_id"])
