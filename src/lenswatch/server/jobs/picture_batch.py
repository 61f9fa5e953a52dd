"""Pictures of many drift jobs in one request, each of which is checked separately."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from marshmallow import fields, validate
from sqlalchemy import select
from starlette.responses import Response

from lenswatch.server.db.tables import drifts
from lenswatch.server.experiments.api import require
from lenswatch.server.http.bodies import Body, Entries, JsonObject
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.records import Count, Record
from lenswatch.server.jobs.pictures import keep_pictures, thumbnail
from lenswatch.server.jobs.store import lock
from lenswatch.server.values.refusals import Refusal

__all__ = ["operations"]

MAX_PICTURES = 100

operations = Operations()


class PictureBatchBody(Body):
    """Pictures, each the id of its job and its file in Base64."""

    pictures = Entries(
        fields.Raw(allow_none=True), required=True, validate=validate.Length(1, MAX_PICTURES)
    )


class PictureResultRecord(Record):
    """Result of one picture of a batch."""

    position = Count()
    status = fields.Integer(validate=validate.OneOf((200, 404, 422)))
    errors = JsonObject()
    optional = ("errors",)


class PictureBatchRecord(Record):
    """Results of a batch, in the order of its pictures."""

    results = fields.List(fields.Nested(PictureResultRecord))


def _authorize(call: Call) -> None:
    require("Edit", call)


def _scale(call: Call) -> None:
    """Replace the body by what is stored of each picture, or the result of one that is refused."""
    call.body = [_read(at, each) for at, each in enumerate(call.body["pictures"])]


def _read(position: int, given: Any) -> dict[str, Any]:
    result: dict[str, Any] = {"position": position}
    match given:
        case {"id": str(drift), "data": str(data)} if len(given) == 2:
            try:
                picture = thumbnail(base64.b64decode(data, validate=True))
            except (binascii.Error, ValueError):
                return result | _refused({"data": ["Not Base64."]})
            except Refusal as refusal:
                return result | {"status": 422, "errors": refusal.errors}
            return result | {"drift": drift.lower(), "picture": picture}
    return result | _refused({"_schema": ["Send id, that of a job, and data, a file in Base64."]})


def _refused(errors: dict[str, Any]) -> dict[str, Any]:
    return {"status": 422, "errors": {"json": errors}}


@operations.add(
    "POST /experiment/{experiment_id}/drift/images",
    who=Who.REGISTERED,
    body=PictureBatchBody(),
    authorize=_authorize,
    prepare=_scale,
    writes=True,
    extension=True,
    returns=PictureBatchRecord(),
    refusals=(401, 403, 404, 422),
)
def put_images(call: Call) -> Response:
    """Store the pictures of up to 100 jobs. Each is checked separately and answered under its position."""
    experiment = require("Edit", call)
    lock(call.connection, experiment["number"])
    good = [each for each in call.body if "picture" in each]
    found = _jobs(call, experiment["number"], [each["drift"] for each in good])
    results = [{**each} for each in call.body]  # the call may be tried again
    kept = []
    for result in results:
        if "picture" not in result:
            continue
        picture, drift = result.pop("picture"), found.get(result.pop("drift"))
        result["status"] = 404 if drift is None else 200
        if drift is not None:
            kept.append((drift, picture))
    keep_pictures(call.connection, kept)
    return reply({"results": results})


def _jobs(call: Call, experiment: int, ids: list[str]) -> dict[str, Mapping[Any, Any]]:
    here = (drifts.c.id.in_(ids), drifts.c.experiment == experiment)
    return {
        row["id"]: row for row in call.connection.execute(select(drifts).where(*here)).mappings()
    }
