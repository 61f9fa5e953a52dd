"""Tracking servers in processes of their own, on either database."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.databases import own_postgres

DATABASES = ["sqlite", "postgresql"]
_SERVE = """
import json, sys
from pathlib import Path
from lenswatch.config import AuthConfig, Config, ServerConfig
from lenswatch.server.run import serve
settings = json.loads(sys.argv[1])
auth = AuthConfig(**settings.pop("auth", {}))
serve(Config(server=ServerConfig(auth=auth, **settings), root=Path(sys.argv[2])))
"""


@contextlib.contextmanager
def a_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'server.db'}"
    else:
        with own_postgres() as url:
            yield url


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that gets SIGTERM at the end, if it has not ended by then."""
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextlib.contextmanager
def tracking_server(folder: Path, settings: dict[str, Any], **options: Any) -> Iterator[str]:
    """The address of a server with these settings; it must end well."""
    command = [sys.executable, "-c", _SERVE, json.dumps(settings), str(folder)]
    address = f"http://127.0.0.1:{settings['port']}"
    with running(command, **options) as process:
        _wait_for(f"{address}/readyz", process)
        yield address
        process.terminate()
        assert process.wait(10) == 0


def _wait_for(address: str, process: subprocess.Popen[Any]) -> None:
    for _ in range(400):
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except urllib.error.URLError:
            threading.Event().wait(0.05)
        else:
            return
    raise AssertionError(f"{address} does not answer")
