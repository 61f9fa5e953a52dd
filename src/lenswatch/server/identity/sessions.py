"""Browser sessions: kept in the database, so that every process knows them and logging out ends them.

The cookie holds a random number, the database its digest. A session can only be used from our own pages:
the cookie is SameSite=Lax, and a request that changes something must say that it comes from here.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from starlette.requests import Request
from starlette.responses import Response

from lenswatch.server.db.database import Database, insert_into
from lenswatch.server.db.models import sessions, settings
from lenswatch.server.identity.identity import Bearer, Grant, Identity
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import forbidden
from lenswatch.server.values.storable import digest

__all__ = ["COOKIE", "SessionStore", "from_here", "shared_secret"]

COOKIE = "lenswatch_session"
SESSION_SECONDS = 8 * 3600
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class SessionStore:
    """Who is logged in with a browser. The `bearers` say what has become of them since."""

    def __init__(self, database: Database, bearers: Sequence[Bearer]) -> None:
        self.database = database
        self.bearers = bearers

    def identify(self, request: Request) -> Identity | None:
        """The identity that logged in, if the request carries its cookie.

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
            raise forbidden("Requests from other sites are refused.")
        then = _load(stored)
        return next(filter(None, (bearer.refresh(then) for bearer in self.bearers)), None)

    def open(self, request: Request, response: Response, identity: Identity) -> None:
        """Log `identity` in: a new session in place of the browser's last one, its cookie on `response`."""
        cookie, now = secrets.token_urlsafe(32), stamps.now()
        row = {
            "digest": digest(cookie),
            "identity": _dump(identity),
            "expires_at": now + SESSION_SECONDS * 1_000_000,
        }
        with self.database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
            if last := request.cookies.get(COOKIE):
                connection.execute(delete(sessions).where(sessions.c.digest == digest(last)))
            connection.execute(insert(sessions).values(row))
        response.set_cookie(COOKIE, cookie, max_age=SESSION_SECONDS, **cookie_options(request))

    def close(self, request: Request, response: Response) -> None:
        """Log out."""
        if cookie := request.cookies.get(COOKIE):
            with self.database.write() as connection:
                connection.execute(delete(sessions).where(sessions.c.digest == digest(cookie)))
        response.delete_cookie(COOKIE, **cookie_options(request))


def cookie_options(request: Request) -> dict[str, Any]:
    """For a cookie that only we get back, over TLS if that is how we are reached."""
    return {
        "path": request.scope.get("app_root_path", request.scope.get("root_path", "")) or "/",
        "httponly": True,
        "samesite": "lax",
        "secure": request.scope["scheme"] == "https",
    }


def from_here(request: Request) -> bool:
    """Whether a browser sent `request` from a page of this server."""
    origin = request.headers.get("origin")
    if origin is not None:
        host = request.headers.get("host", "").lower()
        own = {f"https://{host.removesuffix(':443')}"}
        if request.scope["scheme"] != "https":  # or a proxy does not tell us that it is
            own.add(f"http://{host.removesuffix(':80')}")
        return origin.lower() in own
    return request.headers.get("sec-fetch-site") in ("same-origin", "none")


def _dump(identity: Identity) -> dict[str, Any]:
    record = dataclasses.asdict(identity) | {"entitlements": sorted(identity.entitlements)}
    if identity.grant:
        scope = identity.grant.experiments
        record["grant"] = {
            "level": identity.grant.level,
            "experiments": None if scope is None else sorted(scope),
        }
    return record


def _load(record: dict[str, Any]) -> Identity:
    grant = record["grant"]
    if grant:
        scope = grant["experiments"]
        grant = Grant(grant["level"], None if scope is None else frozenset(scope))
    return Identity(**record | {"entitlements": frozenset(record["entitlements"]), "grant": grant})


def shared_secret(database: Database) -> str:
    """What signs forms and log-ins: one secret for all processes on this database, made at first need."""
    fresh = {"name": "secret", "value": secrets.token_urlsafe(32)}
    with database.write() as connection:
        once = insert_into(connection, settings).values(fresh).on_conflict_do_nothing()
        connection.execute(once)
        query = select(settings.c.value).where(settings.c.name == "secret")
        return str(connection.execute(query).scalar_one())
