"""Who calls.

An `Identity` is what a request proves about its sender; a `Caller` is an identity together with its user
record. API keys, access tokens, browser sessions and the local user of mode `none` all end in these two, so
that permissions are judged by one code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import anyio
import anyio.to_thread
from sqlalchemy import Connection, select
from starlette.requests import Request

from lenswatch.server.db.models import users
from lenswatch.server.values.refusals import unauthorized

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
    """What an API key may do: a level, on all experiments or on some by id."""

    level: str
    experiments: frozenset[str] | None = None

    def rank(self, experiment_id: str) -> int:
        """0 for nothing, 1 to 3 for Read, Edit, Manage."""
        if self.experiments is not None and experiment_id not in self.experiments:
            return 0
        return LEVELS.index(self.level) + 1


@dataclass(frozen=True)
class Identity:
    """What a valid token says."""

    subject: str
    issuer: str
    email: str
    entitlements: frozenset[str] = frozenset()
    user: bool = True  # holds a user entitlement
    admin: bool = False  # holds an admin entitlement
    grant: Grant | None = None  # an API key's; it takes the place of permission lists


@dataclass(frozen=True)
class Caller:
    """An identity and its user record; `user_id` is None while it is not registered."""

    identity: Identity
    user_id: str | None

    @property
    def admin(self) -> bool:
        """Whether every permission check passes."""
        return self.identity.admin and self.identity.user and self.user_id is not None

    @property
    def entities(self) -> frozenset[str]:
        """What may stand for this caller in a permission list; nothing for the lapsed and unregistered."""
        if self.user_id is None or not self.identity.user:
            return frozenset()
        return self.identity.entitlements | {self.user_id}


class Authenticator(Protocol):
    """One way of telling who calls."""

    async def identify(self, request: Request, *, required: bool) -> Identity | None:
        """Who sent `request`, or None when nobody in particular did and nobody is `required`.

        Raises:
            Refusal: 401 for a bad or missing token, 403 for one without the claims we need, 503 when nobody
                can tell now.
        """


class LocalAuthenticator:
    """Mode `none`: everybody who reaches this loopback address is the one local user."""

    identity = Identity("local", "urn:lenswatch:local", "local@localhost", admin=True)

    async def identify(self, request: Request, *, required: bool) -> Identity | None:  # noqa: ARG002
        """The local user, whatever the request carries."""
        return self.identity


class Bearer(Protocol):
    """One kind of bearer token."""

    def refresh(self, identity: Identity) -> Identity | None:
        """An identity that logged in with a browser, as it is now; None where it counts no longer."""

    def knows(self, token: str) -> bool:
        """Whether `token` looks like one of its kind."""

    async def identify(self, token: str) -> Identity:
        """Whose token it is. Keeps nobody waiting but who sent it.

        Raises:
            Refusal: 401 or 403; 503 when nobody can tell now.
        """


class Sessions(Protocol):
    """Browser sessions."""

    def identify(self, request: Request) -> Identity | None:
        """Who is logged in."""


class TokenAuthenticator:
    """Bearer tokens of several kinds, and browser sessions."""

    def __init__(self, bearers: Sequence[Bearer], sessions: Sessions) -> None:
        self.bearers = bearers
        self.sessions = sessions
        self._limiter = anyio.CapacityLimiter(8)

    async def identify(self, request: Request, *, required: bool) -> Identity | None:
        """Who sent the token, or is logged in."""
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
            if bearer.knows(token):
                return await bearer.identify(token)
        raise unauthorized("User identity could not be determined")


def find_caller(connection: Connection, identity: Identity | None) -> Caller | None:
    """`identity` with its user record, if it has one."""
    if identity is None:
        return None
    query = select(users.c.id).where(
        users.c.subject == identity.subject, users.c.issuer == identity.issuer
    )
    return Caller(identity, connection.execute(query).scalar())


def is_user(entitlements: frozenset[str], wanted: Sequence[str]) -> bool:
    """Whether one of the `wanted` is held; "*" stands for any account."""
    return "*" in wanted or not entitlements.isdisjoint(wanted)
