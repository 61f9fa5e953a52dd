"""The identity of a caller.

An `Identity` is what a request proves about its sender; a `Caller` is an identity with its user record. API
keys, access tokens, browser sessions and the local user of mode `none` all lead to these two, so that one
piece of code checks permissions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import anyio
import anyio.to_thread
from sqlalchemy import Connection, bindparam, select
from starlette.requests import Request

from lenswatch.server.db.prepared import Prepared
from lenswatch.server.db.tables import users
from lenswatch.server.values.refusals import UNKNOWN_IDENTITY, unauthorized

__all__ = [
    "LEVELS",
    "Authenticator",
    "Bearer",
    "Caller",
    "Grant",
    "Identity",
    "LocalAuthenticator",
    "TokenAuthenticator",
    "find_caller",
    "is_user",
]

LEVELS = ("Read", "Edit", "Manage")


@dataclass(frozen=True)
class Grant:
    """The rights of an API key: a level, on all experiments or on those with the given ids."""

    level: str
    experiments: frozenset[str] | None = None

    def rank(self, experiment_id: str) -> int:
        """Return 0 for no right, 1 to 3 for Read, Edit, Manage."""
        if self.experiments is not None and experiment_id not in self.experiments:
            return 0
        return LEVELS.index(self.level) + 1


@dataclass(frozen=True)
class Identity:
    """The contents of a valid token."""

    subject: str
    issuer: str
    email: str
    entitlements: frozenset[str] = frozenset()
    user: bool = True  # holds a user entitlement
    admin: bool = False  # holds an admin entitlement
    grant: Grant | None = None  # of an API key, in place of permission lists


@dataclass(frozen=True)
class Caller:
    """An identity and its user record; `user_id` is None until it is registered."""

    identity: Identity
    user_id: str | None

    @property
    def admin(self) -> bool:
        """True if every permission check passes."""
        return self.identity.admin and self.identity.user and self.user_id is not None

    @property
    def entities(self) -> frozenset[str]:
        """The caller's names in permission lists: user id and entitlements.

        Empty without a user entitlement or a registration.
        """
        if self.user_id is None or not self.identity.user:
            return frozenset()
        return self.identity.entitlements | {self.user_id}


class Authenticator(Protocol):
    """A way to identify callers."""

    async def identify(self, request: Request, *, required: bool) -> Identity | None:
        """Return the sender of `request`; None for an anonymous one, unless an identity is `required`.

        Raises:
            Refusal: 401 for an invalid or missing token, 403 for one without the required claims, 503 if the
                identity provider does not answer.
        """


class LocalAuthenticator:
    """Mode `none`: every caller, all of them on loopback, is the one local user."""

    identity = Identity("local", "urn:lenswatch:local", "local@localhost", admin=True)

    async def identify(self, request: Request, *, required: bool) -> Identity | None:  # noqa: ARG002
        """Return the local user, whatever the request contains."""
        return self.identity


class Bearer(Protocol):
    """A kind of bearer token."""

    def refresh(self, identity: Identity) -> Identity | None:
        """Return the present identity of a caller who logged in by browser; None if it is no longer valid."""

    def recognises(self, token: str) -> bool:
        """Return whether `token` has the form of this kind."""

    async def identify(self, token: str) -> Identity:
        """Return the identity that `token` proves. Other requests do not wait meanwhile.

        Raises:
            Refusal: 401 or 403; 503 if the identity provider does not answer.
        """


class Sessions(Protocol):
    """Browser sessions."""

    def identify(self, request: Request) -> Identity | None:
        """Return the identity that is logged in, if any."""


class TokenAuthenticator:
    """Bearer tokens of several kinds, and browser sessions."""

    def __init__(self, bearers: Sequence[Bearer], sessions: Sessions) -> None:
        self.bearers = bearers
        self.sessions = sessions
        self._limiter = anyio.CapacityLimiter(8)

    async def identify(self, request: Request, *, required: bool) -> Identity | None:
        """Return the identity of the bearer token, or of the browser session."""
        header = request.headers.get("authorization")
        if header is not None:
            return await self._identify(header)
        identity = await anyio.to_thread.run_sync(
            self.sessions.identify, request, limiter=self._limiter
        )
        if identity is None and required:
            raise unauthorized()
        return identity

    async def _identify(self, header: str) -> Identity:
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme != "Bearer" or not token:
            raise unauthorized()
        for bearer in self.bearers:
            if bearer.recognises(token):
                return await bearer.identify(token)
        raise unauthorized(UNKNOWN_IDENTITY)


def find_caller(connection: Connection, identity: Identity | None) -> Caller | None:
    """Return `identity` with its user record, if it has one; None for an anonymous caller."""
    if identity is None:
        return None
    asked = {"subject": identity.subject, "issuer": identity.issuer}
    return Caller(identity, _user(connection, asked).scalar())


_user = Prepared(
    lambda _: select(users.c.id).where(
        users.c.subject == bindparam("subject"), users.c.issuer == bindparam("issuer")
    )
)


def is_user(entitlements: frozenset[str], wanted: Sequence[str]) -> bool:
    """Return whether one of the `wanted` entitlements is held; "*" stands for any account."""
    return "*" in wanted or not entitlements.isdisjoint(wanted)
