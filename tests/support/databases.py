"""Databases that are created for a test and dropped after it."""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

DATABASES = ["sqlite", "postgresql"]
DEFAULT_POSTGRES = "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"


def postgres_address() -> str | None:
    """Return the URL of the server on which tests may create databases, or None."""
    given = os.environ.get("LENSWATCH_TEST_POSTGRES")
    if given:
        return given
    try:
        socket.create_connection(("127.0.0.1", 5432), timeout=1).close()
    except OSError:
        return None
    return DEFAULT_POSTGRES


@contextlib.contextmanager
def own_postgres(options: str = "") -> Iterator[str]:
    """Create an empty database, yield its URL, and drop it. `options` are those of `CREATE DATABASE`.

    Skips the test if no PostgreSQL is named and none listens. One that is named must answer.
    """
    address = postgres_address()
    if address is None:
        pytest.skip("no PostgreSQL: set LENSWATCH_TEST_POSTGRES or start one on 127.0.0.1:5432")
    url = make_url(address)
    name = f"lenswatch_test_{os.getpid()}_{uuid.uuid4().hex[:8]}"
    admin = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True, connect_timeout=30) as connection:
        connection.execute(f'CREATE DATABASE "{name}" {options}')
        # No test cuts the power, and most wait for commits.
        connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextlib.contextmanager
def own_database(kind: str, folder: Path) -> Iterator[str]:
    """Create an empty database of one of the DATABASES, and yield its URL."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'server.db'}"
    else:
        with own_postgres() as url:
            yield url
