"""Browser sessions, stored in the database so that all processes know them and logging out ends them.

The cookie is a random number, of which the database has the digest. Only our own pages can use a session: the
cookie is SameSite=Lax, and a request that changes something must name this server as its origin.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import delete, insert, select
from starlette.requests import Request
from starlette.responses import Response

from lenswatch.server.db.database import Database, insert_into
from lenswatch.server.db.tables import sessions, settings
from lenswatch.server.identity.identity import Bearer, Identity
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import OTHER_SITE, forbidden
from lenswatch.server.values.storable import digest

__all__ = ["COOKIE", "SessionStore", "from_here", "shared_secret"]

COOKIE = "lenswatch_session"
SESSION_SECONDS = 8 * 3600
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class SessionStore:
    """The browser sessions. The `bearers` update the rights of an identity since its log-in."""

    def __init__(self, database: Database, bearers: Sequence[Bearer]) -> None:
        self.database = database
        self.bearers = bearers

    def identify(self, request: Request) -> Identity | None:
        """Return the identity that logged in, if the request has the cookie of a session.

        Raises:
            Refusal: 403 for a request that changes something and comes from another site.
        """
        cookie = request.cookies.get(COOKIE)
        if not cookie:
            return None
        query = select(sessions.c.identity).where(
            sessions.c.digest == digest(cookie), sessions.c.expires_at > stamps.now()
        )
        with self.database.read() as connection:
            stored = connection.execute(query).scalar()
        if stored is None:
            return None
        if request.method not in _SAFE and not from_here(request):
            raise forbidden(OTHER_SITE)
        identity = msgspec.convert(stored, Identity)
        return next(filter(None, (bearer.refresh(identity) for bearer in self.bearers)), None)

    def open(self, request: Request, response: Response, identity: Identity) -> None:
        """Log `identity` in: replace the browser's session, and set the new cookie on `response`."""
        cookie, now = secrets.token_urlsafe(32), stamps.now()
        row = {
            "digest": digest(cookie),
            "identity": msgspec.to_builtins(identity, order="deterministic"),
            "expires_at": now + SESSION_SECONDS * 1_000_000,
        }
        with self.database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
            if last := request.cookies.get(COOKIE):
                connection.execute(delete(sessions).where(sessions.c.digest == digest(last)))
            connection.execute(insert(sessions).values(row))
        response.set_cookie(COOKIE, cookie, max_age=SESSION_SECONDS, **cookie_options(request))

    def close(self, request: Request, response: Response) -> None:
        """Log out: delete the session, and its cookie by `response`."""
        if cookie := request.cookies.get(COOKIE):
            with self.database.write() as connection:
                connection.execute(delete(sessions).where(sessions.c.digest == digest(cookie)))
        response.delete_cookie(COOKIE, **cookie_options(request))


def cookie_options(request: Request) -> dict[str, Any]:
    """Return options for a cookie that only this server receives, over TLS if the request came so."""
    return {
        "path": request.scope.get("app_root_path", request.scope.get("root_path", "")) or "/",
        "httponly": True,
        "samesite": "lax",
        "secure": request.scope["scheme"] == "https",
    }


def from_here(request: Request) -> bool:
    """Return whether a browser sent `request` from a page of this server."""
    origin = request.headers.get("origin")
    if origin is not None:
        host = request.headers.get("host", "").lower()
        own = {f"https://{host.removesuffix(':443')}"}
        if request.scope["scheme"] != "https":  # or a proxy does not say that it is
            own.add(f"http://{host.removesuffix(':80')}")
        return origin.lower() in own
    return request.headers.get("sec-fetch-site") in ("same-origin", "none")


def shared_secret(database: Database) -> str:
    """Return the secret that signs forms and log-ins, which all processes on this database share.

    It is created at first use.
    """
    fresh = {"name": "secret", "value": secrets.token_urlsafe(32)}
    with database.write() as connection:
        once = insert_into(connection, settings).values(fresh).on_conflict_do_nothing()
        connection.execute(once)
        query = select(settings.c.value).where(settings.c.name == "secret")
        return str(connection.execute(query).scalar_one())
