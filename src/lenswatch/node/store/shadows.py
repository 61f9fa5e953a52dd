"""The states of streams under the reference in shadow."""

from __future__ import annotations

import sqlalchemy as sa

from lenswatch.node.store.dialects import insert
from lenswatch.node.store.tables import shadows

__all__ = ["delete_state", "put_state", "state_of"]


def state_of(connection: sa.Connection, stream: str, digest: str) -> bytes | None:
    """Return the stored state of a stream under a reference, or None."""
    mine = (shadows.c.stream == stream, shadows.c.digest == digest)
    return connection.execute(sa.select(shadows.c.state).where(*mine)).scalar_one_or_none()


def put_state(connection: sa.Connection, stream: str, digest: str, state: bytes) -> None:
    """Replace the state of a stream, under whatever reference it is."""
    row = {"digest": digest, "state": state}
    put = insert(shadows).values(stream=stream, **row)
    connection.execute(put.on_conflict_do_update(index_elements=["stream"], set_=row))


def delete_state(connection: sa.Connection, stream: str) -> None:
    """Delete the state of a stream."""
    connection.execute(sa.delete(shadows).where(shadows.c.stream == stream))
