"""Numbers within JSON documents, by a path."""

from __future__ import annotations

import re

from sqlalchemy import Connection, Float, cast

from lenswatch.server.query.dialects import Expression, dialect_of
from lenswatch.server.query.language import MAX_PATH

__all__ = ["NUMBER_PATH", "number_at"]

# Names that both databases find without a row for each, and that need no quoting in an address.
NUMBER_PATH = re.compile(rf"parameters(\.[A-Za-z0-9_ -]{{1,64}}){{1,{MAX_PATH - 1}}}\Z")


def number_at(where: Connection | str, document: Expression, path: tuple[str, ...]) -> Expression:
    """Return the number that `path` leads to in an object, in double precision; NULL for anything else.

    Args:
        where: The connection on which the statement will run, or the name of its dialect.
        document: A JSON column with objects.
        path: Names of members, each of letters, digits, spaces, `_` and `-`.
    """
    dialect = dialect_of(where)
    value = dialect.root(document, True)
    for key in path:
        inner = dialect.child(value, key)
        if inner is None:
            raise ValueError(f"{key!r} in a path: use letters, digits, spaces, '_' and '-'")
        value = inner
    return cast(dialect.number(value), Float(53))
