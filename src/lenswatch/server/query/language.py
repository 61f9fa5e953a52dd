"""The query language: reads a Mongo-style document into a tree.

Supported: equality (with a value, a member of an array, a whole array or object; null also matches what is
absent), `$eq $ne $gt $gte $lt $lte $in $nin $not $exists $all $size $elemMatch $regex $options $and $or $nor`
and dotted paths. Everything else is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import ValidationError

from lenswatch.server.query import tree
from lenswatch.server.query.regex import OPTIONS, UNSUPPORTED_OPTIONS, RegexError, compile_regex
from lenswatch.server.values.refusals import Refusal, invalid
from lenswatch.server.values.storable import storable

__all__ = ["parse_query"]

MAX_DEPTH = 8  # of nested operators
MAX_ELEMENTS = 2  # nested $elemMatch: SQLite's parser takes at most three, and only of the simplest
MAX_TESTS = 100  # comparisons in one query
MAX_OBJECTS = 200  # objects that stand for conditions
MAX_LIST = 200  # values of one $in, $nin or $all
MAX_VALUES = 400  # values in all lists and objects of one query
MAX_COST = 600  # as `cost` counts
MAX_PATH = 8  # components of a path
MAX_INDICES = 3  # components of a path that are whole numbers


def parse_query(document: Mapping[str, Any]) -> tree.Query:
    """Return the tree of a query document.

    Raises:
        Refusal: 422 that names the operator or field at fault.
    """
    query = _QueryParser().document(document, 0)
    if tree.cost(query) > MAX_COST:
        raise _refuse("_schema", "The query is too large: too many comparisons on long paths.")
    return query


def _refuse(name: str, text: str) -> Refusal:
    return invalid("json", {name: [text]})


class _QueryParser:
    """A parser that counts what it reads and rejects queries that are too large."""

    def __init__(self) -> None:
        self.objects = self.tests = self.values = 0
        self.within = 0  # $elemMatch around the current place

    def document(self, document: Mapping[str, Any], depth: int) -> tree.Query:
        self.objects += 1
        parts = []
        for key, value in document.items():
            if depth > MAX_DEPTH:
                raise _refuse(key, f"Nested deeper than {MAX_DEPTH} levels.")
            if key in _JUNCTIONS:
                parts.append(self._junction(key, value, depth))
            elif key.startswith("$"):
                raise _refuse(key, "Unknown operator.")
            else:
                parts.append(self.field(_path(key), value, depth, key))
        return parts[0] if len(parts) == 1 else tree.AllOf(tuple(parts))

    def _junction(self, name: str, value: Any, depth: int) -> tree.Query:
        if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
            raise _refuse(name, "Must be a list of one or more objects.")
        if self.objects + len(value) > MAX_OBJECTS:
            raise _refuse(name, f"The query is too large: over {MAX_OBJECTS} objects.")
        return _JUNCTIONS[name](tuple(self.document(v, depth + 1) for v in value))

    def field(self, path: tuple[str, ...], value: Any, depth: int, name: str) -> tree.Query:
        if isinstance(value, dict) and any(key.startswith("$") for key in value):
            return self.operators(path, value, depth, name)
        return self._test(path, tree.Equal(_literal(name, value)), name)

    def operators(
        self, path: tuple[str, ...], tests: Mapping[str, Any], depth: int, name: str
    ) -> tree.Query:
        if depth > MAX_DEPTH:
            raise _refuse(name, f"Nested deeper than {MAX_DEPTH} levels.")
        parts = []
        for operator, value in tests.items():
            if operator == "$options":
                if "$regex" not in tests:
                    raise _refuse(operator, "Only allowed beside $regex.")
            elif operator == "$not":
                parts.append(self._negation(path, value, depth))
            elif operator == "$elemMatch":
                parts.append(self._test(path, self._elements(value, depth), operator))
            elif operator == "$all" and _elements_only(value):
                for item in value:
                    inner = self._elements(item["$elemMatch"], depth)
                    parts.append(self._test(path, inner, "$elemMatch"))
            elif operator == "$regex":
                parts.append(self._test(path, _pattern(value, tests.get("$options", "")), operator))
            elif operator in _OPERATORS:
                parts.append(self._operator(path, operator, value))
            else:
                raise _refuse(operator, "Unknown operator.")
        return parts[0] if len(parts) == 1 else tree.AllOf(tuple(parts))

    def _negation(self, path: tuple[str, ...], value: Any, depth: int) -> tree.Query:
        if (
            not isinstance(value, dict)
            or not value
            or not all(key.startswith("$") for key in value)
        ):
            raise _refuse("$not", "Must be an object of operators.")
        return tree.Not(self.operators(path, value, depth + 1, "$not"))

    def _elements(self, value: Any, depth: int) -> tree.Elements:
        if not isinstance(value, dict):
            raise _refuse("$elemMatch", "Must be an object.")
        if self.within == MAX_ELEMENTS:
            raise _refuse("$elemMatch", f"Nested deeper than {MAX_ELEMENTS} levels.")
        self.within += 1
        try:
            if value and all(key.startswith("$") and key not in _JUNCTIONS for key in value):
                return tree.Elements(
                    self.operators((), value, depth + 1, "$elemMatch"), objects=False
                )
            return tree.Elements(self.document(value, depth + 1), objects=True)
        finally:
            self.within -= 1

    def _operator(self, path: tuple[str, ...], operator: str, value: Any) -> tree.Query:
        predicates, join, negate = _OPERATORS[operator](operator, value)
        if not predicates:
            self._count(operator)
        tests = tuple(self._test(path, predicate, operator) for predicate in predicates)
        query = tests[0] if len(tests) == 1 else join(tests)
        return tree.Not(query) if negate else query

    def _test(self, path: tuple[str, ...], predicate: tree.Predicate, name: str) -> tree.Match:
        self._count(name)
        self.values += len(predicate.values) if isinstance(predicate, tree.OneOf) else 0
        self.values += _weight(predicate.value) if isinstance(predicate, tree.Equal) else 0
        if self.values > MAX_VALUES:
            raise _refuse(name, f"The query is too large: over {MAX_VALUES} values.")
        return tree.Match(path, predicate)

    def _count(self, name: str) -> None:
        self.tests += 1
        if self.tests > MAX_TESTS:
            raise _refuse(name, f"The query is too large: over {MAX_TESTS} comparisons.")


_JUNCTIONS: dict[str, Callable[[tuple[tree.Query, ...]], tree.Query]] = {
    "$and": tree.AllOf,
    "$or": tree.AnyOf,
    "$nor": lambda parts: tree.Not(tree.AnyOf(parts)),
}

# Predicates on one value, what joins them, and whether the whole is negated.
_Reading = tuple[list[tree.Predicate], Callable[[tuple[tree.Query, ...]], tree.Query], bool]


def _path(key: str) -> tuple[str, ...]:
    path = tuple(key.split("."))
    if not all(path) or any(part.startswith("$") for part in path):
        raise _refuse(key, "Not a valid path.")
    if len(path) > MAX_PATH:
        raise _refuse(key, f"The path has over {MAX_PATH} components.")
    if sum(map(tree.is_position, path)) > MAX_INDICES:
        raise _refuse(key, f"The path has over {MAX_INDICES} positions.")
    _literal(key, key)
    return path


def _literal(name: str, value: Any) -> Any:
    try:
        return storable(value)
    except ValidationError as error:
        raise invalid("json", {name: error.messages}) from None


def _weight(value: Any) -> int:
    """Return the number of values within `value`."""
    if isinstance(value, list):
        return sum(1 + _weight(item) for item in value)
    if isinstance(value, dict):
        return sum(1 + _weight(item) for item in value.values())
    return 0


def _elements_only(value: Any) -> bool:
    """Return whether every member of a list is a `$elemMatch`: `$all` takes only those, or none."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and item.keys() == {"$elemMatch"} for item in value)
    )


def _read_equal(name: str, value: Any) -> _Reading:
    return [tree.Equal(_literal(name, value))], tree.AllOf, name == "$ne"


def _read_compare(name: str, value: Any) -> _Reading:
    if value is None:  # null is neither less nor greater than null, and equals what is absent
        return ([tree.Equal(None)] if name in ("$gte", "$lte") else []), tree.AnyOf, False
    if not isinstance(value, str | int | float):
        raise _refuse(name, "Must be a text, a number, a boolean or null.")
    return [tree.Compare(name, _literal(name, value))], tree.AllOf, False  # type: ignore[arg-type]


def _read_one_of(name: str, value: Any) -> _Reading:
    values = [_literal(name, item) for item in _list(name, value)]
    simple = tuple(v for v in values if isinstance(v, str | int | float))
    rest: list[tree.Predicate] = [
        tree.Equal(v) for v in values if not isinstance(v, str | int | float)
    ]
    return [*([tree.OneOf(simple)] if simple else []), *rest], tree.AnyOf, name == "$nin"


def _read_all(name: str, value: Any) -> _Reading:
    values: list[tree.Predicate] = [tree.Equal(_literal(name, item)) for item in _list(name, value)]
    return values, tree.AllOf if values else tree.AnyOf, False  # an empty $all matches nothing


def _read_exists(name: str, value: Any) -> _Reading:
    if not isinstance(value, bool | int | float):
        raise _refuse(name, "Not a valid boolean.")
    return [tree.Exists()], tree.AllOf, not value


def _read_size(name: str, value: Any) -> _Reading:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise _refuse(name, "Must be a whole number, 0 or more.")
    return [tree.Size(value)], tree.AllOf, False


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _refuse(name, "Not a valid list.")
    if len(value) > MAX_LIST:
        raise _refuse(name, f"Longer than {MAX_LIST} values.")
    if any(isinstance(item, dict) and any(key.startswith("$") for key in item) for item in value):
        raise _refuse(name, "Operators are not supported in this list.")
    return value


def _pattern(regex: Any, options: Any) -> tree.Pattern:
    for name, value in (("$regex", regex), ("$options", options)):
        if not isinstance(value, str):
            raise _refuse(name, "Not a valid string.")
        _literal(name, value)
    if not set(options) <= OPTIONS:
        raise _refuse("$options", UNSUPPORTED_OPTIONS)
    try:
        compile_regex(regex, options)
    except RegexError as error:
        raise _refuse("$regex", str(error)) from None
    return tree.Pattern(regex, options)


_OPERATORS: dict[str, Callable[[str, Any], _Reading]] = {
    "$eq": _read_equal,
    "$ne": _read_equal,
    "$gt": _read_compare,
    "$gte": _read_compare,
    "$lt": _read_compare,
    "$lte": _read_compare,
    "$in": _read_one_of,
    "$nin": _read_one_of,
    "$all": _read_all,
    "$exists": _read_exists,
    "$size": _read_size,
}
