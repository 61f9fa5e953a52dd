"""The collections of clean pictures as rows of `node.db`: one for each stream, and one for each picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from lenswatch.node.collecting.collection import Collection
from lenswatch.node.store.dialects import insert
from lenswatch.node.store.statement import Statement
from lenswatch.node.store.tables import collected, collections

__all__ = ["Kept", "all_collections", "collection_of", "delete", "drop", "keep", "kept_of", "put"]

_new = insert(collections)
_FIND = Statement(
    sa.select(collections.c.state).where(collections.c.stream == sa.bindparam("of_stream"))
)
_PUT = _new.on_conflict_do_update(index_elements=["stream"], set_={"state": _new.excluded.state})


@dataclass(frozen=True)
class Kept:
    """A clean picture that was kept.

    Attributes:
        stream: The stream that it belongs to.
        digest: SHA-256 of the file, hexadecimal.
        taken: Capture time in seconds since 1970.
        file: Path below the folder of pictures, with slashes.
    """

    stream: str
    digest: str
    taken: float
    file: str


def collection_of(connection: sa.Connection, stream: str) -> Collection | None:
    """Return a stream's collection, or None when it has none."""
    row = _FIND(connection, {"of_stream": stream}).fetchone()
    return None if row is None else Collection.from_json(row[0])


def all_collections(connection: sa.Connection) -> dict[str, Collection]:
    """Return the collections of all streams, by the names of these."""
    query = sa.select(collections.c.stream, collections.c.state).order_by(collections.c.stream)
    return {stream: Collection.from_json(state) for stream, state in connection.execute(query)}


def put(connection: sa.Connection, stream: str, collection: Collection) -> None:
    """Write a stream's collection, replacing the one that is there."""
    connection.execute(_PUT, {"stream": stream, "state": collection.to_json()})


def delete(connection: sa.Connection, stream: str) -> bool:
    """Delete a stream's collection and the rows of its pictures; return False when there is none.

    The files stay.
    """
    connection.execute(sa.delete(collected).where(collected.c.stream == stream))
    gone = connection.execute(sa.delete(collections).where(collections.c.stream == stream))
    return bool(gone.rowcount)


def kept_of(connection: sa.Connection, stream: str) -> list[Kept]:
    """Return the pictures that a stream's collection keeps, in the order of their capture times."""
    query = sa.select(collected).where(collected.c.stream == stream)
    rows = connection.execute(query.order_by(collected.c.taken, collected.c.digest)).mappings()
    return [Kept(**row) for row in rows]


def keep(connection: sa.Connection, picture: Kept) -> None:
    """Add the row of a kept picture."""
    values: dict[str, Any] = vars(picture)
    connection.execute(sa.insert(collected), values)


def drop(connection: sa.Connection, picture: Kept) -> None:
    """Delete the row of a picture that is no longer needed."""
    mine = (collected.c.stream == picture.stream, collected.c.digest == picture.digest)
    connection.execute(sa.delete(collected).where(*mine))
