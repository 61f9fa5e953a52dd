"""Running the server: `serve(config)`."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI

from lenswatch.config import Config
from lenswatch.errors import ServerError
from lenswatch.server.app import create_app
from lenswatch.server.database import prepare
from lenswatch.server.guard import is_loopback

__all__ = ["serve"]

GRACE_SECONDS = 3


def serve(config: Config, *, migrate: bool = True) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests finish and return.

    Raises:
        ServerError: the address is taken or not allowed, or the database cannot be used.
    """
    _check_address(config)
    listener = _listen(config.server.host, config.server.port)
    with contextlib.closing(listener):
        prepare(config.database_url, migrate=migrate)
        app = create_app(config, migrate=False)
        _Server(app, config).run([listener])


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
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ServerError(
            f"server: cannot listen on {host}:{port}: {error.strerror or error}; "
            "end the program that uses it, or choose another with --port or server.port"
        ) from None


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
            )
        )
        self.stopping = app.state.services.stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On a signal, end what would never end by itself."""
        self.stopping.set()
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while serving."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
