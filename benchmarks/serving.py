"""Tracking servers in processes of their own, and databases on PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import psycopg
from sqlalchemy import make_url

__all__ = ["new_experiment", "postgres", "serving"]

SERVE = """
import sys
from pathlib import Path
from lenswatch.config import Config, ServerConfig
from lenswatch.server.run import serve
serve(Config(server=ServerConfig(port=int(sys.argv[1]), database=sys.argv[2]), root=Path(".")))
"""


@contextlib.contextmanager
def serving(url: str, source: Path | None = None) -> Iterator[tuple[httpx.Client, int]]:
    """A server on the database `url`: a client, and the server's process id.

    Args:
        url: The database, which the server prepares.
        source: The folder of the packages of another build.
    """
    environment = os.environ | ({"PYTHONPATH": str(source)} if source else {})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    address = f"http://127.0.0.1:{port}/api/latest"
    with (
        subprocess.Popen([sys.executable, "-c", SERVE, str(port), url], env=environment) as process,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        try:
            while not _answers(client):
                if process.poll() is not None:
                    raise RuntimeError(f"the server ended with {process.returncode}")
                time.sleep(0.1)
            yield client, process.pid
        finally:
            process.terminate()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").is_success
    except httpx.TransportError:
        return False


def new_experiment(client: httpx.Client) -> str:
    """The path of a new experiment."""
    answer = client.post("/experiment", json={"name": uuid.uuid4().hex}).raise_for_status()
    return f"/experiment/{answer.json()['id']}"


@contextlib.contextmanager
def postgres(label: str) -> Iterator[str | None]:
    """The URL of a new database, if there is a PostgreSQL."""
    address = os.environ.get(
        "LENSWATCH_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
    )
    url = make_url(address)
    admin = url.set(drivername="postgresql").render_as_string(hide_password=False)
    name = f"lenswatch_bench_{os.getpid()}_{label}"
    try:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
    except psycopg.OperationalError:
        print("no PostgreSQL: set LENSWATCH_TEST_POSTGRES or start one on 127.0.0.1:5432")
        yield None
        return
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
