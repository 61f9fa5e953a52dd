"""Clean pictures of references, so that a drifted picture never stands alone.

A node sends the thumbnails of its reference once, under the reference's digest. A job names the one that is
nearest to its picture in `parameters.nearest_clean`.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from marshmallow import fields
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError
from starlette.responses import Response

from lenswatch.server.db.database import insert_into
from lenswatch.server.db.tables import reference_pictures as table
from lenswatch.server.experiments.api import require
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.records import Count, Record
from lenswatch.server.jobs.pictures import (
    FORMATS,
    StoredPicture,
    check_type,
    picture_answer,
    scale,
)
from lenswatch.server.values.refusals import invalid, not_found

__all__ = [
    "MOST_PICTURES",
    "MOST_REFERENCES",
    "Nearest",
    "bytes_by_experiment",
    "find_nearest",
    "nearest_of",
    "operations",
]

MOST_PICTURES = 256  # of one reference
MOST_REFERENCES = 200  # of one experiment
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_RULE = "1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit."
_PATH = "/experiment/{experiment_id}/reference/{reference}"

operations = Operations()


class ReferencePictureRecord(Record):
    """A clean picture of a reference."""

    name = fields.String()
    media_type = fields.String()
    etag = fields.String()
    width = Count()
    height = Count()
    bytes = Count()


class ReferenceRecord(Record):
    """The clean pictures of a reference, by name."""

    reference = fields.String()
    pictures = fields.List(fields.Nested(ReferencePictureRecord))


class Nearest(NamedTuple):
    """The clean picture that a job names as the nearest to its own."""

    reference: str
    name: str


def nearest_of(parameters: dict[str, Any]) -> Nearest | None:
    """Return the clean picture that a job's parameters name, if they name one as a node does."""
    named = parameters.get("nearest_clean")
    if not isinstance(named, dict):
        return None
    reference, name = named.get("reference"), named.get("name")
    if not (_is_name(reference) and _is_name(name)):
        return None
    return Nearest(str(reference), str(name))


def find_nearest(
    connection: Connection, experiment: int, parameters: dict[str, Any]
) -> bytes | None:
    """Return the clean picture, a JPEG, that a job's parameters name; None if it is not stored."""
    nearest = nearest_of(parameters)
    if nearest is None:
        return None
    found = connection.execute(select(table.c.data).where(*_at(experiment, *nearest))).scalar()
    return None if found is None else bytes(found)


def bytes_by_experiment(connection: Connection) -> dict[int, int]:
    """Return the bytes of all clean pictures of each experiment that has any, by its number."""
    query = select(table.c.experiment, func.sum(table.c.bytes)).group_by(table.c.experiment)
    return {number: int(size) for number, size in connection.execute(query)}


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.match(value) is not None


def _at(experiment: int, reference: str, name: str) -> tuple[Any, ...]:
    return (
        table.c.experiment == experiment,
        table.c.reference == reference,
        table.c.name == name,
    )


def _place(call: Call) -> tuple[str, str]:
    parts = call.request.path_params
    return str(parts["reference"]), str(parts["name"])


def _authorize(call: Call) -> None:
    check_type(call)
    require("Edit", call)
    named = zip(("reference", "name"), _place(call), strict=True)
    wrong = {part: [_RULE] for part, value in named if not _is_name(value)}
    if wrong:
        raise invalid("path", wrong)


@operations.add(
    f"PUT {_PATH}/picture/{{name}}",
    who=Who.REGISTERED,
    accepts=tuple(FORMATS),
    authorize=_authorize,
    prepare=scale,
    writes=True,
    extension=True,
    returns=ReferencePictureRecord(),
    refusals=(401, 403, 404, 415, 422),
)
def put_reference_picture(call: Call) -> Response:
    """Store a clean picture of a reference, scaled down to 512 px. It replaces one of the same name."""
    picture: StoredPicture = call.body
    experiment = require("Edit", call)["number"]
    reference, name = _place(call)
    _check_room(call.connection, experiment, reference, name)
    row = {
        "experiment": experiment,
        "reference": reference,
        "name": name,
        "etag": picture.etag,
        "width": picture.width,
        "height": picture.height,
        "bytes": len(picture.data),
        "data": picture.data,
    }
    keep = insert_into(call.connection, table).values(row)
    key = [table.c.experiment, table.c.reference, table.c.name]
    try:
        call.connection.execute(keep.on_conflict_do_update(index_elements=key, set_=row))
    except IntegrityError:  # the experiment was deleted meanwhile
        raise not_found("Experiment") from None
    return reply(_record(row))


def _check_room(connection: Connection, experiment: int, reference: str, name: str) -> None:
    """Raise a Refusal (422) when a reference, or an experiment, has all that it may have, and this is more.

    Two writers at the same time may exceed a limit by one each on PostgreSQL, which does no harm.
    """
    here = table.c.experiment == experiment
    others = select(func.count()).where(here, table.c.reference == reference, table.c.name != name)
    count = connection.execute(others).scalar_one()
    if count >= MOST_PICTURES:
        raise invalid("path", {"name": [f"The reference has {MOST_PICTURES} pictures already."]})
    if not count:
        known = select(table.c.reference).where(here, table.c.reference != reference).distinct()
        if len(connection.execute(known).all()) >= MOST_REFERENCES:
            full = f"The experiment has pictures of {MOST_REFERENCES} references already."
            raise invalid("path", {"reference": [f"{full} Use another experiment."]})


@operations.add(
    f"GET {_PATH}",
    who=Who.ANYBODY,
    extension=True,
    returns=ReferenceRecord(),
    refusals=(403, 404),
)
def list_reference_pictures(call: Call) -> Response:
    """List the clean pictures of a reference; none if the experiment has not got the reference."""
    experiment = require("Read", call)["number"]
    reference = str(call.request.path_params["reference"])
    if not _is_name(reference):
        raise not_found("Reference")
    columns = [column for column in table.c if column.name != "data"]
    query = select(*columns).where(table.c.experiment == experiment, table.c.reference == reference)
    rows = call.connection.execute(query.order_by(table.c.name)).mappings()
    return reply({"reference": reference, "pictures": [_record(row) for row in rows]})


@operations.add(
    f"GET {_PATH}/picture/{{name}}",
    who=Who.ANYBODY,
    extension=True,
    returns="image/jpeg",
    refusals=(403, 404),
)
def get_reference_picture(call: Call) -> Response:
    """Return a clean picture of a reference."""
    experiment = require("Read", call)["number"]
    reference, name = _place(call)
    if not (_is_name(reference) and _is_name(name)):
        raise not_found("Picture")
    row = call.connection.execute(select(table).where(*_at(experiment, reference, name))).first()
    if row is None:
        raise not_found("Picture")
    return picture_answer(call, row.etag, row.data)


def _record(row: Any) -> dict[str, Any]:
    shown = {key: row[key] for key in ("name", "etag", "width", "height", "bytes")}
    return shown | {"media_type": "image/jpeg"}
