"""Searching an experiment's jobs: the page, and the exact total."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, func, select

from lenswatch.server.conditions import Fields, compile_query
from lenswatch.server.models import drifts
from lenswatch.server.paging import slice_of
from lenswatch.server.queries import Node
from lenswatch.wire import SCHEMA_VERSION

__all__ = ["FIELDS", "condition", "page"]

FIELDS = Fields(
    texts={"_id": drifts.c.id, "job_status": drifts.c.job_status, "model": drifts.c.model},
    stamps={"created_at": drifts.c.created_at},
    booleans={"drift_detected": drifts.c.drift_detected},
    documents={"tags": drifts.c.tags, "parameters": drifts.c.parameters},
    constants={"schema_version": SCHEMA_VERSION},
)


def condition(connection: Connection, query: Node) -> ColumnElement[bool]:
    """The condition on `drifts` rows that `query` says."""
    return compile_query(query, FIELDS, connection.dialect.name)


def page(
    connection: Connection, experiment: int, condition: ColumnElement[bool], args: Mapping[str, Any]
) -> tuple[list[RowMapping], int]:
    """The rows of the page that `args` ask for, and how many rows there are on all pages."""
    condition = (drifts.c.experiment == experiment) & condition
    total = connection.execute(
        select(func.count()).select_from(drifts).where(condition)
    ).scalar_one()
    sort = [drifts.c.created_at, drifts.c.number]
    if args["sort_by"] not in ("created_at", "schema_version"):
        sort.insert(0, drifts.c[args["sort_by"]])
    rows = connection.execute(slice_of(select(drifts).where(condition), args, sort))
    return list(rows.mappings()), total
