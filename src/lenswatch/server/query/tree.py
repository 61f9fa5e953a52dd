"""A query as a tree: what `language` reads from a document, and `conditions` writes as SQL.

As in MongoDB, `Equal`, `Compare`, `OneOf` and `Pattern` hold for an array if they hold for the array itself
or for one of its members.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "AllOf",
    "AnyOf",
    "Compare",
    "Elements",
    "Equal",
    "Exists",
    "Match",
    "Not",
    "OneOf",
    "Pattern",
    "Predicate",
    "Query",
    "Size",
    "cost",
    "is_position",
]


@dataclass(frozen=True)
class Equal:
    """The value, or a member of it, equals `value`."""

    value: Any


@dataclass(frozen=True)
class Compare:
    """The value, or a member of it, has the type of `value` and is less or greater."""

    operator: Literal["$gt", "$gte", "$lt", "$lte"]
    value: str | int | float | bool


@dataclass(frozen=True)
class OneOf:
    """The value, or a member of it, equals one of `values`."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Pattern:
    """The value, or a member of it, is text in which `regex` matches."""

    regex: str
    options: str


@dataclass(frozen=True)
class Exists:
    """The path leads to a value."""


@dataclass(frozen=True)
class Size:
    """The value is an array of `length` members."""

    length: int


@dataclass(frozen=True)
class Elements:
    """The value is an array, and one member (with `objects`: one object) satisfies `query`."""

    query: Query
    objects: bool


Predicate = Equal | Compare | OneOf | Pattern | Exists | Size | Elements


@dataclass(frozen=True)
class Match:
    """A value at `path` satisfies `predicate`. With an empty path: the value itself, its members excluded."""

    path: tuple[str, ...]
    predicate: Predicate


@dataclass(frozen=True)
class AllOf:
    """Every part holds; without parts, always."""

    parts: tuple[Query, ...]


@dataclass(frozen=True)
class AnyOf:
    """At least one part holds; without parts, never."""

    parts: tuple[Query, ...]


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: Query


Query = Match | AllOf | AnyOf | Not


def is_position(part: str) -> bool:
    """Return whether a component of a path may be a position in an array; `01` is only a name."""
    return part.isascii() and part.isdigit() and part == str(int(part[:10]))


def cost(query: Query) -> int:
    """Return the size of the query's SQL, in units of about a millisecond of writing it.

    A position in a path may also be the name of a member, so each one doubles the ways through the document.
    """
    match query:
        case AllOf(parts) | AnyOf(parts):
            return sum(map(cost, parts))
        case Not(part):
            return cost(part)
        case Match(path, predicate):
            ways = (1 << sum(map(is_position, path))) + 1
            inner = cost(predicate.query) if isinstance(predicate, Elements) else 0
            absent = predicate == Equal(None)
            return (len(path) + 1 + inner) * ways * (4 if absent else 1)
