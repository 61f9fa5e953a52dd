"""JSON in SQL, by one interface for SQLite and PostgreSQL.

A `Value` is a value in a JSON column, as expressions for its type and its content. Types have the database's
own names, which `Dialect.kinds` translates.
"""

from __future__ import annotations

import itertools
import json
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Float,
    FromClause,
    Integer,
    Numeric,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    literal_column,
    true,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONB

from lenswatch.server.query.regex import compile_regex

__all__ = ["Dialect", "Expression", "Place", "Value", "dialect_of"]

Expression = ColumnElement[Any]
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_ -]+\Z")


@dataclass(frozen=True)
class Value:
    """A value in a document. `type` is NULL where the document has none."""

    type: Expression
    content: Expression
    column: Expression | None = None  # SQLite: the document that `path` leads into
    path: str = ""
    is_object: bool = False  # known in advance


@dataclass(frozen=True)
class Place:
    """A value in the rows of one more FROM item (or of none), where `condition` holds."""

    value: Value
    source: FromClause | None
    condition: Expression

    def where(self, condition: Expression) -> Place:
        """Return the place with another condition."""
        return Place(self.value, self.source, condition)


def _json(text: str) -> Expression:
    return cast(literal_column(f"'{text}'", Text), JSONB)


# The path to a value itself. A constant, like the type names, so it needs no bound parameter.
_CONTENT: Expression = literal_column("'{}'")


def _name(kind: str) -> Expression:
    return literal_column(f"'{kind}'", Text)


class Dialect(ABC):
    """The SQL in which the databases differ."""

    kinds: ClassVar[dict[str, tuple[str, ...]]]

    def __init__(self) -> None:
        self._names = (f"j{i}" for i in itertools.count(1))

    def is_a(self, value: Value, kind: str) -> Expression:
        """Return whether `value` exists and is of `kind`; never NULL."""
        return func.coalesce(value.type.in_([_name(k) for k in self.kinds[kind]]), literal(False))

    @abstractmethod
    def root(self, column: Expression, is_object: bool) -> Value:
        """Return the whole document in `column`."""

    def hint(self, value: Value, wanted: Any) -> Expression:  # noqa: ARG002
        """Return a quick condition that holds wherever `value`, or one within, contains the text `wanted`."""
        return true()

    @abstractmethod
    def child(self, value: Value, key: str) -> Value | None:
        """Return the member `key` of an object, NULL for anything else; None if SQL needs a row for it."""

    @abstractmethod
    def member(self, value: Value, key: str) -> Place:
        """Return the member `key` of an object, as a row."""

    @abstractmethod
    def item(self, value: Value, index: int) -> Place:
        """Return the element `index` of an array, as a row."""

    @abstractmethod
    def elements(self, value: Value) -> Place:
        """Return a row for each element of an array; none for anything else."""

    @abstractmethod
    def self_or_elements(self, value: Value) -> Place:
        """Return a row for each element of an array, one for an object itself, none for anything else."""

    @abstractmethod
    def same(self, value: Value, wanted: Any) -> Expression:
        """Return whether `value` equals an array or object, with keys in any order; never NULL."""

    @abstractmethod
    def length(self, value: Value) -> Expression:
        """Return the length of an array."""

    @abstractmethod
    def number(self, value: Value) -> Expression:
        """Return the number; NULL for anything else."""

    @abstractmethod
    def number_literal(self, number: int | float) -> Expression:
        """Return a literal to compare `number` with."""

    @abstractmethod
    def text(self, value: Value) -> Expression:
        """Return the text; NULL for anything else."""

    @abstractmethod
    def found(self, text: Expression, regex: str, options: str) -> Expression:
        """Return whether the expression matches in `text`; NULL where that is NULL."""

    @abstractmethod
    def boolean(self, value: Value, wanted: bool) -> Expression:
        """Return whether `value` is the boolean `wanted`; never NULL."""


class _SqliteJson(Dialect):
    """JSON by SQLite's functions, which read text."""

    kinds: ClassVar = {
        "array": ("array",),
        "object": ("object",),
        "null": ("null",),
        "boolean": ("true", "false"),
        "number": ("integer", "real"),
        "text": ("text",),
    }

    def root(self, column: Expression, is_object: bool) -> Value:
        kind = func.json_type(column, type_=Text)
        return Value(kind, type_coerce(column, Text), column, "$", is_object)

    def hint(self, value: Value, wanted: Any) -> Expression:
        """Search the stored text of the document, in which texts are as `json.dumps` writes them."""
        if not wanted or value.column is None:
            return true()
        return func.instr(value.column, json.dumps(wanted, ensure_ascii=False)[1:-1]) > 0

    def child(self, value: Value, key: str) -> Value | None:
        if value.column is None or not _PLAIN_KEY.match(key):
            return None
        column, path = value.column, f'{value.path}."{key}"'
        content = func.json_extract(column, path, type_=Text)
        return Value(func.json_type(column, path, type_=Text), content, column, path)

    def _each(self, source: Expression) -> Place:
        rows = func.json_each(source).table_valued("key", "value", "type", name=next(self._names))
        return Place(Value(rows.c.type, rows.c.value), rows, rows.c.key)

    def _only(self, value: Value, kind: str) -> Expression:
        return case((value.type == _name(kind), value.content), else_="[]")

    def member(self, value: Value, key: str) -> Place:
        place = self._each(self._only(value, "object"))
        return place.where(place.condition == literal(key, Text))

    def item(self, value: Value, index: int) -> Place:
        place = self._each(self._only(value, "array"))
        return place.where(place.condition == literal(index, Integer))

    def elements(self, value: Value) -> Place:
        return self._each(self._only(value, "array")).where(true())

    def self_or_elements(self, value: Value) -> Place:
        source = case(
            (value.type == _name("array"), value.content),
            (value.type == _name("object"), func.json_array(func.json(value.content))),
            else_="[]",
        )
        return self._each(source).where(true())

    def same(self, value: Value, wanted: Any) -> Expression:
        container = value.type.in_([_name("array"), _name("object")])
        equal = func.lenswatch_same(value.content, json.dumps(wanted), type_=Boolean)
        return case((container, equal), else_=false())

    def length(self, value: Value) -> Expression:
        return func.json_array_length(
            case((value.type == _name("array"), value.content), else_="[]")
        )

    def number(self, value: Value) -> Expression:
        return case((value.type.in_([_name(k) for k in self.kinds["number"]]), value.content))

    def number_literal(self, number: int | float) -> Expression:
        return literal(number, Integer if isinstance(number, int) else Float)

    def text(self, value: Value) -> Expression:
        return case((value.type == _name("text"), value.content))

    def boolean(self, value: Value, wanted: bool) -> Expression:
        return func.coalesce(value.type == _name("true" if wanted else "false"), literal(False))

    def found(self, text: Expression, regex: str, options: str) -> Expression:
        return func.lenswatch_regex(regex, options, text, type_=Boolean)


class _PostgresJson(Dialect):
    """JSON by PostgreSQL's jsonb."""

    kinds: ClassVar = {
        "array": ("array",),
        "object": ("object",),
        "null": ("null",),
        "boolean": ("boolean",),
        "number": ("number",),
        "text": ("string",),
    }

    def _value(self, content: Expression) -> Value:
        return Value(func.jsonb_typeof(content, type_=Text), content)

    def root(self, column: Expression, is_object: bool) -> Value:
        return Value(func.jsonb_typeof(column, type_=Text), column, is_object=is_object)

    def child(self, value: Value, key: str) -> Value | None:
        return self._value(value.content.op("->", return_type=JSONB())(literal(key, Text)))

    def member(self, value: Value, key: str) -> Place:
        child = self._value(value.content.op("->", return_type=JSONB())(literal(key, Text)))
        return Place(child, None, child.type.is_not(None))

    def item(self, value: Value, index: int) -> Place:
        item = self._value(value.content.op("->", return_type=JSONB())(literal(index, Integer)))
        return Place(item, None, and_(self.is_a(value, "array"), item.type.is_not(None)))

    def elements(self, value: Value) -> Place:
        return self._rows(case((value.type == _name("array"), value.content), else_=_json("[]")))

    def self_or_elements(self, value: Value) -> Place:
        source = case(
            (value.type == _name("array"), value.content),
            (value.type == _name("object"), func.jsonb_build_array(value.content)),
            else_=_json("[]"),
        )
        return self._rows(source)

    def _rows(self, source: Expression) -> Place:
        rows = func.jsonb_array_elements(source).table_valued(
            Column("value", JSONB), name=next(self._names)
        )
        return Place(self._value(rows.c.value), rows, true())

    def same(self, value: Value, wanted: Any) -> Expression:
        document = cast(literal(json.dumps(wanted), Text), JSONB)
        return func.coalesce(value.content == document, literal(False))

    def length(self, value: Value) -> Expression:
        return func.jsonb_array_length(
            case((value.type == _name("array"), value.content), else_=_json("[]"))
        )

    def number(self, value: Value) -> Expression:
        return case((value.type == _name("number"), cast(self._unquoted(value), Numeric)))

    def number_literal(self, number: int | float) -> Expression:
        return cast(literal(repr(number), Text), Numeric)

    def text(self, value: Value) -> Expression:
        return case((value.type == _name("string"), self._unquoted(value))).collate("C")

    def _unquoted(self, value: Value) -> Expression:
        return value.content.op("#>>", return_type=Text())(_CONTENT)

    def boolean(self, value: Value, wanted: bool) -> Expression:
        return func.coalesce(value.content == _json("true" if wanted else "false"), literal(False))

    def found(self, text: Expression, regex: str, options: str) -> Expression:
        compiled = compile_regex(regex, options)
        matches = text.op("~", return_type=Boolean())(literal(compiled.postgres, Text))
        if not compiled.literal:
            return matches
        # The search for a literal is quicker, and rules most rows out.
        return and_(func.strpos(text, compiled.literal) > 0, matches)


def dialect_of(where: Connection | str) -> Dialect:
    """Return the dialect for statements on a connection, or for a dialect of that name."""
    name = where if isinstance(where, str) else where.dialect.name
    return _SqliteJson() if name == "sqlite" else _PostgresJson()
