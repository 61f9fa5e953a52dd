"""What SQLite cannot do by itself in a query: regular expressions, and comparing JSON by value."""

from __future__ import annotations

import json
from typing import Any

from lenswatch.server.query.regex import Steps, compile_regex

__all__ = ["same_json", "searcher"]


def searcher(deadline: float, steps: Steps) -> Any:
    """`lenswatch_regex(regex, options, text)`: whether `regex` is found; NULL for what is not text.

    The function raises RegexTimeout once the monotonic clock has passed `deadline`, and keeps in `steps` what
    it found out.
    """
    last: tuple[Any, ...] = ()  # rows in a row often say the same
    found = False

    def search(regex: str, options: str, text: Any) -> bool | None:
        nonlocal last, found
        if not isinstance(text, str):
            return None
        if last != (text, regex, options):
            found = compile_regex(regex, options).search(text, deadline, steps)
            last = (text, regex, options)
        return found

    return search


def same_json(left: str, right: str) -> bool:
    """`lenswatch_same(left, right)`: whether two JSON texts have equal values, the order of keys aside."""
    return _same(json.loads(left), json.loads(right))


def _same(left: Any, right: Any) -> bool:
    """Equality in which true is not 1, but 1 is 1.0."""
    match left, right:
        case (list(), list()):
            return len(left) == len(right) and all(map(_same, left, right))
        case (dict(), dict()):
            return left.keys() == right.keys() and all(_same(left[k], right[k]) for k in left)
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
