"""The rights of a page's visitor on experiments, so that a page offers only what the API would accept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import anyio.to_thread
from sqlalchemy import select
from starlette.requests import Request

from lenswatch.server.db.tables import experiments
from lenswatch.server.http.execute import identify
from lenswatch.server.http.operations import Who
from lenswatch.server.http.services import Services
from lenswatch.server.identity.identity import Caller, Identity, find_caller
from lenswatch.server.identity.permissions import may, may_create

__all__ = ["Rights", "rights_of"]


@dataclass(frozen=True)
class Rights:
    """The rights of a visitor."""

    caller: Caller | None = None
    edits: frozenset[str] = field(default_factory=frozenset)  # ids of experiments
    manages: frozenset[str] = field(default_factory=frozenset)

    @property
    def creates(self) -> bool:
        """True if the visitor may create experiments."""
        return bool(self.caller and self.caller.user_id and may_create(self.caller))

    @property
    def admin(self) -> bool:
        """True if the visitor may everything."""
        return bool(self.caller and self.caller.admin)

    @property
    def name(self) -> str:
        """The visitor's name, "" for a stranger."""
        return self.caller.identity.email or self.caller.identity.subject if self.caller else ""


async def rights_of(request: Request, ids: Iterable[str]) -> Rights:
    """Return what the sender of `request` may do on the experiments with these ids."""
    services: Services = request.app.state.services
    identity = await identify(services, request, Who.ANYBODY)
    return await anyio.to_thread.run_sync(_rights, services, identity, list(ids))


def _rights(services: Services, identity: Identity | None, ids: list[str]) -> Rights:
    query = select(experiments.c.id, experiments.c.public, experiments.c.permissions)
    with services.database.read() as connection:
        caller = find_caller(connection, identity)
        if caller is None or not caller.user_id:
            return Rights(caller)
        rows = connection.execute(query.where(experiments.c.id.in_(ids[:1000]))).mappings().all()
    edits = frozenset(row["id"] for row in rows if may("Edit", row, caller))
    return Rights(caller, edits, frozenset(row["id"] for row in rows if may("Manage", row, caller)))
