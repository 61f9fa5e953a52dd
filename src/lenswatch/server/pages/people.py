"""Users by e-mail, for granting permissions to people instead of ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import func, select
from starlette.requests import Request

from lenswatch.server.db.tables import users
from lenswatch.server.http.services import Services
from lenswatch.server.values.refusals import Refusal

__all__ = ["entity_of", "names_of"]

_MOST = 1000


def names_of(request: Request, entries: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the e-mail addresses of the users among the entities of a permission list, by entity."""
    services: Services = request.app.state.services
    entities = [entry["entity"] for entry in entries][:_MOST]
    query = select(users.c.id, users.c.email).where(users.c.id.in_(entities))
    with services.database.read() as connection:
        return {row.id: row.email for row in connection.execute(query) if row.email}


def entity_of(request: Request, text: str) -> str:
    """Return the entity that a visitor means: the user with an e-mail address, else `text` itself.

    Raises:
        Refusal: No user has that address, or several have it.
    """
    if "@" not in text or "#" in text or ":" in text:
        return text  # an entitlement or the id of a user
    services: Services = request.app.state.services
    query = select(users.c.id).where(func.lower(users.c.email) == text.lower()).limit(2)
    with services.database.read() as connection:
        found = connection.execute(query).scalars().all()
    if not found:
        raise Refusal(
            422, f'Nobody with the address "{text}" has logged in to this server yet; ask them to.'
        )
    if len(found) > 1:
        raise Refusal(422, f'Several users have the address "{text}"; grant by user id instead.')
    return str(found[0])
