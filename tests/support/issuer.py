"""A small OpenID Connect provider on loopback, and the limits of a server that asks it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from http.server import ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from support.json_replies import JsonHandler


@dataclass
class Account:
    """An account at the identity provider."""

    subject: str
    claims: dict[str, Any]


class Issuer:
    """A small OpenID Connect provider: discovery, keys, userinfo, and any token that a test needs."""

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
        """Return the status code and the document for a request."""
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
        """Add an account and return a token for it; a claim given as None is left out of userinfo."""
        given = {
            "sub": subject,
            "email": f"{subject}@example.org",
            "email_verified": True,
            "realm_access": {"roles": list(roles)},
        } | claims
        self.accounts[subject] = Account(subject, {k: v for k, v in given.items() if v is not None})
        return self.token(subject)

    def token(self, subject: str, *, key: Any = None, header: Any = None, **claims: Any) -> str:
        """Return a signed token; a claim given as None is left out."""
        body = {"iss": self.address, "sub": subject, "exp": int(time.time()) + 600, **claims}
        body = {name: value for name, value in body.items() if value is not None}
        head = {"alg": "RS256", "kid": "one"} | (header or {})
        head = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(head, body, key or self.key, algorithms=[head["alg"]])


def limit_providers(app: Any, **limits: Any) -> None:
    """Change some of the `ProviderLimits` of an application."""
    bearer = app.state.account.oidc.bearer
    bearer.limits = replace(bearer.limits, **limits)
    for issuer in bearer.issuers:
        issuer.limits = bearer.limits


class Clocks:
    """Clocks that stand at the present, plus the seconds in `passed`."""

    def __init__(self) -> None:
        self.passed = 0.0
        self._now, self._monotonic = time.time(), time.monotonic()

    def now(self) -> float:
        """Seconds since 1970."""
        return self._now + self.passed

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return self._monotonic + self.passed

    def set_for(self, app: Any) -> None:
        """Have an application measure by these clocks what it knows of providers."""
        limit_providers(app, now=self.now, monotonic=self.monotonic)
