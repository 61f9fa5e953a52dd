"""Pages of a search: the query string, the slice of the query, and the X-Pagination header."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from marshmallow import Schema, fields, validate
from sqlalchemy import ColumnElement, Select
from starlette.responses import JSONResponse

__all__ = ["ordered", "page_schema", "paged", "slice_of"]

_MAX_OFFSET = 2**62  # no table has so many rows


def page_schema(*sort_by: str) -> Schema:
    """Return the schema of the query string of a search that can be sorted by these fields."""
    return Schema.from_dict(
        {
            "page": fields.Integer(load_default=1, validate=validate.Range(min=1)),
            "page_size": fields.Integer(load_default=10, validate=validate.Range(min=1, max=100)),
            "order_by": fields.String(
                load_default="desc", validate=validate.OneOf(("asc", "desc"))
            ),
            "sort_by": fields.String(load_default="created_at", validate=validate.OneOf(sort_by)),
        },
        name="Page",
    )()


def ordered(
    sort: Sequence[ColumnElement[Any]], args: Mapping[str, Any]
) -> list[ColumnElement[Any]]:
    """Return the columns of `sort` in the direction that `args` ask for."""
    return [c.desc() if args["order_by"] == "desc" else c.asc() for c in sort]


def slice_of(
    query: Select[Any], args: Mapping[str, Any], sort: Sequence[ColumnElement[Any]]
) -> Select[Any]:
    """Return `query`, ordered and limited to the page that `args` ask for."""
    start = min((args["page"] - 1) * args["page_size"], _MAX_OFFSET)
    return query.order_by(*ordered(sort, args)).limit(args["page_size"]).offset(start)


def paged(records: list[dict[str, Any]], total: int, args: Mapping[str, Any]) -> JSONResponse:
    """Return the answer with the records of one page and the X-Pagination header."""
    return JSONResponse(records, headers={"X-Pagination": json.dumps(_position(total, args))})


def _position(total: int, args: Mapping[str, Any]) -> dict[str, int]:
    page, last = args["page"], -(-total // args["page_size"])
    position = {"total": total, "total_pages": last}
    if total == 0:
        return position
    position |= {"first_page": 1, "last_page": last}
    if page > last:
        return position
    position["page"] = page
    if page > 1:
        position["previous_page"] = page - 1
    if page < last:
        position["next_page"] = page + 1
    return position
