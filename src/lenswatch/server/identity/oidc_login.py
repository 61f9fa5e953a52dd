"""Logging in with a provider: Authorization Code with PKCE (RFC 7636), state and nonce.

A signed cookie that lives ten minutes keeps the state while the browser is at the provider.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

import httpx2 as httpx
from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lenswatch.config import AuthConfig
from lenswatch.server.identity.fetching import host_of, over_tls
from lenswatch.server.identity.identity import Identity
from lenswatch.server.identity.oidc import Issuer, OidcBearer, identity_of
from lenswatch.server.identity.sessions import cookie_options
from lenswatch.server.values.refusals import not_found, unauthorized

__all__ = ["OidcLogin", "code_challenge"]

COOKIE = "lenswatch_login"
LOGIN_SECONDS = 600
_FAILED = "The log-in did not succeed; please try again."


class OidcLogin:
    """The two requests of a log-in: `begin` sends the browser to the provider, `finish` receives it."""

    def __init__(self, config: AuthConfig, bearer: OidcBearer, secret: str) -> None:
        self.config = config
        self.bearer = bearer
        self._signer = URLSafeTimedSerializer(secret, salt="lenswatch.login")

    def issuer(self, position: str) -> Issuer:
        """Return the configured issuer at `position` ("0", "1", ...); 404 if there is none."""
        issuers = {str(n): issuer for n, issuer in enumerate(self.bearer.issuers)}
        if not self.config.client_id or position not in issuers:
            raise not_found("Provider")
        return issuers[position]

    async def begin(self, request: Request, position: str, callback: str) -> Response:
        """Redirect the browser to the provider, which sends it back to `callback`."""
        issuer = self.issuer(position)
        endpoint = str((await issuer.document()).get("authorization_endpoint", ""))
        if not host_of(endpoint) or over_tls(issuer.address, endpoint) != endpoint:
            raise issuer.unavailable()
        visit = {
            "issuer": position,
            "state": secrets.token_urlsafe(24),
            "nonce": secrets.token_urlsafe(24),
            "verifier": secrets.token_urlsafe(48),
        }
        query = {
            "response_type": "code",
            "client_id": self.config.client_id,
            "redirect_uri": callback,
            "scope": "openid email profile",
            "state": visit["state"],
            "nonce": visit["nonce"],
            "code_challenge": code_challenge(visit["verifier"]),
            "code_challenge_method": "S256",
        }
        response = RedirectResponse(URL(endpoint).include_query_params(**query), 303)
        signed = self._signer.dumps(visit)
        response.set_cookie(COOKIE, str(signed), max_age=LOGIN_SECONDS, **cookie_options(request))
        return response

    async def finish(self, request: Request, callback: str) -> Identity:
        """Return the identity that the provider vouches for; 401 if the log-in did not succeed."""
        visit = self._visit(request)
        given = request.query_params
        if not secrets.compare_digest(given.get("state", "").encode(), visit["state"].encode()):
            raise unauthorized(_FAILED)
        if "code" not in given:
            raise unauthorized(_FAILED)
        issuer = self.issuer(visit["issuer"])
        tokens = await self._exchange(issuer, given["code"], visit["verifier"], callback)
        claims = await self.bearer.verify_id_token(
            issuer, str(tokens.get("id_token", "")), self.config.client_id, visit["nonce"]
        )
        info = await issuer.userinfo(str(tokens.get("access_token", "")))
        if info.get("sub") != claims["sub"]:
            raise unauthorized(_FAILED)
        return identity_of(issuer, info, claims, self.config)

    def _visit(self, request: Request) -> dict[str, Any]:
        try:
            visit = self._signer.loads(request.cookies.get(COOKIE, ""), max_age=LOGIN_SECONDS)
        except BadData:
            raise unauthorized(_FAILED) from None
        assert isinstance(visit, dict)
        return visit

    async def _exchange(
        self, issuer: Issuer, code: str, verifier: str, callback: str
    ) -> Mapping[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": callback,
            "code_verifier": verifier,
            "client_id": self.config.client_id,
        }
        secret = self.config.client_secret
        auth = (
            httpx.BasicAuth(self.config.client_id, secret) if secret else httpx.USE_CLIENT_DEFAULT
        )
        if secret:
            del form["client_id"]
        address = str((await issuer.document()).get("token_endpoint", ""))
        status, tokens = await issuer.fetch(address, method="POST", data=form, auth=auth)
        if status != 200:
            raise unauthorized(_FAILED)
        return tokens


def code_challenge(verifier: str) -> str:
    """Return the S256 challenge for `verifier` (RFC 7636, section 4.2)."""
    hashed = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(hashed).decode().rstrip("=")
