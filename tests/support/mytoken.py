"""A small mytoken server, and tokens for it to hand out."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.json_replies import JsonHandler


def unsigned_token(seconds: int | None = 600) -> str:
    """Return an unsigned JWT that expires after `seconds`; without an expiry if None."""
    claims: dict[str, Any] = {"sub": "ann", "seconds": seconds}
    if seconds is not None:
        claims["exp"] = int(time.time()) + seconds
    parts = ({"alg": "HS256", "typ": "JWT"}, claims, "signature")
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )


class Mytoken(ThreadingHTTPServer):
    """A mytoken server: exchanges "secret" for each of `tokens` once, then always for the last."""

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
        """Ignore clients that do not trust the certificate."""


class _Handler(JsonHandler):
    server: Mytoken

    def get(self) -> None:
        self.server.asked.append(self.path)
        if self.path != "/.well-known/mytoken-configuration":
            self.reply(404, {"error": "not_found", "error_description": self.path})
            return
        time.sleep(self.server.seconds)
        self.reply(200, {"access_token_endpoint": f"{self.server.root}/token"})

    def post(self) -> None:
        self.server.asked.append(self.path)
        wish = json.loads(self.body())
        if wish != {"grant_type": "mytoken", "mytoken": "secret"}:
            self.reply(401, {"error": "invalid_token", "error_description": "unknown mytoken"})
            return
        time.sleep(self.server.seconds)
        self.reply(200, {"access_token": next(self.server.tokens)})


@contextlib.contextmanager
def mytoken_server(
    *tokens: str,
    name: str = "127.0.0.1",
    certificate: Path | None = None,
    seconds: float = 0,
) -> Iterator[Mytoken]:
    """Run a mytoken server, with TLS if there is a certificate, and delay each answer by `seconds`."""
    server = Mytoken(
        *(tokens or (unsigned_token(),)), name=name, certificate=certificate, seconds=seconds
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
