"""Running the server in this process or in several workers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import cast

import uvicorn
from sqlalchemy import make_url
from starlette.applications import Starlette

from lenswatch.config import Config, check_settings
from lenswatch.errors import LenswatchError, ServerError
from lenswatch.memory import collect_rarely, keep_freed_memory
from lenswatch.server.alerts.courier import allowed_hosts
from lenswatch.server.app import check_auth, create_app
from lenswatch.server.db.upgrade import prepare
from lenswatch.server.http.connections import HttpConnection
from lenswatch.server.http.logs import ForeignLog
from lenswatch.server.http.services import DEFAULT_LIMITS, Limits, Services
from lenswatch.server.values.loopback import is_loopback

__all__ = ["check", "serve"]

MakeApp = Callable[..., Starlette]
CRASHES_SECONDS = 120.0  # in which crashes of workers are counted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_MODES = {"none": "no accounts", "keys": "API keys", "oidc": "OpenID Connect and API keys"}
_LISTEN_ADVICE = {
    errno.EADDRINUSE: "end the program that uses it, or choose another with --port or server.port",
    errno.EACCES: "ports below 1024 require root; choose another with --port or server.port",
}


def serve(
    config: Config,
    *,
    migrate: bool = True,
    limits: Limits = DEFAULT_LIMITS,
    make_app: MakeApp = create_app,
) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests finish and return.

    One line on standard output says where the server listens, once it answers requests. Each worker
    calls `make_app` as it would call `create_app`; so it has to be importable.

    Raises:
        ConfigError: A setting is out of range.
        ServerError: The address is taken or not allowed, the database cannot be used, or the workers
            crash again and again.
    """
    check(config)
    listener = _listen(config.server.host, config.server.port, limits.stalled_seconds)
    with contextlib.closing(listener):
        prepare(config.database_url, migrate=migrate)
        make_app = partial(make_app, config, migrate=False, limits=limits)
        if config.server.workers == 1:
            _work(config, make_app, listener, lambda: _announce(config))
        else:
            _supervise(config, limits, make_app, listener)


def check(config: Config) -> None:
    """Raise an error that says which setting of the server cannot be used, if there is one.

    Raises:
        ConfigError: A setting is out of range.
        ServerError: A setting cannot be used.
    """
    check_settings(config.server, "server")
    _check_address(config)
    check_auth(config)
    allowed_hosts(config)


def _check_address(config: Config) -> None:
    server = config.server
    if server.auth.mode == "none" and not is_loopback(server.host):
        raise ServerError(
            f'server.host = "{server.host}" can be reached from other machines, and server.auth.mode = '
            '"none" lets everybody in; set the mode to "keys" or "oidc", or the host to 127.0.0.1'
        )


def _announce(config: Config) -> None:
    server, url = config.server, make_url(config.database_url)
    host = f"[{server.host}]" if ":" in server.host else server.host
    if url.get_backend_name() == "sqlite":
        file, here = Path(str(url.database)).absolute(), Path.cwd()
        database = f"SQLite {file.relative_to(here) if file.is_relative_to(here) else file}"
    else:  # not the whole address, which may hold a password in several places
        database = f"PostgreSQL {url.database or ''}" + (f" on {url.host}" if url.host else "")
    address = f"http://{host}:{server.port}{server.root_path.rstrip('/')}"
    with contextlib.suppress(OSError):  # nobody reads it
        print(f"Tracking server on {address} ({database}, {_MODES[server.auth.mode]})", flush=True)


def _listen(host: str, port: int, stalled_seconds: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
        # Accepted connections inherit both options. Without the first, a body waits 40 ms for an ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Without the second, it waits indefinitely for a client that reads nothing.
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = int(stalled_seconds * 1000)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        advice = _LISTEN_ADVICE.get(
            error.errno or 0, "server.host must be an address of this machine"
        )
        raise ServerError(f"server: cannot listen on {host}:{port}: {reason}; {advice}") from None
    return listener


def _work(
    config: Config, make_app: MakeApp, listener: socket.socket, on_start: Callable[[], None]
) -> None:
    keep_freed_memory()
    server = _Server(make_app(), config, on_start)
    collect_rarely()
    server.run([listener])


def _supervise(config: Config, limits: Limits, make_app: MakeApp, listener: socket.socket) -> None:
    """Keep `server.workers` processes running until a signal, then end them.

    Raises:
        ServerError: They crash again and again.
    """
    stopping = threading.Event()
    started, sender = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")

    def start() -> SpawnProcess:
        worker = context.Process(target=_worker, args=(config, make_app, listener, sender))
        worker.start()
        return worker

    # Each worker writes its metrics into this folder, so that any of them can show those of all.
    with (
        tempfile.TemporaryDirectory(prefix="lenswatch-metrics-") as folder,
        _handling(lambda _number, _frame: stopping.set()),
    ):
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        threading.Thread(target=_announce_once, args=(config, started), daemon=True).start()
        workers = [start() for _ in range(config.server.workers)]
        try:
            _replace_crashed(workers, start, stopping, limits)
        finally:
            _end(workers, limits.grace_seconds + 1)
            sender.close()
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def _announce_once(config: Config, started: Connection) -> None:
    """Announce the server when the first worker says that it has started."""
    with started, contextlib.suppress(EOFError):
        started.recv_bytes()
        _announce(config)


def _replace_crashed(
    workers: list[SpawnProcess],
    start: Callable[[], SpawnProcess],
    stopping: threading.Event,
    limits: Limits,
) -> None:
    crashes: list[float] = []
    while not stopping.is_set():
        wait([worker.sentinel for worker in workers], timeout=0.5)
        ended = [i for i, worker in enumerate(workers) if not worker.is_alive()]
        now = time.monotonic()
        crashes = [then for then in crashes if then > now - CRASHES_SECONDS] + [now] * len(ended)
        if len(crashes) > limits.crashes * len(workers):
            raise ServerError("server: the workers crash again and again; the log above says why")
        if ended and not stopping.wait(limits.restart_seconds * len(crashes)):
            for i in ended:
                workers[i] = start()


def _worker(config: Config, make_app: MakeApp, listener: socket.socket, sender: Connection) -> None:
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        _work(config, make_app, listener, partial(_say_started, sender))
    except LenswatchError as error:
        sys.exit(f"lenswatch: a worker: {error}")


def _say_started(sender: Connection) -> None:
    with contextlib.suppress(OSError):  # another worker has said it before
        sender.send_bytes(b"started")


def _follow_parent() -> None:
    """End this worker when the process that started it has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _end(workers: list[SpawnProcess], seconds: float) -> None:
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(seconds)
        if worker.is_alive():
            worker.kill()
            worker.join()


@contextlib.contextmanager
def _handling(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


class _Server(uvicorn.Server):
    """uvicorn, but a signal ends event streams too, and is not raised again afterwards."""

    def __init__(
        self, app: Starlette, config: Config, on_start: Callable[[], None] = lambda: None
    ) -> None:
        services: Services = app.state.services
        limits = services.limits
        connection = partial(
            HttpConnection, head_seconds=limits.head_seconds, most=limits.connections
        )
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="error",  # warnings are about hostile requests
                access_log=False,
                http=cast(type[asyncio.Protocol], connection),
                ws="none",
                server_header=False,
                root_path=config.server.root_path.rstrip("/"),
                timeout_graceful_shutdown=limits.grace_seconds,
                timeout_keep_alive=math.ceil(limits.head_seconds),
            )
        )
        self.stopping = services.stopping
        self.on_start = on_start
        logging.getLogger("uvicorn").handlers = [ForeignLog(app.state.log)]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer requests, and say so."""
        await super().startup(sockets)
        if self.started:
            self.on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On a signal, end event streams, which would never end by themselves."""
        self.stopping.set()
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while serving, which is possible in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with _handling(self.handle_exit):
            yield
