"""A small mytoken server, tokens for it to hand out, and what stands between a client and a server."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def unsigned_token(seconds: int | None = 600) -> str:
    """What looks enough like a JWT for the client; it ends in so many seconds, or says nothing of it."""
    claims: dict[str, Any] = {"sub": "ann", "seconds": seconds}
    if seconds is not None:
        claims["exp"] = int(time.time()) + seconds
    parts = ({"alg": "HS256", "typ": "JWT"}, claims, "signature")
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )


class Mytoken(ThreadingHTTPServer):
    """Exchanges the mytoken "secret" for access tokens: each once, and the last for ever."""

    def __init__(
        self, *tokens: str, name: str = "127.0.0.1", certificate: Path | None, seconds: float
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tokens = itertools.chain(tokens, itertools.repeat(tokens[-1]))
        self.seconds = seconds
        self.asked: list[str] = []
        self.root = f"{'https' if certificate else 'http'}://{name}"
        if name == "127.0.0.1":
            self.root += f":{self.server_port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: Any) -> None:
        """A client that does not trust us hangs up."""


class _Handler(BaseHTTPRequestHandler):
    server: Mytoken

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path != "/.well-known/mytoken-configuration":
            self._answer(404, {"error": "not_found", "error_description": self.path})
            return
        self._answer(200, {"access_token_endpoint": f"{self.server.root}/token"})

    def do_POST(self) -> None:
        self.server.asked.append(self.path)
        wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if wish != {"grant_type": "mytoken", "mytoken": "secret"}:
            self._answer(401, {"error": "invalid_token", "error_description": "unknown mytoken"})
            return
        self._answer(200, {"access_token": next(self.server.tokens)})

    def _answer(self, code: int, body: Any) -> None:
        time.sleep(self.server.seconds)
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def mytoken_server(
    *tokens: str,
    name: str = "127.0.0.1",
    certificate: Path | None = None,
    seconds: float = 0,
) -> Iterator[Mytoken]:
    """One that runs: over TLS with a certificate, and so many seconds late with each answer."""
    server = Mytoken(
        *(tokens or (unsigned_token(),)), name=name, certificate=certificate, seconds=seconds
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Relay:
    """Leads connections on to a port of this machine, and remembers them.

    With `proxy` it is an HTTP proxy, which notes where clients want to go and leads on all the same.
    With a `certificate` it speaks TLS to its clients. With `replies` off, what the server answers is lost.
    """

    def __init__(
        self,
        port: int,
        *,
        proxy: bool = False,
        certificate: Path | None = None,
        replies: bool = True,
    ) -> None:
        self.target, self.proxy, self.replies = port, proxy, replies
        self.connections = 0
        self.hosts: set[str] = set()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
        if self._tls and certificate:
            self._tls.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if certificate else "http"
        self.address = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._lead_on, args=(connection,), daemon=True).start()

    def _lead_on(self, client: socket.socket) -> None:
        if self._tls:
            try:
                client = self._tls.wrap_socket(client, server_side=True)
            except OSError:  # a client that does not trust us
                client.close()
                return
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            if self.proxy:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += client.recv(1)
                method, host, _ = head.split(b"\r\n")[0].split(b" ")
                assert method == b"CONNECT"
                self.hosts.add(host.decode())
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(server, client if self.replies else None))
            back.start()
            _pump(client, server)
            back.join()


def _pump(source: socket.socket, target: socket.socket | None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if target:
                target.sendall(data)
        if target:
            target.shutdown(socket.SHUT_WR)
