"""A query as a SQL condition on the rows of a table, with bound parameters, the same on both databases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BigInteger, Connection, false, literal, or_, true

from lenswatch.server.query import tree
from lenswatch.server.query.dialects import Dialect, Expression, dialect_of
from lenswatch.server.query.documents import COMPARE, Documents, combine, never_null
from lenswatch.server.query.language import parse_query
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import invalid

__all__ = ["Fields", "compile_query", "read_query"]

CACHED_COST = 24  # of a query whose SQL SQLAlchemy keeps for the next; larger ones take megabytes


@dataclass(frozen=True)
class Fields:
    """The fields that the records of a table offer to queries, by the names that queries use.

    Attributes:
        texts: Text columns.
        stamps: Columns of moments, in microseconds since 1970.
        booleans: Boolean columns.
        documents: JSON columns.
        constants: Texts that are the same for all records.
        paths: Text columns that hold what a path leads to within a document.
        members: Conditions on lists that are stored in a table of their own, given the wanted texts.
        objects: Names of documents that are always objects.
    """

    texts: Mapping[str, Expression] = field(default_factory=dict)
    stamps: Mapping[str, Expression] = field(default_factory=dict)
    booleans: Mapping[str, Expression] = field(default_factory=dict)
    documents: Mapping[str, Expression] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[tuple[str, ...], Expression] = field(default_factory=dict)
    members: Mapping[str, Callable[[tuple[str, ...]], Expression]] = field(default_factory=dict)
    objects: frozenset[str] = frozenset()


def read_query(document: Mapping[str, Any], fields: Fields) -> tree.Query:
    """Return the tree of a query document on records with `fields`.

    Raises:
        Refusal: 422 for what is not a query, or not one that `fields` can answer.
    """
    query = parse_query(document)
    _check(query, fields)
    return query


def compile_query(query: tree.Query, fields: Fields, connection: Connection) -> Expression:
    """Return the condition on rows that satisfy `query`, for a statement on `connection`."""
    if tree.cost(query) > CACHED_COST:
        connection.execution_options(compiled_cache=None)
    dialect = dialect_of(connection)
    return combine(query, lambda match: _on_row(match, fields, dialect))


def _check(query: tree.Query, fields: Fields) -> None:
    match query:
        case tree.AllOf(parts) | tree.AnyOf(parts):
            for part in parts:
                _check(part, fields)
        case tree.Not(part):
            _check(part, fields)
        case tree.Match((name,), predicate) if name in fields.stamps:
            _on_stamp(fields.stamps[name], predicate, name)


def _on_row(match: tree.Match, fields: Fields, dialect: Dialect) -> Expression:
    name, *rest = match.path
    predicate = match.predicate
    if match.path in fields.paths:
        return _on_text(fields.paths[match.path], predicate, dialect)
    if not rest and name in fields.members and (wanted := _texts(predicate)):
        return fields.members[name](wanted)
    name = "_id" if name == "id" else name
    if name in fields.documents:
        root = dialect.root(fields.documents[name], name in fields.objects)
        return Documents(dialect).within(root, tuple(rest), predicate)
    if rest:
        return _absent(predicate)
    if name in fields.texts:
        return _on_text(fields.texts[name], predicate, dialect)
    if name in fields.constants:
        return _on_text(literal(fields.constants[name]), predicate, dialect)
    if name in fields.booleans:
        return _on_boolean(fields.booleans[name], predicate)
    if name in fields.stamps:
        return _on_stamp(fields.stamps[name], predicate, name)
    return _absent(predicate)


def _texts(predicate: tree.Predicate) -> tuple[str, ...]:
    """Return the texts that `predicate` looks for among members; none if it looks for anything else."""
    match predicate:
        case tree.Equal(str(text)):
            return (text,)
        case tree.OneOf(texts) if all(isinstance(text, str) for text in texts):
            return texts
    return ()


def _absent(predicate: tree.Predicate) -> Expression:
    return true() if predicate == tree.Equal(None) else false()


def _on_text(column: Expression, predicate: tree.Predicate, dialect: Dialect) -> Expression:
    match predicate:
        case tree.Exists():
            return column.is_not(None)
        case tree.Equal(None):
            return column.is_(None)
        case tree.Equal(str(wanted)):
            return never_null(column == wanted)
        case tree.Compare(sign, str(wanted)):
            return never_null(COMPARE[sign](column, wanted))
        case tree.OneOf(wanted):
            texts = [w for w in wanted if isinstance(w, str)]
            return never_null(column.in_(texts)) if texts else false()
        case tree.Pattern(regex, options):
            return never_null(dialect.found(column, regex, options))
    return false()


def _on_boolean(column: Expression, predicate: tree.Predicate) -> Expression:
    match predicate:
        case tree.Exists():
            return true()
        case tree.Equal(bool(wanted)):
            return column.is_(wanted)
        case tree.Compare(sign, bool(wanted)):
            return or_(false(), *(column.is_(b) for b in (False, True) if COMPARE[sign](b, wanted)))
        case tree.OneOf(wanted):
            return or_(false(), *(column.is_(w) for w in wanted if isinstance(w, bool)))
    return false()


def _on_stamp(column: Expression, predicate: tree.Predicate, name: str) -> Expression:
    match predicate:
        case tree.Exists():
            return true()
        case tree.Equal(str(wanted)):
            return column == _moment(wanted, name)
        case tree.Compare(sign, str(wanted)):
            return COMPARE[sign](column, _moment(wanted, name))  # type: ignore[no-any-return]
        case tree.OneOf(wanted):
            moments = [_moment(w, name) for w in wanted if isinstance(w, str)]
            return column.in_(moments) if moments else false()
        case tree.Pattern():
            raise invalid(
                "json", {name: ["$regex does not apply to times; use $gt, $gte, $lt or $lte."]}
            )
    return false()


def _moment(text: str, name: str) -> Expression:
    stamp = stamps.microseconds(text)
    if stamp is None:
        raise invalid("json", {name: ["Not a valid datetime."]})
    return literal(stamp, BigInteger)
