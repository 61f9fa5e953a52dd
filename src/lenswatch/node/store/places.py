"""The place of a node's database: `node.db` in its storage folder, or PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from lenswatch.config import Config
from lenswatch.errors import StoreError
from lenswatch.node.store.reading import open_to_read
from lenswatch.node.store.store import NodeStore
from lenswatch.reference.paths import node_database

__all__ = ["has_database", "look_into", "open_database"]


def open_database(config: Config, **options: Any) -> NodeStore:
    """Open the database that `storage.database` names, or the one in the storage folder.

    Args:
        config: The settings.
        options: As `NodeStore` takes them; those of a file are of no use on PostgreSQL.

    Raises:
        StoreError: It cannot be used; on PostgreSQL only if the setting is wrong.
    """
    if not config.storage.database:
        return NodeStore(node_database(config.storage_path), **options)
    # Imported here, since only replicas need PostgreSQL.
    try:
        from lenswatch.node.store.replicated import ReplicatedStore
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        needed = "PostgreSQL needs psycopg: pip install 'lenswatch[replicas]'"
        raise StoreError(f"storage.database: {needed}") from None

    for name in ("busy_timeout", "durable", "repairs"):
        options.pop(name, None)
    return ReplicatedStore(config.storage.database, config.storage_path, **options)


def has_database(config: Config) -> bool:
    """Return True when there is a database, so that opening it makes no new one."""
    return bool(config.storage.database) or node_database(config.storage_path).exists()


def look_into(config: Config) -> AbstractContextManager[NodeStore | None]:
    """Open a node's database for reading; None when there is none.

    Raises:
        StoreError: The database cannot be used.
    """
    if config.storage.database:
        return _shared(config)
    return open_to_read(node_database(config.storage_path))


@contextmanager
def _shared(config: Config) -> Iterator[NodeStore]:
    with contextlib.closing(open_database(config)) as store:
        yield store
