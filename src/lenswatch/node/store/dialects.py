"""SQL of the node's database that SQLite and PostgreSQL write differently.

All other statements are the same for both, and are compiled for the one that is in use.
"""

from __future__ import annotations

from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

__all__ = ["age_of_row", "flag_of", "insert", "outbox_bytes", "text_of", "with_flag"]


class _Insert(sqlite.Insert):
    """SQLite's INSERT with ON CONFLICT, which PostgreSQL took over; its compiler asks for a constraint."""

    inherit_cache = True

    def on_conflict_do_update(self, *args: Any, **options: Any) -> Self:
        _drop_constraint(made := super().on_conflict_do_update(*args, **options))
        return made

    def on_conflict_do_nothing(self, *args: Any, **options: Any) -> Self:
        _drop_constraint(made := super().on_conflict_do_nothing(*args, **options))
        return made


def _drop_constraint(statement: Any) -> None:
    statement._post_values_clause.constraint_target = None


def insert(table: sa.Table) -> _Insert:
    """Return an INSERT that offers ON CONFLICT on both databases."""
    return _Insert(table)


class text_of(FunctionElement[str]):  # noqa: N801 - a function of SQL
    """Text of a parameter of a job, by the column of the job and the parameter's name; null without one."""

    type = sa.Text()
    name = "text_of"
    inherit_cache = True


class flag_of(FunctionElement[bool]):  # noqa: N801
    """True where a parameter of a job is true, by the column of the job and the parameter's name."""

    type = sa.Boolean()
    name = "flag_of"
    inherit_cache = True


class with_flag(FunctionElement[str]):  # noqa: N801
    """A job with a parameter set to true, by the column of the job and the parameter's name."""

    type = sa.Text()
    name = "with_flag"
    inherit_cache = True


class outbox_bytes(FunctionElement[int]):  # noqa: N801
    """Bytes of all jobs and pictures of the outbox, which SQLite keeps in a column of the table `shedding`.

    On PostgreSQL one row would make all streams wait for each other, so there are several.
    """

    type = sa.BigInteger()
    name = "outbox_bytes"
    inherit_cache = True


class age_of_row(FunctionElement[Any]):  # noqa: N801
    """Order in which rows were inserted; on PostgreSQL, in which they were last written."""

    type = sa.types.NullType()
    name = "age_of_row"
    inherit_cache = True


@compiles(age_of_row, "sqlite")
def _sqlite_age(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "rowid"


@compiles(age_of_row, "postgresql")
def _postgresql_age(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "ctid"


@compiles(outbox_bytes, "sqlite")
def _sqlite_bytes(element: Any, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(outbox_bytes, "postgresql")
def _postgresql_bytes(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "(SELECT sum(bytes)::bigint FROM outbox_bytes)"


@compiles(text_of, "sqlite")
def _sqlite_text(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_extract({_job(element, compiler, options)}, '$.parameters.{_name(element)}')"


@compiles(text_of, "postgresql")
def _postgresql_text(element: Any, compiler: Any, **options: Any) -> str:
    job = _job(element, compiler, options)
    return f"(({job})::json #>> '{{parameters,{_name(element)}}}')"


@compiles(flag_of, "sqlite")
def _sqlite_flag(element: Any, compiler: Any, **options: Any) -> str:
    return f"(coalesce({_sqlite_text(element, compiler, **options)}, 0) = 1)"


@compiles(flag_of, "postgresql")
def _postgresql_flag(element: Any, compiler: Any, **options: Any) -> str:
    return f"(coalesce({_postgresql_text(element, compiler, **options)}, '') = 'true')"


@compiles(with_flag, "sqlite")
def _sqlite_set(element: Any, compiler: Any, **options: Any) -> str:
    job = _job(element, compiler, options)
    return f"json_set({job}, '$.parameters.{_name(element)}', json('true'))"


@compiles(with_flag, "postgresql")
def _postgresql_set(element: Any, compiler: Any, **options: Any) -> str:
    # jsonb holds no NUL, which is no part of any text that means something.
    job = f"replace({_job(element, compiler, options)}, '\\u0000', '\\ufffd')"
    return f"jsonb_set(({job})::jsonb, '{{parameters,{_name(element)}}}', 'true')::text"


def _job(element: Any, compiler: Any, options: Any) -> str:
    column, _ = element.clauses
    return str(compiler.process(column, **options))


def _name(element: Any) -> str:
    _, name = element.clauses
    value = str(name.value)
    assert value.isidentifier()  # it is part of the statement
    return value
