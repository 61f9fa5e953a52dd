"""Statements that insert many rows as one JSON parameter: faster than a placeholder for each value."""

from __future__ import annotations

import functools
from typing import Any

from sqlalchemy import JSON, Connection, Table, bindparam, column, func, select, true
from sqlalchemy.dialects import postgresql, sqlite

__all__ = ["add_rows", "from_records", "put_rows"]

# Each statement is built once. The cache has plain values as keys; statements as keys would never be freed.


def add_rows(connection: Connection, table: Table, entries: list[dict[str, Any]]) -> None:
    """Insert `entries`, which have the same keys; if a row exists already, its `jobs` are added up."""
    if not entries:
        return
    dialect = connection.dialect.name
    rows = [list(entry.values()) for entry in entries] if dialect == "sqlite" else entries
    connection.execute(_bulk_insert(dialect, table, tuple(entries[0])), {"rows": rows})


def put_rows(connection: Connection, table: Table, entries: list[dict[str, Any]]) -> None:
    """Insert `entries`, which have the same keys; if a row exists already, its other columns are replaced."""
    if not entries:
        return
    dialect, names = connection.dialect.name, tuple(entries[0])
    rows: Any = entries if dialect == "sqlite" else {"rows": entries}
    connection.execute(_replacing_insert(dialect, table, names), rows)


@functools.cache
def _replacing_insert(dialect: str, table: Table, names: tuple[str, ...]) -> Any:
    query = sqlite.insert(table) if dialect == "sqlite" else from_records(table, names)
    key = list(table.primary_key)
    values = {name: query.excluded[name] for name in names if table.c[name] not in key}
    return query.on_conflict_do_update(index_elements=key, set_=values)


def from_records(table: Table, names: tuple[str, ...]) -> postgresql.Insert:
    """Return the INSERT of all `rows` as one JSON parameter, for PostgreSQL.

    It unpacks a thousand rows faster than psycopg fills in their twelve thousand placeholders.
    """
    columns = (column(name, table.c[name].type) for name in names)
    listed = func.jsonb_to_recordset(bindparam("rows", type_=postgresql.JSONB))
    records = listed.table_valued(*columns, name="records").render_derived(with_types=True)
    return postgresql.insert(table).from_select(names, select(records))


def _from_arrays(table: Table, names: tuple[str, ...]) -> sqlite.Insert:
    """Return the INSERT of all `rows` as one JSON parameter, for SQLite; each row is an array."""
    entry = func.json_each(bindparam("rows", type_=JSON))
    value = entry.table_valued("value", name="entry").c.value
    columns = (func.json_extract(value, f"$[{position}]") for position in range(len(names)))
    return sqlite.insert(table).from_select(names, select(*columns).where(true()))


@functools.cache
def _bulk_insert(dialect: str, table: Table, names: tuple[str, ...]) -> Any:
    """Return the INSERT of all `rows`; if a row exists already, `jobs` is added to it."""
    query = (_from_arrays if dialect == "sqlite" else from_records)(table, names)
    if "jobs" not in table.c:
        return query
    added = {"jobs": table.c.jobs + query.excluded.jobs}
    return query.on_conflict_do_update(index_elements=list(table.primary_key), set_=added)
