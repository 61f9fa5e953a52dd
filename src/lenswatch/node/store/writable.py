"""The question whether a node's database can be written."""

from __future__ import annotations

from lenswatch.node.store.dialects import insert
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.tables import lease

__all__ = ["check_writable"]

_ROW = {"name": "health", "holder": "nobody", "expires_at": 0.0}
# A lease that nobody ever holds. Only a commit shows that the disk takes one.
_WRITE = insert(lease).on_conflict_do_update(index_elements=["name"], set_={"expires_at": 0.0})


def check_writable(store: NodeStore) -> None:
    """Commit a change that means nothing.

    Raises:
        StoreError: The change cannot be committed.
    """

    def write() -> None:
        with store.begin() as transaction:
            transaction.connection.execute(_WRITE, _ROW)

    if store.is_shared:  # a connection that was cut is replaced
        store.again(write)
    else:
        write()
