"""The number and size of kept originals, importable without torch."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from lenswatch.node.store.tables import originals

__all__ = ["KeptOriginals", "kept_originals"]


class KeptOriginals(NamedTuple):
    """The kept originals of a storage folder."""

    pictures: int
    bytes: int


def kept_originals(connection: sa.Connection) -> KeptOriginals:
    """Return how many originals are kept, and their size."""
    columns = (sa.func.count(), sa.func.coalesce(sa.func.sum(originals.c.bytes), 0))
    return KeptOriginals(*connection.execute(sa.select(*columns)).one())
