"""Databases of nodes for tests: SQLite files, and schemas of one PostgreSQL database."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from sqlalchemy import make_url

from lenswatch.node.store.replicated import ReplicatedStore
from lenswatch.node.store.store import NodeStore
from support.databases import own_postgres

Database: TypeAlias = "Path | str"  # a file, or a URL of PostgreSQL
Address: TypeAlias = "tuple[Database, Path]"  # as `opened` takes it


@pytest.fixture(scope="session")
def node_postgres() -> Iterator[str]:
    """The URL of a PostgreSQL database in which each test has a schema of its own."""
    with own_postgres() as url:
        yield url


@contextlib.contextmanager
def own_schema(url: str) -> Iterator[str]:
    """Create an empty schema, yield the URL by which a node uses it, and drop it."""
    parsed = make_url(url)
    name = f"node_{uuid.uuid4().hex[:12]}"
    plain = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    own = parsed.update_query_dict({"options": f"-csearch_path={name}"})
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    try:
        yield own.render_as_string(hide_password=False)
    finally:
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def shared_url(node_postgres: str) -> Iterator[str]:
    """An empty PostgreSQL database for replicas of a node."""
    with own_schema(node_postgres) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def node_database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """An empty database of a node: a file, or a URL."""
    if request.param == "sqlite":
        return tmp_path / "storage" / "node.db"
    return str(request.getfixturevalue("shared_url"))


def opened(database: Database, folder: Path, **options: Any) -> NodeStore:
    """Open a node's database. `folder` is the storage folder on PostgreSQL."""
    if isinstance(database, Path):
        return NodeStore(database, **options)
    return ReplicatedStore(database, folder, **options)


def address_of(store: NodeStore) -> Address:
    """Return what opens a store's database in another process."""
    database = store.url if isinstance(store, ReplicatedStore) else store.path
    return database, store.storage


def another(store: NodeStore, **options: Any) -> NodeStore:
    """Open a store's database as another process would."""
    return opened(*address_of(store), **options)
