"""The query language as a plain evaluation of Python values, after MongoDB's rules."""

from __future__ import annotations

import operator
import re
from typing import Any

COMPARE = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
EQUAL = ("$eq", "$gte", "$lte")  # to null, for which there is no less and no greater
MISSING = object()


def kind(value: Any) -> str:
    """Return the type of a value; numbers are one type, and booleans another."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return type(value).__name__


def same(left: Any, right: Any) -> bool:
    """Compare two values: true is not 1, but 1 is 1.0."""
    if kind(left) != kind(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


def reach(document: dict[str, Any], path: list[str]) -> list[Any]:
    """Return every value that a dotted path leads to, and MISSING for each way that ends too early.

    Of an array's members only objects are looked into, or the one at a position.
    """
    value: Any = document
    for i, key in enumerate(path):
        if not isinstance(value, dict) or key not in value:
            return [MISSING]
        value = value[key]
        if isinstance(value, list) and path[i + 1 :]:
            return reach_into(value, path[i + 1 :])
    return [value]


def reach_into(array: list[Any], path: list[str]) -> list[Any]:
    """Return what `reach` does, for a path that goes on in an array."""
    found: list[Any] = []
    for i, item in enumerate(array):
        if isinstance(item, dict):
            found += reach(item, path)
        if path[0] != str(i):
            continue
        if len(path) == 1:
            found.append(item)
        elif isinstance(item, dict):
            found += reach(item, path[1:])
        elif isinstance(item, list):
            found += reach_into(item, path[1:])
    return found


def holds(value: Any, name: str, wanted: Any, options: str) -> bool:
    """Return whether one operator holds for one value, its members excluded."""
    if value is MISSING:
        return (name == "$in" and None in wanted) or (wanted is None and name in EQUAL)
    if wanted is None and name in (*EQUAL, *COMPARE):
        return value is None and name in EQUAL  # nothing is more or less than null
    if name == "$eq":
        return same(value, wanted)
    if name == "$in":
        return any(same(value, w) for w in wanted)
    if name in COMPARE:
        return kind(value) == kind(wanted) and COMPARE[name](value, wanted)
    if name == "$regex":
        flags = re.IGNORECASE if "i" in options else 0
        return isinstance(value, str) and bool(re.search(wanted, value, flags))
    if name == "$size":
        return isinstance(value, list) and len(value) == wanted
    if name == "$elemMatch":
        if all(key.startswith("$") for key in wanted) and wanted:
            return isinstance(value, list) and any(
                operators([v], wanted, deep=False) for v in value
            )
        objects = [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []
        return any(matches(v, wanted) for v in objects)
    raise AssertionError(name)


def operators(values: list[Any], tests: dict[str, Any], deep: bool = True) -> bool:
    """Return whether all operators hold for the values of a path; `deep` extends them to members."""
    return all(
        one(values, name, wanted, tests.get("$options", ""), deep)
        for name, wanted in tests.items()
        if name != "$options"
    )


def one(values: list[Any], name: str, wanted: Any, options: str, deep: bool) -> bool:
    """Return whether one operator holds for the values of a path."""
    if name == "$not":
        return not operators(values, wanted, deep)
    if name == "$ne":
        return not one(values, "$eq", wanted, options, deep)
    if name == "$nin":
        return not one(values, "$in", wanted, options, deep)
    if name == "$exists":
        return any(value is not MISSING for value in values) == bool(wanted)
    if name == "$all":
        each = [w if kind(w) == "dict" and "$elemMatch" in w else {"$eq": w} for w in wanted]
        return bool(wanted) and all(operators(values, test, deep) for test in each)
    members = name in ("$eq", "$in", "$regex", *COMPARE) and deep
    candidates = list(values)
    for value in values:
        if members and isinstance(value, list):
            candidates += value
    return any(holds(value, name, wanted, options) for value in candidates)


def matches(document: Any, query: dict[str, Any]) -> bool:
    """Return whether a document satisfies a query."""
    for key, wanted in query.items():
        if key == "$and":
            held = all(matches(document, q) for q in wanted)
        elif key == "$or":
            held = any(matches(document, q) for q in wanted)
        elif key == "$nor":
            held = not any(matches(document, q) for q in wanted)
        else:
            values = reach(document, key.split("."))
            tests = (
                wanted
                if isinstance(wanted, dict) and any(k[0] == "$" for k in wanted)
                else {"$eq": wanted}
            )
            held = operators(values, tests)
        if not held:
            return False
    return True
