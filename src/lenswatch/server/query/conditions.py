"""A query's tree as a SQL condition, with bound parameters, that means the same on both databases.

Every condition is true or false, never NULL, so that `Not` is plain NOT.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)

from lenswatch.server.query.dialects import Dialect, Place, PostgresJson, SqliteJson, Value
from lenswatch.server.query.language import (
    AllOf,
    AnyOf,
    Compare,
    Elements,
    Equal,
    Exists,
    Match,
    Node,
    Not,
    OneOf,
    Pattern,
    Predicate,
    Size,
    cost,
    is_position,
    parse_query,
)
from lenswatch.server.query.regex import compile_regex
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import invalid

__all__ = ["Fields", "compile_query", "read_query"]

Expression = ColumnElement[Any]
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
REMEMBERED_COST = 24  # of a query whose SQL is kept for the next; larger ones take megabytes
_ON_MEMBERS = (Equal, Compare, OneOf, Pattern)


@dataclass(frozen=True)
class Fields:
    """What the records of a table offer to queries, by their names there."""

    texts: Mapping[str, Expression] = field(default_factory=dict)
    stamps: Mapping[str, Expression] = field(default_factory=dict)
    booleans: Mapping[str, Expression] = field(default_factory=dict)
    documents: Mapping[str, Expression] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    # Text columns that stand for a path within a document, and lists that stand in a table of their own.
    paths: Mapping[tuple[str, ...], Expression] = field(default_factory=dict)
    members: Mapping[str, Callable[[tuple[str, ...]], Expression]] = field(default_factory=dict)
    # Documents that are known to be objects.
    objects: frozenset[str] = frozenset()


def compile_query(node: Node, fields: Fields, connection: Connection) -> Expression:
    """The condition on the rows of a table that satisfy `node`, for a statement on `connection`."""
    if cost(node) > REMEMBERED_COST:
        connection.execution_options(compiled_cache=None)
    dialect = SqliteJson() if connection.dialect.name == "sqlite" else PostgresJson()
    return _Compiler(fields, dialect).node(node, None)


def read_query(document: Mapping[str, Any], fields: Fields) -> Node:
    """The query that `document` says of records with `fields`.

    Raises:
        Refusal: 422, it is not one, or not one that `fields` can answer.
    """
    query = parse_query(document)
    _check(query, fields)
    return query


def _check(node: Node, fields: Fields) -> None:
    match node:
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                _check(part, fields)
        case Not(part):
            _check(part, fields)
        case Match((name,), predicate) if name in fields.stamps:
            _on_stamp(fields.stamps[name], predicate, name)


class _Compiler:
    def __init__(self, fields: Fields, dialect: Dialect) -> None:
        self.fields = fields
        self.dialect = dialect

    def node(self, node: Node, root: Value | None) -> Expression:
        """`node` on the row, or within the JSON value `root`."""
        match node:
            case AllOf(parts):
                return and_(true(), *(self.node(part, root) for part in parts))
            case AnyOf(parts):
                return or_(false(), *(self.node(part, root) for part in parts))
            case Not(part):
                return not_(self.node(part, root))
            case Match(path, predicate):
                if root is None:
                    return self.column(node, *path)
                if not path:
                    return self.whole(root, predicate)
                return self.within(root, path, predicate)
        raise AssertionError(node)

    def column(self, match: Match, name: str, *rest: str) -> Expression:
        """A match on a column of the table."""
        if match.path in self.fields.paths:
            return _on_text(self.fields.paths[match.path], match.predicate, self.dialect)
        if not rest and name in self.fields.members and (wanted := _texts(match.predicate)):
            return self.fields.members[name](wanted)
        name = "_id" if name == "id" else name
        if name in self.fields.documents:
            root = self.dialect.root(self.fields.documents[name], name in self.fields.objects)
            return self.within(root, rest, match.predicate)
        if rest:
            return _absent(match.predicate)
        if name in self.fields.texts:
            return _on_text(self.fields.texts[name], match.predicate, self.dialect)
        if name in self.fields.constants:
            return _on_text(literal(self.fields.constants[name]), match.predicate, self.dialect)
        if name in self.fields.booleans:
            return _on_boolean(self.fields.booleans[name], match.predicate)
        if name in self.fields.stamps:
            return _on_stamp(self.fields.stamps[name], match.predicate, name)
        return _absent(match.predicate)

    def within(self, root: Value, path: tuple[str, ...], predicate: Predicate) -> Expression:
        """A match on what `path` leads to from `root`."""
        found = self.reach(root, path, predicate)
        if predicate == Equal(None) and path:
            return or_(found, self.absent(root, path))
        return found

    def reach(self, root: Value, path: tuple[str, ...], predicate: Predicate) -> Expression:
        """Whether something that `path` leads to satisfies `predicate`."""
        general = self.search(root, path, predicate)
        direct = self.direct(root, path)
        if direct is None:
            return general
        *on_the_way, last = direct
        if isinstance(predicate, _ON_MEMBERS):
            on_the_way.append(last)
        found = self.quick(on_the_way, self.whole(last, predicate), general)
        return and_(self.dialect.hint(last, _contained(predicate)), found)

    def quick(self, on_the_way: list[Value], simple: Expression, general: Expression) -> Expression:
        """`simple`, which will do unless there is an array on the way; then it takes `general`."""
        arrays = [self.dialect.is_a(value, "array") for value in on_the_way if not value.is_object]
        return case((or_(*arrays), general), else_=simple) if arrays else simple

    def absent(self, root: Value, path: tuple[str, ...]) -> Expression:
        """Whether `path` ends too early somewhere: at an object without the next key, or at a value
        that is neither object nor array. Of an array's members only objects count, or the one at the
        path's position.
        """
        general = self.ends_early(root, path)
        direct = self.direct(root, path)
        if direct is None:
            return general
        *on_the_way, last = direct
        return self.quick(on_the_way, last.type.is_(None), general)

    def ends_early(self, root: Value, path: tuple[str, ...]) -> Expression:
        """The same by looking into every array on the way."""
        found = []
        ways: list[list[Place]] = [[]]
        at_positions: list[list[Place]] = []
        for key in path:
            for way in ways + at_positions:
                outer = self.dialect.self_or_elements(way[-1].value if way else root)
                missing = not_(_any_row([self.dialect.member(outer.value, key)], true()))
                here = and_(self.dialect.is_a(outer.value, "object"), missing)
                found.append(_any_row([*way, outer], here))
            for way in ways:
                value = way[-1].value if way else root
                inner = [self.dialect.is_a(value, kind) for kind in ("array", "object")]
                found.append(_any_row(way, not_(or_(*inner))))
            longer = [self.onward(way, root, key) for way in ways + at_positions]
            ways = [by_name for by_name, *_ in longer]
            at_positions = [way for _, *by_position in longer for way in by_position]
        return or_(*found)

    def direct(self, root: Value, path: tuple[str, ...]) -> list[Value] | None:
        """The places on `path` from `root` if no array is on the way; None if they cannot be said."""
        places, value = [], root
        for key in path:
            child = self.dialect.child(value, key)
            if child is None:
                return None
            places.append(value)
            value = child
        return [*places, value]

    def search(self, root: Value, path: tuple[str, ...], predicate: Predicate) -> Expression:
        """The same by looking through every array on the way."""
        ways: list[list[Place]] = [[]]
        for key in path:
            ways = [longer for way in ways for longer in self.onward(way, root, key)]
        found = [
            _any_row(way, self.whole_or_members(way[-1].value if way else root, predicate))
            for way in ways
        ]
        return or_(*found)

    def onward(self, way: list[Place], root: Value, key: str) -> list[list[Place]]:
        """`way`, longer by `key`: as a member of an object or of objects in an array, or as a position."""
        value = way[-1].value if way else root
        outer = self.dialect.self_or_elements(value)
        ways = [[*way, outer, self.dialect.member(outer.value, key)]]
        if is_position(key):
            ways.append([*way, self.dialect.item(value, int(key))])
        return ways

    def whole_or_members(self, value: Value, predicate: Predicate) -> Expression:
        whole = self.whole(value, predicate)
        if not isinstance(predicate, _ON_MEMBERS):
            return whole
        place = self.dialect.elements(value)
        return or_(whole, _any_row([place], self.whole(place.value, predicate)))

    def whole(self, value: Value, predicate: Predicate) -> Expression:
        """`predicate` on `value` itself, its members not looked at; false where there is nothing."""
        match predicate:
            case Exists():
                return value.type.is_not(None)
            case Equal(wanted):
                return self.equal(value, wanted)
            case Compare(sign, wanted):
                return self.compare(value, sign, wanted)
            case OneOf(wanted):
                return or_(false(), *self.one_of(value, wanted))
            case Size(length):
                return and_(self.dialect.is_a(value, "array"), self.dialect.length(value) == length)
            case Elements(node, objects):
                place = self.dialect.elements(value)
                inner = self.node(node, place.value)
                wanted_kind = self.dialect.is_a(place.value, "object") if objects else true()
                return _any_row([place], and_(wanted_kind, inner))
            case Pattern(regex, options):
                return _sure(self.dialect.found(self.dialect.text(value), regex, options))
        raise AssertionError(predicate)

    def equal(self, value: Value, wanted: Any) -> Expression:
        """Whether `value` is there and equals `wanted`, numbers by size and objects in any order."""
        match wanted:
            case None:
                return self.dialect.is_a(value, "null")
            case bool():
                return self.dialect.boolean(value, wanted)
            case str():
                return _sure(self.dialect.text(value) == wanted)
            case int() | float():
                return _sure(self.dialect.number(value) == self.dialect.number_literal(wanted))
            case _:
                return self.dialect.same(value, wanted)

    def compare(self, value: Value, sign: str, wanted: Any) -> Expression:
        if isinstance(wanted, bool):
            return or_(
                false(),
                *(
                    self.dialect.boolean(value, candidate)
                    for candidate in (False, True)
                    if _COMPARE[sign](candidate, wanted)
                ),
            )
        if isinstance(wanted, str):
            return _sure(_COMPARE[sign](self.dialect.text(value), wanted))
        return _sure(
            _COMPARE[sign](self.dialect.number(value), self.dialect.number_literal(wanted))
        )

    def one_of(self, value: Value, wanted: tuple[Any, ...]) -> list[Expression]:
        conditions = [self.equal(value, w) for w in dict.fromkeys(wanted) if isinstance(w, bool)]
        if texts := [w for w in wanted if isinstance(w, str)]:
            conditions.append(_sure(self.dialect.text(value).in_(texts)))
        if numbers := [w for w in wanted if not isinstance(w, str | bool)]:
            literals = [self.dialect.number_literal(w) for w in numbers]
            conditions.append(_sure(self.dialect.number(value).in_(literals)))
        return conditions


def _contained(predicate: Predicate) -> str | None:
    """A text that something satisfying `predicate` contains, if one is known."""
    match predicate:
        case Equal(str(text)):
            return text
        case Pattern(regex, options):
            return compile_regex(regex, options).literal
    return None


def _texts(predicate: Predicate) -> tuple[str, ...]:
    """The texts that `predicate` looks for among members; none if it does anything else."""
    match predicate:
        case Equal(str(text)):
            return (text,)
        case OneOf(texts) if all(isinstance(text, str) for text in texts):
            return texts
    return ()


def _sure(condition: Expression) -> Expression:
    return func.coalesce(condition, literal(False, Boolean))


def _any_row(places: list[Place], condition: Expression) -> Expression:
    """Whether a row of all `places` together satisfies `condition`."""
    sources = [place.source for place in places if place.source is not None]
    conditions = and_(*(place.condition for place in places), condition)
    if not sources:
        return _sure(conditions)
    return exists(select(literal(1)).select_from(*sources).where(conditions))


def _absent(predicate: Predicate) -> Expression:
    return true() if predicate == Equal(None) else false()


def _on_text(column: Expression, predicate: Predicate, dialect: Dialect) -> Expression:
    match predicate:
        case Exists():
            return column.is_not(None)
        case Equal(None):
            return column.is_(None)
        case Equal(str(wanted)):
            return _sure(column == wanted)
        case Compare(sign, str(wanted)):
            return _sure(_COMPARE[sign](column, wanted))
        case OneOf(wanted):
            texts = [w for w in wanted if isinstance(w, str)]
            return _sure(column.in_(texts)) if texts else false()
        case Pattern(regex, options):
            return _sure(dialect.found(column, regex, options))
    return false()


def _on_boolean(column: Expression, predicate: Predicate) -> Expression:
    match predicate:
        case Exists():
            return true()
        case Equal(bool(wanted)):
            return column.is_(wanted)
        case Compare(sign, bool(wanted)):
            return or_(
                false(), *(column.is_(b) for b in (False, True) if _COMPARE[sign](b, wanted))
            )
        case OneOf(wanted):
            return or_(false(), *(column.is_(w) for w in wanted if isinstance(w, bool)))
    return false()


def _on_stamp(column: Expression, predicate: Predicate, name: str) -> Expression:
    match predicate:
        case Exists():
            return true()
        case Equal(str(wanted)):
            return column == _moment(wanted, name)
        case Compare(sign, str(wanted)):
            return _COMPARE[sign](column, _moment(wanted, name))  # type: ignore[no-any-return]
        case OneOf(wanted):
            moments = [_moment(w, name) for w in wanted if isinstance(w, str)]
            return column.in_(moments) if moments else false()
        case Pattern():
            raise invalid("json", {name: ["$regex does not work on moments."]})
    return false()


def _moment(text: str, name: str) -> Expression:
    stamp = stamps.microseconds(text)
    if stamp is None:
        raise invalid("json", {name: ["Not a valid datetime."]})
    return literal(stamp, BigInteger)
