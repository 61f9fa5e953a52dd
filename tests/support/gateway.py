"""A gateway's process, which passes a node's requests on to a server, or answers in the server's place.

Run as `python gateway.py PORT TARGET_PORT FILE`. What it does is read from FILE before each request: the name
of one of the MODES, with a value behind it where the mode has one.
"""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HTML = "text/html; charset=utf-8"


class Handler(BaseHTTPRequestHandler):
    """One connection to a client."""

    protocol_version = "HTTP/1.1"
    server: Server

    def dispatch(self) -> None:
        self.data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        mode, _, value = self.server.file.read_text(encoding="utf-8").strip().partition(" ")
        MODES[mode](self, value)

    do_GET = do_POST = do_PUT = do_DELETE = dispatch  # noqa: N815 - names that http.server wants

    def forward(self) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name != "Connection"}
        connection.request(self.command, self.path, self.data, headers)
        reply = connection.getresponse()
        data = reply.read()
        connection.close()
        dropped = {"connection", "content-length", "transfer-encoding"}
        kept = [(name, value) for name, value in reply.getheaders() if name.lower() not in dropped]
        return reply.status, kept, data

    def passed(self) -> None:
        try:
            status, headers, data = self.forward()
        except OSError:
            self.page(502)
        else:
            self.answer(status, headers, data)

    def page(self, status: int, content: str = "<html><hr>nginx</html>", **headers: str) -> None:
        self.answer(status, [("Content-Type", HTML), *headers.items()], content.encode())

    def answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Server(ThreadingHTTPServer):
    """The gateway's listener."""

    daemon_threads = True

    def __init__(self, port: int, target: int, file: Path) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.target, self.file = target, file


def _limit(handler: Handler, value: str) -> None:
    """Reject bodies of more than so many bytes, as nginx' client_max_body_size does."""
    if len(handler.data) > int(value):
        handler.page(413)
    else:
        handler.passed()


def _firewall(handler: Handler, value: str) -> None:
    """Reject bodies that hold a word, or all without one."""
    if value.encode() in handler.data or not value:
        handler.page(403, "<html>Blocked. Your support id is 4711.</html>")
    else:
        handler.passed()


def _lost(handler: Handler, _value: str) -> None:
    """Let the server store it, and lose its answer."""
    handler.forward()
    handler.close_connection = True


def _fail_on(handler: Handler, value: str) -> None:
    """Let requests with a word fail, as a worker does that dies of it."""
    if value.encode() in handler.data:
        handler.page(500)
    else:
        handler.passed()


def _status(handler: Handler, value: str) -> None:
    handler.page(int(value))


def _kong(handler: Handler, value: str) -> None:
    body = b'{"message":"no Route matched with those values"}'
    handler.answer(int(value), [("Content-Type", "application/json")], body)


def _portal(handler: Handler, _value: str) -> None:
    handler.page(200, "<html>Welcome aboard! Please accept our terms of use.</html>")


def _login(handler: Handler, _value: str) -> None:
    handler.page(302, Location="http://portal.example/login")


def _slow_down(handler: Handler, value: str) -> None:
    date = formatdate(time.time() + float(value), usegmt=True)
    handler.page(429, Retry_After=date)


MODES: dict[str, Callable[[Handler, str], None]] = {
    "pass": lambda handler, _value: handler.passed(),
    "status": _status,
    "kong": _kong,
    "portal": _portal,
    "login": _login,
    "firewall": _firewall,
    "limit": _limit,
    "lost": _lost,
    "fail-on": _fail_on,
    "slow-down": _slow_down,
}


class Gateway:
    """The gateway's process, as tests see it."""

    def __init__(self, port: int, file: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._file = file

    def does(self, mode: str) -> None:
        """Do this from the next request on."""
        new = self._file.with_suffix(".new")
        new.write_text(mode, encoding="utf-8")
        new.replace(self._file)


@contextlib.contextmanager
def gateway(port: int, target: int, folder: Path) -> Iterator[Gateway]:
    """Run a gateway on `port` before the server on `target`; it passes everything on at first."""
    file = folder / "mode"
    one = Gateway(port, file)
    one.does("pass")
    command = [sys.executable, str(Path(__file__)), str(port), str(target), str(file)]
    with subprocess.Popen(command) as process:
        try:
            yield one
        finally:
            process.kill()


if __name__ == "__main__":
    Server(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])).serve_forever()
