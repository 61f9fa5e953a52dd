"""Conditions on JSON documents, as SQL with bound parameters that means the same on both databases.

Every condition is true or false, never NULL, so that `Not` is a plain NOT.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from sqlalchemy import Boolean, and_, case, exists, false, func, literal, not_, or_, select, true

from lenswatch.server.query import tree
from lenswatch.server.query.dialects import Dialect, Expression, Place, Value
from lenswatch.server.query.regex import compile_regex

__all__ = ["COMPARE", "Documents", "combine", "never_null"]

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_ON_MEMBERS = (tree.Equal, tree.Compare, tree.OneOf, tree.Pattern)


def combine(query: tree.Query, condition_of: Callable[[tree.Match], Expression]) -> Expression:
    """Return the condition for `query`, given the one for each match in it."""
    match query:
        case tree.AllOf(parts):
            return and_(true(), *(combine(part, condition_of) for part in parts))
        case tree.AnyOf(parts):
            return or_(false(), *(combine(part, condition_of) for part in parts))
        case tree.Not(part):
            return not_(combine(part, condition_of))
        case tree.Match():
            return condition_of(query)


def never_null(condition: Expression) -> Expression:
    """Return `condition` with false in place of NULL."""
    return func.coalesce(condition, literal(False, Boolean))


class Documents:
    """A writer of conditions on values in JSON documents.

    A path may lead through arrays, into each of their members. Few documents have such arrays, so `reach` and
    `absent` write a direct condition, and the general one only for rows that have an array on the way.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect

    def within(self, root: Value, path: tuple[str, ...], predicate: tree.Predicate) -> Expression:
        """Return whether a value that `path` leads to from `root` satisfies `predicate`."""
        found = self.reach(root, path, predicate)
        if predicate == tree.Equal(None) and path:
            return or_(found, self.absent(root, path))
        return found

    def reach(self, root: Value, path: tuple[str, ...], predicate: tree.Predicate) -> Expression:
        """Return whether an existing value that `path` leads to satisfies `predicate`."""
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
        """Return `simple`, or `general` for rows with an array among the values `on_the_way`."""
        arrays = [self.dialect.is_a(value, "array") for value in on_the_way if not value.is_object]
        return case((or_(*arrays), general), else_=simple) if arrays else simple

    def absent(self, root: Value, path: tuple[str, ...]) -> Expression:
        """Return whether `path` ends too early somewhere.

        It does at an object without the next key, and at a value that is neither object nor array. Of an
        array's members only objects count, or the one at the path's position.
        """
        general = self.ends_early(root, path)
        direct = self.direct(root, path)
        if direct is None:
            return general
        *on_the_way, last = direct
        return self.quick(on_the_way, last.type.is_(None), general)

    def ends_early(self, root: Value, path: tuple[str, ...]) -> Expression:
        """Return the general form of `absent`, for paths with arrays."""
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
        """Return the values on `path` from `root`, arrays apart; None if SQL cannot express one in place."""
        places, value = [], root
        for key in path:
            child = self.dialect.child(value, key)
            if child is None:
                return None
            places.append(value)
            value = child
        return [*places, value]

    def matches(self, root: Value, match: tree.Match) -> Expression:
        """Return `match` on what its path leads to from `root`; without a path, on `root` itself."""
        if not match.path:
            return self.whole(root, match.predicate)
        return self.within(root, match.path, match.predicate)

    def search(self, root: Value, path: tuple[str, ...], predicate: tree.Predicate) -> Expression:
        """Return the general form of `reach`, for paths with arrays."""
        ways: list[list[Place]] = [[]]
        for key in path:
            ways = [longer for way in ways for longer in self.onward(way, root, key)]
        found = [
            _any_row(way, self.whole_or_members(way[-1].value if way else root, predicate))
            for way in ways
        ]
        return or_(*found)

    def onward(self, way: list[Place], root: Value, key: str) -> list[list[Place]]:
        """Extend a path by `key`: as a member's name and, if possible, as an array position."""
        value = way[-1].value if way else root
        outer = self.dialect.self_or_elements(value)
        ways = [[*way, outer, self.dialect.member(outer.value, key)]]
        if tree.is_position(key):
            ways.append([*way, self.dialect.item(value, int(key))])
        return ways

    def whole_or_members(self, value: Value, predicate: tree.Predicate) -> Expression:
        """Return `predicate` on `value`, or on its members where the predicate extends to them."""
        whole = self.whole(value, predicate)
        if not isinstance(predicate, _ON_MEMBERS):
            return whole
        place = self.dialect.elements(value)
        return or_(whole, _any_row([place], self.whole(place.value, predicate)))

    def whole(self, value: Value, predicate: tree.Predicate) -> Expression:
        """Return `predicate` on `value` itself, its members excluded; false where there is no value."""
        match predicate:
            case tree.Exists():
                return value.type.is_not(None)
            case tree.Equal(wanted):
                return self.equal(value, wanted)
            case tree.Compare(sign, wanted):
                return self.compare(value, sign, wanted)
            case tree.OneOf(wanted):
                return or_(false(), *self.one_of(value, wanted))
            case tree.Size(length):
                return and_(self.dialect.is_a(value, "array"), self.dialect.length(value) == length)
            case tree.Elements(query, objects):
                place = self.dialect.elements(value)
                inner = combine(query, lambda match: self.matches(place.value, match))
                wanted_kind = self.dialect.is_a(place.value, "object") if objects else true()
                return _any_row([place], and_(wanted_kind, inner))
            case tree.Pattern(regex, options):
                return never_null(self.dialect.found(self.dialect.text(value), regex, options))
        raise AssertionError(predicate)

    def equal(self, value: Value, wanted: Any) -> Expression:
        """Return whether `value` equals `wanted`, numbers by size and objects in any order of keys."""
        match wanted:
            case None:
                return self.dialect.is_a(value, "null")
            case bool():
                return self.dialect.boolean(value, wanted)
            case str():
                return never_null(self.dialect.text(value) == wanted)
            case int() | float():
                return never_null(self.dialect.number(value) == self.dialect.number_literal(wanted))
            case _:
                return self.dialect.same(value, wanted)

    def compare(self, value: Value, sign: str, wanted: Any) -> Expression:
        """Return whether `value` has the type of `wanted` and compares to it as `sign` says."""
        if isinstance(wanted, bool):
            return or_(
                false(),
                *(
                    self.dialect.boolean(value, candidate)
                    for candidate in (False, True)
                    if COMPARE[sign](candidate, wanted)
                ),
            )
        if isinstance(wanted, str):
            return never_null(COMPARE[sign](self.dialect.text(value), wanted))
        return never_null(
            COMPARE[sign](self.dialect.number(value), self.dialect.number_literal(wanted))
        )

    def one_of(self, value: Value, wanted: tuple[Any, ...]) -> list[Expression]:
        """Return conditions of which one holds if `value` is one of `wanted`."""
        conditions = [self.equal(value, w) for w in dict.fromkeys(wanted) if isinstance(w, bool)]
        if texts := [w for w in wanted if isinstance(w, str)]:
            conditions.append(never_null(self.dialect.text(value).in_(texts)))
        if numbers := [w for w in wanted if not isinstance(w, str | bool)]:
            literals = [self.dialect.number_literal(w) for w in numbers]
            conditions.append(never_null(self.dialect.number(value).in_(literals)))
        return conditions


def _contained(predicate: tree.Predicate) -> str | None:
    """Return a text that every value satisfying `predicate` contains, if one is known."""
    match predicate:
        case tree.Equal(str(text)):
            return text
        case tree.Pattern(regex, options):
            return compile_regex(regex, options).literal
    return None


def _any_row(places: list[Place], condition: Expression) -> Expression:
    """Return whether some row of all `places` together satisfies `condition`."""
    sources = [place.source for place in places if place.source is not None]
    conditions = and_(*(place.condition for place in places), condition)
    if not sources:
        return never_null(conditions)
    return exists(select(literal(1)).select_from(*sources).where(conditions))
