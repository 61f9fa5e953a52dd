"""Who calls.

An `Identity` is what a request proves about its sender; a `Caller` is an identity together with the user
record and the rights it has. Every mode of `server.auth` ends in these two, so that permissions are judged
by one code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection, select
from starlette.requests import Request

from lenswatch.server.models import users

__all__ = ["Authenticator", "Caller", "Identity", "LocalAuthenticator"]


@dataclass(frozen=True)
class Identity:
    """What a valid token says."""

    subject: str
    issuer: str
    email: str
    entitlements: frozenset[str] = frozenset()
    user: bool = True  # holds a user entitlement
    admin: bool = False  # holds an admin entitlement


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
            Refusal: 401 for a bad or missing token, 403 for one without the claims we need.
        """

    def caller(self, connection: Connection, identity: Identity | None) -> Caller | None:
        """`identity` with its user record."""


class LocalAuthenticator:
    """Mode `none`: everybody who reaches this loopback address is the one local user."""

    identity = Identity("local", "urn:lenswatch:local", "local@localhost", frozenset(), admin=True)

    async def identify(self, _request: Request, *, required: bool) -> Identity | None:  # noqa: ARG002
        """The local user, whatever the request carries."""
        return self.identity

    def caller(self, connection: Connection, identity: Identity | None) -> Caller | None:
        """The local user's record, which `users.ensure_user` made on start."""
        return find_caller(connection, identity)


def find_caller(connection: Connection, identity: Identity | None) -> Caller | None:
    """`identity` with its user record, if it has one."""
    if identity is None:
        return None
    query = select(users.c.id).where(
        users.c.subject == identity.subject, users.c.issuer == identity.issuer
    )
    return Caller(identity, connection.execute(query).scalar())
