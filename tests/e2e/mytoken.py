"""A small mytoken server, tokens for it to hand out, and what stands between a client and a server."""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
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


class Rewriter(ThreadingHTTPServer):
    """Passes requests on to a server of this machine, and its JSON records through `change`."""

    def __init__(self, port: int, change: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Rewritten)
        self.target, self.change = port, change
        self.address = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Rewritten(BaseHTTPRequestHandler):
    server: Rewriter

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection("127.0.0.1", self.server.target)
        headers = {name: value for name, value in self.headers.items() if name != "Connection"}
        connection.request(self.command, self.path, body, headers)
        reply = connection.getresponse()
        document = json.loads(reply.read())
        connection.close()
        for record in document if isinstance(document, list) else [document]:
            self.server.change(record)
        data = json.dumps(document).encode()
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() in ("content-type", "x-pagination"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST  # noqa: N815

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
    """Leads connections on to a port of this machine, and remembers them and what clients `sent`.

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
        self.sent = b""
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
            back = threading.Thread(target=self._replies, args=(server, client))
            back.start()
            self._requests(client, server)
            back.join()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                self.sent += data
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _replies(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self.replies:
                    client.sendall(data)
            client.shutdown(socket.SHUT_WR)
