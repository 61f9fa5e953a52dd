"""SQL functions that SQLite lacks: regular expressions, and comparison of JSON by value."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from lenswatch.server.query.regex import compile_regex

__all__ = ["regex_function", "same_json"]


def regex_function(deadline: float) -> Callable[[str, str, Any], bool | None]:
    """Return the SQL function `lenswatch_regex(regex, options, text)`.

    It tells whether `regex` matches somewhere in `text`, and gives NULL for anything but text. It raises
    TimeoutError once the monotonic clock has passed `deadline`, or for a search that could take too long.
    """

    def search(regex: str, options: str, text: Any) -> bool | None:
        if not isinstance(text, str):
            return None
        if time.monotonic() > deadline:
            raise TimeoutError
        return compile_regex(regex, options).search(text)

    return search


def same_json(left: str, right: str) -> bool:
    """Return whether two JSON texts have equal values, whatever the order of keys.

    The SQL function `lenswatch_same(left, right)`.
    """
    return _same(json.loads(left), json.loads(right))


def _same(left: Any, right: Any) -> bool:
    """Compare as JSON does: true is not 1, but 1 is 1.0."""
    match left, right:
        case (list(), list()):
            return len(left) == len(right) and all(map(_same, left, right))
        case (dict(), dict()):
            return left.keys() == right.keys() and all(_same(left[k], right[k]) for k in left)
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
