"""Relays between a client and a server: TLS, a proxy, lost replies, changed replies."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.json_replies import JsonHandler


class Relay:
    """Forwards connections to a port of this machine, counts them, and keeps what clients `sent`.

    With `proxy` it is an HTTP proxy that notes the host a client asks for and still connects to the port.
    With a `certificate` it speaks TLS to its clients. Without `replies` the server's answers are lost.
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


class Rewriter(ThreadingHTTPServer):
    """Forwards requests to a server of this machine, and applies `change` to its JSON records."""

    def __init__(self, port: int, change: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Rewritten)
        self.target, self.change = port, change
        self.address = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Rewritten(JsonHandler):
    server: Rewriter

    def post(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.target)
        headers = {name: value for name, value in self.headers.items() if name != "Connection"}
        connection.request(self.command, self.path, self.body(), headers)
        reply = connection.getresponse()
        document = json.loads(reply.read())
        connection.close()
        for record in document if isinstance(document, list) else [document]:
            self.server.change(record)
        pages = reply.getheader("X-Pagination")
        self.reply(reply.status, document, **({"X-Pagination": pages} if pages else {}))

    get = post
