"""Running the server: `serve(config)`, in this process or in several workers."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType

import uvicorn
from fastapi import FastAPI

from lenswatch.config import Config
from lenswatch.errors import ServerError
from lenswatch.server.app import check_auth, create_app
from lenswatch.server.database import prepare
from lenswatch.server.guard import is_loopback

__all__ = ["serve"]

GRACE_SECONDS = 3
KEEP_ALIVE_SECONDS = 30
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(config: Config, *, migrate: bool = True) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests finish and return.

    Raises:
        ServerError: the address is taken or not allowed, or the database cannot be used.
    """
    _check_address(config)
    check_auth(config)
    listener = _listen(config.server.host, config.server.port)
    with contextlib.closing(listener):
        prepare(config.database_url, migrate=migrate)
        if config.server.workers == 1:
            _work(config, listener)
        else:
            _supervise(config, listener)


def _check_address(config: Config) -> None:
    server = config.server
    if server.auth.mode == "none" and not is_loopback(server.host):
        raise ServerError(
            f'server.host = "{server.host}" can be reached from other machines, and server.auth.mode = '
            '"none" lets everybody in; set the mode to "keys" or "oidc", or the host to 127.0.0.1'
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
        # Accepted connections inherit it; without, an answer's body waits 40 ms for the client's ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise ServerError(
            f"server: cannot listen on {host}:{port}: {error.strerror or error}; "
            "end the program that uses it, or choose another with --port or server.port"
        ) from None
    return listener


def _work(config: Config, listener: socket.socket) -> None:
    _Server(create_app(config, migrate=False), config).run([listener])


def _supervise(config: Config, listener: socket.socket) -> None:
    """Keep `server.workers` processes running until a signal, then end them."""
    stopping = threading.Event()
    # Where the workers keep their numbers, so that each can tell Prometheus those of all.
    with (
        tempfile.TemporaryDirectory(prefix="lenswatch-metrics-") as folder,
        _handling(lambda _number, _frame: stopping.set()),
    ):
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        workers = [_start(config, listener) for _ in range(config.server.workers)]
        while not stopping.is_set():
            wait([worker.sentinel for worker in workers], timeout=0.5)
            if not stopping.is_set():
                workers = [w if w.is_alive() else _start(config, listener) for w in workers]
        _end(workers)


def _start(config: Config, listener: socket.socket) -> SpawnProcess:
    worker = multiprocessing.get_context("spawn").Process(target=_worker, args=(config, listener))
    worker.start()
    return worker


def _worker(config: Config, listener: socket.socket) -> None:
    threading.Thread(target=_follow_parent, daemon=True).start()
    _work(config, listener)


def _follow_parent() -> None:
    """End this worker when the process that started it is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _end(workers: list[SpawnProcess]) -> None:
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(GRACE_SECONDS + 1)
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
    """uvicorn, told when to end event streams, and returning after a signal instead of raising it again."""

    def __init__(self, app: FastAPI, config: Config) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                root_path=config.server.root_path.rstrip("/"),
                timeout_graceful_shutdown=GRACE_SECONDS,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )
        self.stopping = app.state.services.stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On a signal, end what would never end by itself."""
        self.stopping.set()
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while serving, where that is possible."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with _handling(self.handle_exit):
            yield
