"""Access tokens of OpenID Connect providers.

Only the configured issuers are ever asked, and over https unless they are on this machine: a token's `iss` is
compared with the list before anything else happens. Signatures are checked by RS, ES or PS algorithms and
never by HS or none. The user's data come from the provider's userinfo, requested with the token; claims of
the token itself are used only where userinfo has none.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import anyio.to_thread
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from lenswatch.config import AuthConfig
from lenswatch.server.identity.fetching import PROVIDER_LIMITS, ProviderLimits, fetch, unavailable
from lenswatch.server.identity.identity import Identity, is_user
from lenswatch.server.values.refusals import UNKNOWN_IDENTITY, Refusal, forbidden, unauthorized
from lenswatch.server.values.storable import digest, is_text

__all__ = ["Issuer", "OidcBearer", "identity_of"]

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC"}
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,16384}\Z")
_MAX_CACHED = 10_000
_MAX_SUBJECT = 1000  # bytes; an index entry of PostgreSQL holds 2,704, the issuer included
LEEWAY = 5.0  # seconds that the provider's clock may differ from ours


class Issuer:
    """One trusted provider: its discovery document, its keys, its userinfo.

    Callers wait for a fetch in progress, which has a deadline. For a while after a failure they are refused
    at once. A token whose key is already known waits for neither.
    """

    def __init__(self, address: str, limits: ProviderLimits = PROVIDER_LIMITS) -> None:
        self.address = address.rstrip("/")
        self.limits = limits
        self.name = self.address  # later as the discovery document writes it
        self._lock = anyio.Lock()
        self._document: dict[str, Any] = {}
        self._keys: list[Key] = []
        self._documents_until = 0.0
        self._keys_fetched = -math.inf
        self._failed_until = 0.0
        self._asked: deque[float] = deque()

    async def document(self) -> dict[str, Any]:
        """Return the discovery document."""
        if self.limits.monotonic() < self._documents_until:
            return self._document
        async with self._turn():
            if self.limits.monotonic() >= self._documents_until:
                document = await self._get(f"{self.address}/.well-known/openid-configuration")
                name = str(document.get("issuer", ""))
                if name.rstrip("/") != self.address:
                    raise self.unavailable()
                self._document, self.name = document, name
                self._keys = []
                self._keys_fetched = -math.inf
                self._documents_until = self.limits.monotonic() + self.limits.document_seconds
            return self._document

    async def keys(self, kid: str | None, *, anew: bool = False) -> list[Key]:
        """Return the keys that may have signed a token with this `kid`; an unknown one is fetched.

        For a token without `kid`, `anew` says that none of the known keys has signed it.
        """
        address = str((await self.document()).get("jwks_uri", ""))
        at_hand = self._keys
        if (found := _by_kid(at_hand, kid)) and not anew:
            return found
        async with self._turn():
            found = _by_kid(self._keys, kid)
            stale = not found or (anew and self._keys is at_hand)
            waited = self.limits.monotonic() - self._keys_fetched
            if stale and waited >= self.limits.refetch_seconds:
                self._keys = _read_keys(await self._get(address))
                self._keys_fetched = self.limits.monotonic()
                found = _by_kid(self._keys, kid)
            return found

    async def userinfo(self, token: str) -> dict[str, Any]:
        """Return the claims of userinfo about the token's user; 401 if there are none."""
        address = str((await self.document()).get("userinfo_endpoint", ""))
        headers = {"Authorization": f"Bearer {token}"}
        code, claims = await self.fetch(address, headers=headers)
        if code >= 500 or code == 429:
            raise self.unavailable()
        if not claims:
            raise unauthorized(UNKNOWN_IDENTITY)
        return claims

    async def userinfo_of_opaque(self, token: str) -> dict[str, Any]:
        """Return `userinfo` for a token that may be rubbish; 503 after too many of them in a minute."""
        await self.document()
        now = self.limits.monotonic()
        while self._asked and now - self._asked[0] >= 60:
            self._asked.popleft()
        if len(self._asked) >= self.limits.opaque_per_minute:
            wait = str(math.ceil(60 - (now - self._asked[0])))
            raise Refusal(503, "Too many unknown tokens.", headers={"Retry-After": wait})
        self._asked.append(now)
        return await self.userinfo(token)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Make fetches wait for each other, and refuse them soon after a failure."""
        async with self._lock:
            if self.limits.monotonic() < self._failed_until:
                raise self.unavailable()
            try:
                yield
            except Refusal:
                self._failed_until = self.limits.monotonic() + self.limits.failed_seconds
                raise

    async def _get(self, address: str) -> dict[str, Any]:
        _, document = await self.fetch(address)
        if not document:
            raise self.unavailable()
        return document

    async def fetch(self, address: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """Ask one of the provider's addresses; see `fetching.fetch`."""
        return await fetch(self.address, address, self.limits, **options)

    def unavailable(self) -> Refusal:
        """Return the 503 for a provider that does not answer as it should."""
        return unavailable(self.address, self.limits)


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

    def __init__(self, config: AuthConfig, limits: ProviderLimits = PROVIDER_LIMITS) -> None:
        self.config = config
        self.limits = limits
        self.issuers = [Issuer(address, limits) for address in config.issuers]
        self._cache: OrderedDict[str, tuple[float, Identity | Refusal]] = OrderedDict()
        self._limiter = anyio.CapacityLimiter(4)  # checking a signature is quick

    def recognises(self, token: str) -> bool:
        """Return whether `token` has the form of a token; any text of that form may be one."""
        return bool(_TOKEN.match(token))

    async def identify(self, token: str) -> Identity:
        """Return the identity that the token proves; 401, 403 or 503 if none."""
        key = digest(token)
        outcome = self._cached(key)
        if outcome is None:
            until, outcome = await self._find_out(token)
            self._remember(key, until, outcome)
        if isinstance(outcome, Refusal):
            raise outcome.copy() from None
        return outcome

    async def verify_id_token(
        self, issuer: Issuer, token: str, client_id: str, nonce: str
    ) -> dict[str, Any]:
        """Return the claims of an ID token; 401 unless it is meant for us and this log-in."""
        header = _unverified(token.split(".")[0]) if token.count(".") == 2 else None
        if header is None:
            raise unauthorized(UNKNOWN_IDENTITY)
        claims = await self._verified(token, header, issuer)
        _check_times(claims, self.limits.now())
        audience = claims.get("aud")
        meant = client_id in (audience if isinstance(audience, list) else [audience])
        known = str(claims.get("iss", "")).rstrip("/") == issuer.address
        if not (meant and known and claims.get("nonce") == nonce and claims.get("sub")):
            raise unauthorized(UNKNOWN_IDENTITY)
        return claims

    def refresh(self, identity: Identity) -> Identity | None:
        """Return the identity with its rights by the present settings; None if its issuer is not trusted."""
        if not any(identity.issuer.rstrip("/") == issuer.address for issuer in self.issuers):
            return None
        return _with_rights(identity, self.config)

    def _cached(self, key: str) -> Identity | Refusal | None:
        until, outcome = self._cache.get(key, (0.0, None))
        return outcome if self.limits.now() < until else None

    def _remember(self, key: str, until: float, outcome: Identity | Refusal) -> None:
        self._cache[key] = (until, outcome)
        self._cache.move_to_end(key)
        while len(self._cache) > _MAX_CACHED:
            self._cache.popitem(last=False)

    async def _find_out(self, token: str) -> tuple[float, Identity | Refusal]:
        parts = token.split(".")
        claims = _unverified(parts[1]) if len(parts) == 3 else None
        header = _unverified(parts[0]) if len(parts) == 3 else None
        if claims is None or header is None:
            until = self.limits.now() + self.limits.opaque_seconds
            return until, await self._ask_everybody(token)
        issuer = self._trusted(claims.get("iss"))
        claims = await self._verified(token, header, issuer)
        until = _check_times(claims, self.limits.now())
        self._check_audience(claims)
        try:
            return until, await self._user(token, issuer, claims)
        except Refusal as refusal:
            if refusal.code == 503:
                raise
            soon = self.limits.now() + self.limits.refused_seconds
            return until if refusal.code == 403 else soon, refusal.copy()

    async def _user(self, token: str, issuer: Issuer, claims: Mapping[str, Any]) -> Identity:
        info = await issuer.userinfo(token)
        if "sub" in info and info["sub"] != claims.get("sub", info["sub"]):
            raise unauthorized(UNKNOWN_IDENTITY)
        return identity_of(issuer, info, claims, self.config)

    async def _ask_everybody(self, token: str) -> Identity | Refusal:
        """Ask each provider about an opaque token, which only its own provider knows."""
        if self.config.audience:
            raise unauthorized(UNKNOWN_IDENTITY)  # the audience of an opaque token is unknown
        unavailable: Refusal | None = None
        for issuer in self.issuers:
            try:
                info = await issuer.userinfo_of_opaque(token)
                return identity_of(issuer, info, {}, self.config)
            except Refusal as refusal:
                if refusal.code == 403:
                    return refusal.copy()
                if refusal.code != 401:
                    unavailable = refusal
        if unavailable:
            raise unavailable
        return unauthorized(UNKNOWN_IDENTITY)

    def _trusted(self, address: Any) -> Issuer:
        for issuer in self.issuers:
            if isinstance(address, str) and issuer.address == address.rstrip("/"):
                return issuer
        raise unauthorized(UNKNOWN_IDENTITY)

    async def _verified(
        self, token: str, header: Mapping[str, Any], issuer: Issuer
    ) -> dict[str, Any]:
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS or not isinstance(kid, str | None) or "crit" in header:
            raise unauthorized(UNKNOWN_IDENTITY)
        for anew in (False, True) if kid is None else (False,):
            keys = await issuer.keys(kid, anew=anew)
            usable = [key for key in keys if key.key_type == _KEY_TYPES[algorithm[:2]]]
            claims = await anyio.to_thread.run_sync(
                _decoded, token, usable, algorithm, limiter=self._limiter
            )
            if claims is not None:
                return claims
        raise unauthorized(UNKNOWN_IDENTITY)

    def _check_audience(self, claims: Mapping[str, Any]) -> None:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if self.config.audience and self.config.audience not in audiences:
            raise unauthorized(UNKNOWN_IDENTITY)


def _decoded(token: str, keys: Sequence[Key], algorithm: str) -> dict[str, Any] | None:
    """Return the claims if one of the `keys` has signed them."""
    for key in keys:
        try:
            return jwt.decode(token, key, algorithms=[algorithm]).claims
        except (JoseError, ValueError, TypeError):
            continue
    return None


def _check_times(claims: Mapping[str, Any], now: float) -> float:
    """Return the moment at which the token expires; 401 if it is not valid `now`."""
    end, start = _moment(claims.get("exp")), _moment(claims.get("nbf", 0))
    if not (math.isfinite(end) and start - LEEWAY <= now < end + LEEWAY):
        raise unauthorized(UNKNOWN_IDENTITY)
    return end


def _moment(value: Any) -> float:
    """Return a claim as seconds since 1970; NaN, which compares false with everything, if it is no number."""
    try:
        whole_or_not = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if whole_or_not else math.nan
    except OverflowError:
        return math.nan


def _unverified(part: str) -> dict[str, Any] | None:
    """Return the JSON object in one part of a JWT, or None."""
    try:
        value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def identity_of(
    issuer: Issuer, info: Mapping[str, Any], claims: Mapping[str, Any], config: AuthConfig
) -> Identity:
    """Return the identity in userinfo and token claims; 403 if a required claim is missing."""
    address = str(info.get("iss") or issuer.name)
    subject, email = info.get("sub"), info.get("email")
    complete = all(text and is_text(text) for text in (subject, email, issuer.name))
    short = complete and len(str(subject).encode()) <= _MAX_SUBJECT
    if not short or info.get("email_verified") is not True:
        raise forbidden("The token lacks sub, email or a verified e-mail address.")
    if address.rstrip("/") != issuer.address:
        raise unauthorized(UNKNOWN_IDENTITY)
    held = _entitlements({**claims, **info}, config.entitlements_path)
    return _with_rights(Identity(str(subject), issuer.name, str(email), held), config)


def _with_rights(identity: Identity, config: AuthConfig) -> Identity:
    """Return `identity` as a user or administrator, if its entitlements make it one."""
    held = identity.entitlements
    return replace(
        identity,
        user=is_user(held, config.user_entitlements),
        admin=not held.isdisjoint(config.admin_entitlements),
    )


def _entitlements(claims: Mapping[str, Any], path: str) -> frozenset[str]:
    value: Any = claims
    for key in path.split("/"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return (
        frozenset(item for item in value if is_text(item))
        if isinstance(value, list)
        else frozenset()
    )
