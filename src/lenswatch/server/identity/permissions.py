"""Permissions on experiments. Read is part of Edit, Edit of Manage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, true

from lenswatch.server.db.tables import experiments, permissions
from lenswatch.server.identity.identity import LEVELS, Caller
from lenswatch.server.values.refusals import invalid
from lenswatch.server.values.storable import digest

__all__ = ["MAX_PERMISSIONS", "may", "may_create", "readable", "with_manager"]

MAX_PERMISSIONS = 1000  # entries of one experiment

PermissionEntry = Mapping[str, str]


def rank(entries: Iterable[PermissionEntry], caller: Caller | None) -> int:
    """Return what a permission list grants: 0 for nothing, 1 to 3 for Read, Edit, Manage."""
    entities = caller.entities if caller else frozenset()
    ranks = (LEVELS.index(e["level"]) + 1 for e in entries if e["entity"] in entities)
    return max(ranks, default=0)


def may(wanted: str, experiment: Mapping[Any, Any], caller: Caller | None) -> bool:
    """Return whether `caller` has at least the level `wanted` on `experiment`."""
    if caller and caller.admin:
        return True
    if wanted == "Read" and experiment["public"]:
        return True
    if caller and caller.identity.grant:
        held = caller.identity.grant.rank(experiment["id"])
    else:
        held = rank(experiment["permissions"], caller)
    return held > LEVELS.index(wanted)


def may_create(caller: Caller) -> bool:
    """Return whether `caller` may create experiments: users may, and keys that may edit all experiments."""
    grant = caller.identity.grant
    if grant:
        return grant.experiments is None and grant.level != "Read"
    return caller.identity.user


def with_manager(entries: list[dict[str, str]], caller: Caller) -> list[dict[str, str]]:
    """Return `entries`, with one more that grants `caller` Manage if they do not.

    Raises:
        Refusal: 422 if the list is full.
    """
    if rank(entries, caller) == len(LEVELS):
        return entries
    if len(entries) == MAX_PERMISSIONS:
        full = f"Longer than {MAX_PERMISSIONS} entries, including the one that lets you manage it."
        raise invalid("json", {"permissions": [full]})
    return [*entries, {"entity": str(caller.user_id), "level": "Manage"}]


def readable(caller: Caller | None) -> ColumnElement[bool]:
    """Return the condition on rows of `experiments` that `caller` may read."""
    return and_(experiments.c.deleted_at.is_(None), _granted(caller))


def _granted(caller: Caller | None) -> ColumnElement[bool]:
    if caller and caller.admin:
        return true()
    public = experiments.c.public.is_(True)
    if caller and caller.identity.grant:
        scope = caller.identity.grant.experiments
        return true() if scope is None else or_(public, experiments.c.id.in_(scope))
    entities = [digest(entity) for entity in caller.entities] if caller else []
    listed = select(permissions.c.experiment).where(permissions.c.entity_digest.in_(entities))
    return or_(public, experiments.c.number.in_(listed)) if entities else public
