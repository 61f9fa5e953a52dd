"""A small OpenID Connect provider on loopback."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from support.json_replies import JsonHandler


@dataclass
class Account:
    """Somebody at the identity provider."""

    subject: str
    claims: dict[str, Any]


class Issuer:
    """A small OpenID Connect provider: discovery, keys, userinfo, and whatever tokens a test wants."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self.ec_key = ECKey.generate_key("P-256", {"kid": "two", "use": "sig"})
        self.accounts: dict[str, Account] = {}
        self.opaque: dict[str, str] = {}
        self.paths: list[str] = []
        self.discovery: dict[str, Any] = {}
        issuer = self

        class Handler(JsonHandler):
            def get(self) -> None:
                issuer.paths.append(self.path)
                self.reply(*issuer.answer(self.path, self.headers.get("Authorization", "")))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str, authorization: str) -> tuple[int, Any]:
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.address,
                "jwks_uri": f"{self.address}/jwks",
                "userinfo_endpoint": f"{self.address}/userinfo",
            } | self.discovery
        if path == "/jwks":
            return 200, {"keys": [k.as_dict(private=False) for k in (self.key, self.ec_key)]}
        account = self.accounts.get(self._subject(authorization.removeprefix("Bearer ")))
        return (200, account.claims) if account else (401, {})

    def _subject(self, token: str) -> str:
        if token in self.opaque:
            return self.opaque[token]
        try:
            return str(jwt.decode(token, self.key, algorithms=["RS256", "PS384"]).claims["sub"])
        except Exception:
            try:
                return str(jwt.decode(token, self.ec_key).claims["sub"])
            except Exception:
                return ""

    def account(self, subject: str, *roles: str, **claims: Any) -> str:
        """Somebody new, and a token for them; a claim given as None is left out of userinfo."""
        given = {
            "sub": subject,
            "email": f"{subject}@example.org",
            "email_verified": True,
            "realm_access": {"roles": list(roles)},
        } | claims
        self.accounts[subject] = Account(subject, {k: v for k, v in given.items() if v is not None})
        return self.token(subject)

    def token(self, subject: str, *, key: Any = None, header: Any = None, **claims: Any) -> str:
        """A signed token; a claim given as None is left out."""
        body = {"iss": self.address, "sub": subject, "exp": int(time.time()) + 600, **claims}
        body = {name: value for name, value in body.items() if value is not None}
        head = {"alg": "RS256", "kid": "one"} | (header or {})
        head = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(head, body, key or self.key, algorithms=[head["alg"]])
