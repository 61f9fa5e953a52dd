"""Names of the people and programs who wrote something."""

from __future__ import annotations

from sqlalchemy import Connection, select

from lenswatch.server.db.tables import api_keys
from lenswatch.server.identity.identity import Caller
from lenswatch.server.identity.keys import ISSUER

__all__ = ["author_of", "shown_author"]


def author_of(connection: Connection, caller: Caller) -> str:
    """Return the e-mail address of a user, or the name of an API key."""
    identity = caller.identity
    if identity.issuer != ISSUER:
        return identity.email
    query = select(api_keys.c.name).where(api_keys.c.id == identity.subject)
    return connection.execute(query).scalar() or identity.email


def shown_author(author: str | None, caller: Caller | None) -> str | None:
    """Return `author` for registered callers. Nobody else learns e-mail addresses."""
    return author if caller and caller.user_id else None
