"""Servers for tests to talk to over loopback: tracking servers in processes, any application in a thread."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import uvicorn

from support.ports import free_port
from support.read_only import OBEYING
from support.waiting import until_it_answers


@dataclass(frozen=True)
class Served:
    """A tracking server in a process of its own."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, prefix: str = "/api/latest") -> httpx.Client:
        """Return an HTTP client for `prefix`, with a time limit of 60 s."""
        return httpx.Client(base_url=self.address + prefix, timeout=60)

    def wait_until_ready(self) -> None:
        until_it_answers(f"{self.address}/readyz", self.process)


def command(folder: Path, *, obeying: bool = False, **settings: Any) -> list[str]:
    """Return the command that starts a tracking server, its files in `folder`; see serve.py.

    Args:
        folder: Where the server keeps its files.
        obeying: The server may not write where permissions forbid it, not even as root.
        settings: As in serve.py.
    """
    script = str(Path(__file__).with_name("serve.py"))
    prefix = OBEYING if obeying else []
    return [*prefix, sys.executable, "-P", script, json.dumps(settings), str(folder)]


@contextlib.contextmanager
def served(folder: Path, *, stderr: Any = None, **settings: Any) -> Iterator[Served]:
    """A tracking server that is ready; it gets SIGTERM at the end, and must end well."""
    port = settings.setdefault("port", free_port())
    with subprocess.Popen(command(folder, **settings), stderr=stderr) as process:
        try:
            running = Served(process, port)
            running.wait_until_ready()
            yield running
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()


@contextlib.contextmanager
def in_a_thread(server: uvicorn.Server, listener: socket.socket | None = None) -> Iterator[int]:
    """Run `server` in a thread, and yield its port."""
    with listener or socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(60)
        assert not thread.is_alive(), "the server does not end"
