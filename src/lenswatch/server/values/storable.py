"""Values that SQLite and PostgreSQL both store: text, JSON, and digests for text too long for an index."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable
from typing import Any

from marshmallow import ValidationError

__all__ = [
    "INT64",
    "MAX_COMPLAINTS",
    "digest",
    "each",
    "is_text",
    "storable",
    "storable_text",
    "text_problem",
    "written",
]

MAX_COMPLAINTS = 100  # about one body; checking stops there
MAX_DEPTH = 64
INT64 = 2**63
_MOST_OF_LEAST = 25  # bytes that may be written for one counted byte: a number of 24 and a comma
# `json.dumps` makes one for each value, which takes as long as writing a small one.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_EXACT_FROM = 1e16  # from here on PostgreSQL's jsonb writes a whole float as a whole number


def text_problem(text: str) -> str | None:
    """Return why one of the databases cannot store `text`; None if both can."""
    if "\0" in text:
        return "Must not contain the character NUL."
    try:
        text.encode()
    except UnicodeEncodeError:
        return "Not a valid utf-8 string."
    return None


def is_text(value: Any) -> bool:
    """Return whether `value` is text that both databases can store."""
    return isinstance(value, str) and text_problem(value) is None


def digest(text: str) -> str:
    """Return the SHA-256 in hexadecimal, used to index long text and to store secrets."""
    return hashlib.sha256(text.encode()).hexdigest()


def storable(value: Any, limit: int | None = None) -> Any:
    """Return a JSON value in the form that both databases store.

    Args:
        value: What `json.loads` returned.
        limit: Most bytes that it may have, written as JSON.

    Raises:
        ValidationError: A number is beyond 64 bits or not finite, text is not valid Unicode, or the value is
            nested too deep or too large.
    """
    walk = _Walk(math.inf if limit is None else limit)
    try:
        kept = walk.value(value, 0)
        if limit is not None and (limit - walk.left) * _MOST_OF_LEAST > limit:
            _check_size(kept, limit)
    except _TooLargeError:
        raise ValidationError(f"Larger than {limit:,} bytes.") from None
    return kept


def written(value: Any) -> str:
    """Return `value` as JSON without spaces."""
    return _ENCODER.encode(value)


def _check_size(value: Any, limit: int) -> None:
    if len(written(value).encode()) > limit:
        raise _TooLargeError


class _TooLargeError(Exception):
    """The value is too large; the rest of it is not checked."""


class _Walk:
    """A walk through a JSON value that stops once it exceeds `left` bytes."""

    def __init__(self, left: float) -> None:
        self.left = left

    def value(self, value: Any, depth: int) -> Any:
        self.left -= len(value) + 2 if isinstance(value, str) else 1
        if self.left < 0:
            raise _TooLargeError
        if isinstance(value, str):
            return storable_text(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return _storable_number(value)
        if depth >= MAX_DEPTH:
            raise ValidationError(f"Nested deeper than {MAX_DEPTH} levels.")
        if isinstance(value, list):
            return each(enumerate(value), lambda item: self.value(item, depth + 1))
        for key in value:
            self.left -= len(key) + 3
            if problem := text_problem(key):
                raise ValidationError(f"A key cannot be stored: {problem}")
        kept = each(value.items(), lambda item: self.value(item, depth + 1))
        return dict(zip(value, kept, strict=True))


def each(items: Iterable[tuple[Any, Any]], check: Callable[[Any], Any]) -> list[Any]:
    """Return the result of `check` for each of the `items`, which are pairs of a key and a value.

    Raises:
        ValidationError: The complaints of `check`, by key. After MAX_COMPLAINTS no further item is checked.
    """
    kept: list[Any] = []
    problems: dict[str, Any] = {}
    found = 0
    for key, item in items:
        try:
            kept.append(check(item))
        except ValidationError as error:
            problems[str(key)] = error.messages
            found += _count(error.messages)
            if found >= MAX_COMPLAINTS:
                break
    if problems:
        raise ValidationError(problems)
    return kept


def _count(messages: Any) -> int:
    return sum(map(_count, messages.values())) if isinstance(messages, dict) else 1


def storable_text(text: str) -> str:
    """Return `text` if both databases can store it.

    Raises:
        ValidationError: They cannot.
    """
    if problem := text_problem(text):
        raise ValidationError(problem)
    return text


def _storable_number(value: int | float) -> int | float:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValidationError("Special numeric values (nan or infinity) are not permitted.")
    if isinstance(value, int) and not -INT64 <= value < INT64:
        raise ValidationError("Number too large: a whole number must fit into 64 bits.")
    if isinstance(value, float) and -INT64 <= value < INT64 and abs(value) >= _EXACT_FROM:
        return int(value)
    return value + 0.0 if isinstance(value, float) else value  # PostgreSQL has no -0.0
