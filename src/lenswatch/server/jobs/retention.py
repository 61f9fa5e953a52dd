"""How long an experiment keeps jobs and pictures: its own wishes, else the settings of the server.

`lenswatch.server.upkeep.expiry` deletes what is over these limits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from marshmallow import fields, validate
from sqlalchemy import Connection, select
from starlette.responses import Response

from lenswatch.config import RetentionConfig
from lenswatch.server.db.database import insert_into
from lenswatch.server.db.tables import experiments, retention
from lenswatch.server.experiments.api import require
from lenswatch.server.http.bodies import Body
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.records import Record

__all__ = ["Limits", "change_retention", "limits_of_all", "operations", "retention_of"]

operations = Operations()
MAX_DAYS = 100_000
_NAMES = ("jobs_days", "jobs_bytes", "pictures_days", "drift_pictures_days", "pictures_bytes")


@dataclasses.dataclass(frozen=True)
class Limits:
    """The limits in force for an experiment. 0: no limit.

    Attributes:
        jobs_days: Age at which jobs are deleted with their pictures, since they arrived.
        jobs_bytes: Of all jobs; the oldest are deleted first.
        pictures_days: Age at which pictures of jobs without drift are deleted.
        drift_pictures_days: Age at which pictures of jobs with drift are deleted.
        pictures_bytes: Of all pictures; the oldest without drift are deleted first.
    """

    jobs_days: float
    jobs_bytes: int
    pictures_days: float
    drift_pictures_days: float
    pictures_bytes: int

    @property
    def any(self) -> bool:
        """Return whether anything is ever deleted."""
        return any(dataclasses.astuple(self))


def _number(kind: type[fields.Float] | type[fields.Integer], most: float) -> fields.Field:
    own = {"strict": True} if kind is fields.Integer else {}
    limit = validate.Range(min=0, max=most)
    return kind(allow_none=True, load_default=None, validate=limit, **own)


class RetentionBody(Body):
    """Wishes of an experiment; null: as the server's settings say; 0: never."""

    jobs_days = _number(fields.Float, MAX_DAYS)
    jobs_bytes = _number(fields.Integer, 2**62)
    pictures_days = _number(fields.Float, MAX_DAYS)
    drift_pictures_days = _number(fields.Float, MAX_DAYS)
    pictures_bytes = _number(fields.Integer, 2**62)


class LimitsRecord(Record):
    """Limits in force; 0: none."""

    jobs_days = fields.Float()
    jobs_bytes = fields.Integer()
    pictures_days = fields.Float()
    drift_pictures_days = fields.Float()
    pictures_bytes = fields.Integer()


class RetentionRecord(Record):
    """Wishes of an experiment, and the limits in force."""

    jobs_days = fields.Float(allow_none=True)
    jobs_bytes = fields.Integer(allow_none=True)
    pictures_days = fields.Float(allow_none=True)
    drift_pictures_days = fields.Float(allow_none=True)
    pictures_bytes = fields.Integer(allow_none=True)
    effective = fields.Nested(LimitsRecord)


def retention_of(
    connection: Connection, experiment: int, defaults: RetentionConfig
) -> dict[str, Any]:
    """Return the wishes of an experiment and, as `effective`, the limits in force."""
    query = select(retention).where(retention.c.experiment == experiment)
    row = connection.execute(query).mappings().first()
    return _record(row or {}, defaults)


def change_retention(connection: Connection, experiment: int, wishes: Mapping[str, Any]) -> None:
    """Replace the wishes of an experiment, as `RetentionBody` loads them."""
    row = {"experiment": experiment, **{name: wishes.get(name) for name in _NAMES}}
    put = insert_into(connection, retention).values(row)
    connection.execute(put.on_conflict_do_update(index_elements=["experiment"], set_=row))


def limits_of_all(connection: Connection, defaults: RetentionConfig) -> dict[int, Limits]:
    """Return the limits of each experiment that has any, by its number."""
    wishes = [retention.c[name] for name in _NAMES]
    query = select(experiments.c.number, *wishes).outerjoin_from(experiments, retention)
    if not limits({}, defaults).any:
        query = query.where(retention.c.experiment.is_not(None))
    rows = connection.execute(query.where(experiments.c.deleted_at.is_(None))).mappings()
    found = {row["number"]: limits(row, defaults) for row in rows}
    return {number: limit for number, limit in found.items() if limit.any}


def limits(wishes: Mapping[Any, Any], defaults: RetentionConfig) -> Limits:
    """Return the limits that come from an experiment's wishes, and from the settings for the rest."""
    given = {name: wishes.get(name) for name in _NAMES}
    chosen = {n: getattr(defaults, n) if v is None else v for n, v in given.items()}
    others, drift = chosen["pictures_days"], chosen["drift_pictures_days"]
    chosen["drift_pictures_days"] = max(others, drift) if others and drift else drift
    return Limits(**chosen)


def _record(wishes: Mapping[Any, Any], defaults: RetentionConfig) -> dict[str, Any]:
    own = {name: wishes.get(name) for name in _NAMES}
    return own | {"effective": dataclasses.asdict(limits(wishes, defaults))}


@operations.add(
    "GET /experiment/{experiment_id}/retention",
    who=Who.ANYBODY,
    extension=True,
    returns=RetentionRecord(),
    refusals=(403, 404),
)
def read_retention(call: Call) -> Response:
    """Return how long jobs and pictures are kept."""
    number = require("Read", call)["number"]
    return reply(retention_of(call.connection, number, call.services.config.retention))


@operations.add(
    "PUT /experiment/{experiment_id}/retention",
    who=Who.REGISTERED,
    body=RetentionBody(),
    writes=True,
    extension=True,
    returns=RetentionRecord(),
    refusals=(401, 403, 404, 422),
)
def replace_retention(call: Call) -> Response:
    """Replace how long jobs and pictures are kept. What is over the limits is deleted soon."""
    number = require("Manage", call)["number"]
    change_retention(call.connection, number, call.body)
    return reply(retention_of(call.connection, number, call.services.config.retention))
