"""Access tokens of OpenID Connect providers.

Only what the configuration names is ever fetched, and over https unless it is on this machine: a token's
own `iss` is compared with the list before anything else happens. Signatures are checked by RS, ES or PS
algorithms and never by HS or none. Who the user is comes from the provider's userinfo, called with the token;
the token itself only fills gaps.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import json
import os
import re
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2 as httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from lenswatch.config import AuthConfig
from lenswatch.errors import ServerError
from lenswatch.server.auth import Identity, is_user
from lenswatch.server.errors import Refusal, forbidden, unauthorized
from lenswatch.server.guard import is_loopback

__all__ = ["Issuer", "OidcBearer", "identity_of", "over_tls", "tls_context"]

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC"}
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,16384}\Z")
DOCUMENT_SECONDS = 3600.0  # for which discovery and keys are kept
REFETCH_SECONDS = 30.0  # between two looks for an unknown key
OPAQUE_SECONDS = 60.0  # for which the answer to an opaque token is kept
OPAQUE_PER_MINUTE = 120  # unknown opaque tokens that are asked about, each issuer
_MAX_CACHED = 10_000
_MAX_DOCUMENT = 1 << 20
_LEEWAY = 5.0
_UNKNOWN = "User identity could not be determined"


def tls_context() -> ssl.SSLContext:
    """Certificates as `SSL_CERT_FILE` or `REQUESTS_CA_BUNDLE` say, else the system's."""
    return _tls_context(
        os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE") or None
    )


@functools.cache
def _tls_context(bundle: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise ServerError(f"{bundle}: no usable file of certificates: {error}") from None


def over_tls(address: str) -> str:
    """`address` as it is fetched: by https, whatever it says, unless it can only be this machine."""
    scheme, separator, rest = address.partition("://")
    local = scheme.lower() == "http" and is_loopback(urlsplit(address).hostname or "")
    return address if local else f"https{separator}{rest}"


class Issuer:
    """One trusted provider: its discovery document, its keys, its userinfo."""

    def __init__(self, address: str, client: httpx.Client) -> None:
        self.address = address.rstrip("/")
        self._client = client
        self._lock = threading.Lock()
        self._document: dict[str, Any] = {}
        self._keys: list[Key] = []
        self._documents_until = 0.0
        self._keys_fetched = -REFETCH_SECONDS
        self._asked: list[float] = []

    def document(self) -> dict[str, Any]:
        """The discovery document."""
        with self._lock:
            if time.monotonic() >= self._documents_until:
                document = self._get(f"{self.address}/.well-known/openid-configuration")
                if str(document.get("issuer", "")).rstrip("/") != self.address:
                    raise _unavailable(self.address)
                self._document = document
                self._keys = []
                self._keys_fetched = -REFETCH_SECONDS
                self._documents_until = time.monotonic() + DOCUMENT_SECONDS
            return self._document

    def keys(self, kid: str | None) -> list[Key]:
        """The keys that may have signed a token with this `kid`; fetched anew for an unknown one."""
        address = str(self.document().get("jwks_uri", ""))
        with self._lock:
            found = _by_kid(self._keys, kid)
            if not found and time.monotonic() - self._keys_fetched >= REFETCH_SECONDS:
                self._keys = _read_keys(self._get(address))
                self._keys_fetched = time.monotonic()
                found = _by_kid(self._keys, kid)
            return found

    def userinfo(self, token: str) -> dict[str, Any]:
        """What the provider says of the token's user; 401 if nothing."""
        address = str(self.document().get("userinfo_endpoint", ""))
        try:
            answer = self._client.get(
                over_tls(address), headers={"Authorization": f"Bearer {token}"}
            )
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            raise _unavailable(self.address) from None
        if answer.status_code >= 500:
            raise _unavailable(self.address)
        claims = _json_object(answer)
        if answer.status_code != 200 or not claims:
            raise unauthorized(_UNKNOWN)
        return claims

    def may_ask(self) -> bool:
        """Whether another unknown opaque token may cost the provider a request."""
        with self._lock:
            now = time.monotonic()
            self._asked = [moment for moment in self._asked if now - moment < 60]
            self._asked.append(now)
            return len(self._asked) <= OPAQUE_PER_MINUTE

    def _get(self, address: str) -> dict[str, Any]:
        try:
            answer = self._client.get(over_tls(address))
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            raise _unavailable(self.address) from None
        document = _json_object(answer)
        if answer.status_code != 200 or not document:
            raise _unavailable(self.address)
        return document


def _unavailable(issuer: str) -> Refusal:
    return Refusal(
        503, f"The identity provider {issuer} does not answer.", headers={"Retry-After": "10"}
    )


def _json_object(answer: httpx.Response) -> dict[str, Any]:
    if len(answer.content) > _MAX_DOCUMENT:
        return {}
    try:
        document = answer.json()
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _read_keys(document: Mapping[str, Any]) -> list[Key]:
    keys: list[Key] = []
    entries = document.get("keys", [])
    for entry in entries if isinstance(entries, list) else []:
        if (
            isinstance(entry, dict)
            and entry.get("kty") in ("RSA", "EC")
            and entry.get("use") != "enc"
        ):
            try:
                keys.extend(KeySet.import_key_set({"keys": [entry]}))
            except (JoseError, ValueError, TypeError):
                continue
    return keys


def _by_kid(keys: list[Key], kid: str | None) -> list[Key]:
    return [key for key in keys if kid is None or key.kid == kid]


class OidcBearer:
    """Access tokens of the configured issuers."""

    def __init__(self, config: AuthConfig) -> None:
        self.config = config
        client = httpx.Client(verify=tls_context(), timeout=5.0, follow_redirects=False)
        self.issuers = [Issuer(address, client) for address in config.issuers]
        self._cache: OrderedDict[str, tuple[float, Identity | Refusal]] = OrderedDict()
        self._lock = threading.Lock()

    def knows(self, token: str) -> bool:
        """Everything may be an access token."""
        return bool(_TOKEN.match(token))

    def identify(self, token: str) -> Identity:
        """Whose token it is."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        outcome = self._cached(digest)
        if outcome is None:
            until, outcome = self._find_out(token)
            self._remember(digest, until, outcome)
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome

    def verify_id_token(
        self, issuer: Issuer, token: str, client_id: str, nonce: str
    ) -> dict[str, Any]:
        """The claims of an ID token meant for us and this log-in, or 401."""
        header = _unverified(token.split(".")[0]) if token.count(".") == 2 else None
        if header is None:
            raise unauthorized(_UNKNOWN)
        claims = self._verified(token, header, issuer)
        self._check_times(claims)
        audience = claims.get("aud")
        meant = client_id in (audience if isinstance(audience, list) else [audience])
        known = str(claims.get("iss", "")).rstrip("/") == issuer.address
        if not (meant and known and claims.get("nonce") == nonce and claims.get("sub")):
            raise unauthorized(_UNKNOWN)
        return claims

    def _cached(self, digest: str) -> Identity | Refusal | None:
        with self._lock:
            until, outcome = self._cache.get(digest, (0.0, None))
            return outcome if time.time() < until else None

    def _remember(self, digest: str, until: float, outcome: Identity | Refusal) -> None:
        with self._lock:
            self._cache[digest] = (until, outcome)
            self._cache.move_to_end(digest)
            while len(self._cache) > _MAX_CACHED:
                self._cache.popitem(last=False)

    def _find_out(self, token: str) -> tuple[float, Identity | Refusal]:
        parts = token.split(".")
        claims = _unverified(parts[1]) if len(parts) == 3 else None
        header = _unverified(parts[0]) if len(parts) == 3 else None
        if claims is None or header is None:
            return time.time() + OPAQUE_SECONDS, self._ask_everybody(token)
        issuer = self._trusted(claims.get("iss"))
        claims = self._verified(token, header, issuer)
        until = self._check_times(claims)
        self._check_audience(claims)
        info = issuer.userinfo(token)
        if "sub" in info and info["sub"] != claims.get("sub", info["sub"]):
            raise unauthorized(_UNKNOWN)
        return until, identity_of(issuer, info, claims, self.config)

    def _ask_everybody(self, token: str) -> Identity | Refusal:
        """An opaque token means something only to the provider that made it."""
        if self.config.audience:
            return unauthorized(_UNKNOWN)  # nobody could tell whom it was meant for
        for issuer in self.issuers:
            try:
                if issuer.may_ask():
                    return identity_of(issuer, issuer.userinfo(token), {}, self.config)
            except Refusal as refusal:
                if refusal.code != 401:
                    raise
        return unauthorized(_UNKNOWN)

    def _trusted(self, address: Any) -> Issuer:
        for issuer in self.issuers:
            if isinstance(address, str) and issuer.address == address.rstrip("/"):
                return issuer
        raise unauthorized(_UNKNOWN)

    def _verified(self, token: str, header: Mapping[str, Any], issuer: Issuer) -> dict[str, Any]:
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS or not isinstance(kid, str | None) or "crit" in header:
            raise unauthorized(_UNKNOWN)
        for key in issuer.keys(kid):
            if key.key_type != _KEY_TYPES[algorithm[:2]]:
                continue
            try:
                return jwt.decode(token, key, algorithms=[algorithm]).claims
            except (JoseError, ValueError, TypeError):
                continue
        raise unauthorized(_UNKNOWN)

    def _check_times(self, claims: Mapping[str, Any]) -> float:
        """The moment when the token ends to be valid; 401 if it is not valid now."""
        end, start, now = claims.get("exp"), claims.get("nbf", 0), time.time()
        numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (end, start))
        if not numbers or not now < cast(float, end) + _LEEWAY or now < start - _LEEWAY:
            raise unauthorized(_UNKNOWN)
        return cast(float, end)

    def _check_audience(self, claims: Mapping[str, Any]) -> None:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if self.config.audience and self.config.audience not in audiences:
            raise unauthorized(_UNKNOWN)


def _unverified(part: str) -> dict[str, Any] | None:
    """The JSON object in one part of a JWT."""
    try:
        value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def identity_of(
    issuer: Issuer, info: Mapping[str, Any], claims: Mapping[str, Any], config: AuthConfig
) -> Identity:
    """The identity that userinfo and token together give; 403 if something that we need is missing."""
    address = str(info.get("iss") or issuer.document()["issuer"])
    subject, email = info.get("sub"), info.get("email")
    complete = all(isinstance(text, str) and text and "\0" not in text for text in (subject, email))
    if not complete or info.get("email_verified") is not True:
        raise forbidden("The token lacks sub, email or a verified e-mail address.")
    if address.rstrip("/") != issuer.address:
        raise unauthorized(_UNKNOWN)
    held = _entitlements({**claims, **info}, config.entitlements_path)
    return Identity(
        subject=str(subject),
        issuer=str(issuer.document()["issuer"]),
        email=str(email),
        entitlements=held,
        user=is_user(held, config.user_entitlements),
        admin=not held.isdisjoint(config.admin_entitlements),
    )


def _entitlements(claims: Mapping[str, Any], path: str) -> frozenset[str]:
    value: Any = claims
    for key in path.split("/"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return (
        frozenset(item for item in value if isinstance(item, str))
        if isinstance(value, list)
        else frozenset()
    )
