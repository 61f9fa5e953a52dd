"""Running the server: `serve(config)`, in this process or in several workers."""

from __future__ import annotations

import contextlib
import errno
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from lenswatch.config import Config, check_settings
from lenswatch.errors import LenswatchError, ServerError
from lenswatch.server.app import check_auth, create_app
from lenswatch.server.db.schema import prepare
from lenswatch.server.http.connections import HEAD_SECONDS, HttpConnection
from lenswatch.server.http.logs import ForeignLog
from lenswatch.server.values.loopback import is_loopback

__all__ = ["serve"]

GRACE_SECONDS = 3
STALLED_SECONDS = 60  # a client that reads nothing of its answer for so long is cut off
DEATHS = 4  # for each worker, within DEATHS_SECONDS: more, and it is no accident
DEATHS_SECONDS = 120.0
BACK_OFF_SECONDS = 0.2  # longer with each death

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LISTEN_ADVICE = {
    errno.EADDRINUSE: "end the program that uses it, or choose another with --port or server.port",
    errno.EACCES: "ports below 1024 are for administrators; choose another with --port or server.port",
}


def serve(config: Config, *, migrate: bool = True) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests finish and return.

    Raises:
        ConfigError: a setting out of range.
        ServerError: the address is taken or not allowed, the database cannot be used, or the workers
            crash again and again.
    """
    check_settings(config.server, "server")
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
        # Accepted connections inherit these. Without, an answer's body waits 40 ms for the client's ACK,
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # and for ever for a client that is there but reads nothing.
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALLED_SECONDS * 1000)
            )
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        advice = _LISTEN_ADVICE.get(
            error.errno or 0, "server.host must be an address of this machine"
        )
        raise ServerError(f"server: cannot listen on {host}:{port}: {reason}; {advice}") from None
    return listener


def _work(config: Config, listener: socket.socket) -> None:
    _Server(create_app(config, migrate=False), config).run([listener])


def _supervise(config: Config, listener: socket.socket) -> None:
    """Keep `server.workers` processes running until a signal, then end them.

    Raises:
        ServerError: they die again and again.
    """
    stopping = threading.Event()
    # Where the workers keep their numbers, so that each can tell Prometheus those of all.
    with (
        tempfile.TemporaryDirectory(prefix="lenswatch-metrics-") as folder,
        _handling(lambda _number, _frame: stopping.set()),
    ):
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        workers = [_start(config, listener) for _ in range(config.server.workers)]
        try:
            _replace_the_dead(workers, lambda: _start(config, listener), stopping)
        finally:
            _end(workers)
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def _replace_the_dead(
    workers: list[SpawnProcess], start: Callable[[], SpawnProcess], stopping: threading.Event
) -> None:
    deaths: list[float] = []
    while not stopping.is_set():
        wait([worker.sentinel for worker in workers], timeout=0.5)
        dead = [i for i, worker in enumerate(workers) if not worker.is_alive()]
        now = time.monotonic()
        deaths = [then for then in deaths if then > now - DEATHS_SECONDS] + [now] * len(dead)
        if len(deaths) > DEATHS * len(workers):
            raise ServerError("server: the workers crash again and again; the log above says why")
        if dead and not stopping.wait(BACK_OFF_SECONDS * len(deaths)):
            for i in dead:
                workers[i] = start()


def _start(config: Config, listener: socket.socket) -> SpawnProcess:
    worker = multiprocessing.get_context("spawn").Process(target=_worker, args=(config, listener))
    worker.start()
    return worker


def _worker(config: Config, listener: socket.socket) -> None:
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        _work(config, listener)
    except LenswatchError as error:
        sys.exit(f"lenswatch: a worker: {error}")


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

    def __init__(self, app: Starlette, config: Config) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="error",  # its warnings are of hostile requests, and no JSON
                access_log=False,
                http=HttpConnection,
                ws="none",
                server_header=False,
                root_path=config.server.root_path.rstrip("/"),
                timeout_graceful_shutdown=GRACE_SECONDS,
                timeout_keep_alive=HEAD_SECONDS,
            )
        )
        self.stopping = app.state.services.stopping
        logging.getLogger("uvicorn").handlers = [ForeignLog(app.state.log)]

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
