"""Names of streams as the server keeps them: as clients give them, or made to fit."""

from __future__ import annotations

import hashlib
from typing import Any

__all__ = ["STREAM_RULE", "is_stream", "stream_of"]

_LONGEST = 64  # characters of the column
_DIGEST = 8  # characters that keep apart what was shortened
_SEPARATOR = ","  # between names in a query string
_NOBODY = "-"  # in a path, for the jobs without a stream
STREAM_RULE = 'use 1 to 64 printable characters without commas, other than "-"'


def stream_of(value: Any) -> str | None:
    """Return the name of the stream that a job's parameters give; None if they give none.

    A text that cannot be a name is made one that no other text becomes, by a digest at its end.
    A number is its digits.

    >>> stream_of("reef-03"), stream_of("Quai des Brumes/2"), stream_of(7)
    ('reef-03', 'Quai des Brumes/2', '7')
    >>> stream_of("reef,south") == stream_of("reef;south")
    False
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        return None
    return value if is_stream(value) else _made_to_fit(value)


def is_stream(name: str) -> bool:
    """Return whether a name is kept as it is."""
    fits = 0 < len(name) <= _LONGEST and name.isprintable()
    return fits and _SEPARATOR not in name and name != _NOBODY


def _made_to_fit(text: str) -> str:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST // 2)
    kept = "".join(c if c.isprintable() and c != _SEPARATOR else "_" for c in text)
    return f"{kept[: _LONGEST - _DIGEST - 1]}~{digest.hexdigest()}"
