"""API keys, for nodes, and for people where there is no identity provider.

A key is shown once, when it is created. The database stores its SHA-256, which is enough for 256 random bits.
A key has a user record of its own, so that what it creates has an owner.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
from sqlalchemy import ColumnElement, Connection, Select, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from lenswatch.config import Config
from lenswatch.errors import InputError
from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import api_keys, experiments, key_experiments, users
from lenswatch.server.db.upgrade import prepare
from lenswatch.server.identity.identity import LEVELS, Grant, Identity
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import UNKNOWN_IDENTITY, unauthorized
from lenswatch.server.values.storable import digest, is_text

__all__ = [
    "ISSUER",
    "KEY_LEVELS",
    "ApiKey",
    "KeyBearer",
    "create_key",
    "list_keys",
    "new_key",
    "revoke",
    "revoke_key",
    "stored_keys",
]

ISSUER = "urn:lenswatch:key"
KEY_LEVELS = (*LEVELS, "Admin")
_PREFIX = "lwk_"
_KEY = re.compile(r"lwk_[A-Za-z0-9_-]{43}\Z")
_MAX_NAME = 100


@dataclass(frozen=True)
class ApiKey:
    """The public record of a key, without the key itself."""

    id: str
    name: str
    level: str
    experiments: tuple[str, ...] | None  # ids; None for all
    created_at: str
    revoked_at: str | None


def create_key(
    config: Config, name: str, *, level: str = "Edit", experiments: Sequence[str] = ()
) -> tuple[ApiKey, str]:
    """Create an API key.

    Args:
        config: Names the database.
        name: A name that no other key has.
        level: One of KEY_LEVELS.
        experiments: Ids or names; empty for all experiments, including future ones.

    Returns:
        The record of the key, and the key itself, which is not stored.

    Raises:
        InputError: There is no such level or experiment, or the name is empty or taken.
    """
    with _opened(config) as database, database.write() as connection:
        return new_key(connection, name, level, _experiment_ids(connection, experiments))


def list_keys(config: Config) -> list[ApiKey]:
    """Return all API keys, including revoked ones, the newest first."""
    with _opened(config) as database, database.read() as connection:
        return stored_keys(connection)


def revoke_key(config: Config, name: str) -> ApiKey:
    """Revoke the key with this id or name, with immediate effect.

    Raises:
        InputError: There is no such key.
    """
    with _opened(config) as database, database.write() as connection:
        return revoke(connection, _find(connection, api_keys, "API key", name))


@contextmanager
def _opened(config: Config) -> Iterator[Database]:
    prepare(config.database_url)
    database = Database(config.database_url)
    try:
        yield database
    finally:
        database.close()


def _experiment_ids(connection: Connection, names: Sequence[str]) -> list[str] | None:
    return [_find(connection, experiments, "experiment", name) for name in names] or None


def _find(connection: Connection, table: Table, kind: str, wanted: str) -> str:
    """Return the id of the row with the id `wanted`, or else of the one with that name.

    The id comes first, because a name may be chosen that is the id of another row.
    """
    for named in (table.c.id == wanted.lower(), table.c.name == wanted):
        query = select(table.c.id).where(named)
        found = connection.execute(query).scalar() if is_text(wanted) else None
        if found is not None:
            return str(found)
    raise InputError(f'there is no {kind} "{wanted}"')


def new_key(
    connection: Connection, name: str, level: str, scope: Iterable[str] | None
) -> tuple[ApiKey, str]:
    """Create a key for the experiments whose ids are in `scope`; None for all.

    Raises:
        InputError: There is no such level or experiment, or the name is empty or taken.
    """
    _check(name, level, scope)
    key = _PREFIX + secrets.token_urlsafe(32)
    key_id, now = str(uuid.uuid4()), stamps.now()
    owner = {"id": str(uuid.uuid4()), "created_at": now, "subject": key_id, "issuer": ISSUER}
    row = {
        "id": key_id,
        "name": name,
        "digest": digest(key),
        "level": level,
        "everywhere": scope is None,
        "created_at": now,
    }
    try:
        number = connection.execute(
            insert(api_keys).values(row).returning(api_keys.c.number)
        ).scalar_one()
    except IntegrityError:
        raise InputError(f'there is an API key "{name}" already; choose another name') from None
    connection.execute(insert(users).values(owner | {"email": f"{key_id}@keys.invalid"}))
    if scope is not None:
        _store_scope(connection, number, set(scope))
    return _key(connection, key_id), key


def _check(name: str, level: str, scope: Iterable[str] | None) -> None:
    if level not in KEY_LEVELS:
        raise InputError(
            f'"{level}" is not a level of an API key; choose one of {", ".join(KEY_LEVELS)}'
        )
    if level == "Admin" and scope is not None:
        raise InputError("an Admin key is for all experiments; leave the experiments out")
    if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise InputError(f"an API key needs a name of 1 to {_MAX_NAME} printable characters")


def _store_scope(connection: Connection, key: int, scope: set[str]) -> None:
    query = select(experiments.c.id, experiments.c.number)
    query = query.where(experiments.c.id.in_(filter(is_text, scope)))
    rows = connection.execute(query.with_for_update(read=True))
    found = {row.id: row.number for row in rows}
    if missing := scope - found.keys():
        raise InputError(f'there is no experiment with the id "{min(missing)}"')
    entries = [{"key": key, "experiment": number} for number in found.values()]
    connection.execute(insert(key_experiments), entries)


def revoke(connection: Connection, key_id: str) -> ApiKey:
    """Revoke the key with this id.

    Raises:
        InputError: There is no such key.
    """
    here = api_keys.c.id == key_id
    if not is_text(key_id) or connection.execute(select(api_keys).where(here)).first() is None:
        raise InputError(f'there is no API key with the id "{key_id}"')
    active = here & api_keys.c.revoked_at.is_(None)
    connection.execute(update(api_keys).where(active).values(revoked_at=stamps.now()))
    return _key(connection, key_id)


def stored_keys(connection: Connection) -> list[ApiKey]:
    """Return all keys, the newest first."""
    return _records(connection, select(api_keys).order_by(api_keys.c.number.desc()))


def _key(connection: Connection, key_id: str) -> ApiKey:
    [key] = _records(connection, select(api_keys).where(api_keys.c.id == key_id))
    return key


def _records(connection: Connection, query: Select[Any]) -> list[ApiKey]:
    rows = connection.execute(query).all()
    scopes = _scopes(connection, [row.number for row in rows if not row.everywhere])
    return [
        ApiKey(
            row.id,
            row.name,
            row.level,
            None if row.everywhere else tuple(sorted(scopes[row.number])),
            stamps.iso(row.created_at),
            stamps.iso(row.revoked_at) if row.revoked_at else None,
        )
        for row in rows
    ]


def _scopes(connection: Connection, keys: Sequence[int]) -> dict[int, frozenset[str]]:
    """Return the ids of the experiments of each of these keys, by key number; deleted ones are left out."""
    query = (
        select(key_experiments.c.key, experiments.c.id)
        .join_from(key_experiments, experiments)
        .where(key_experiments.c.key.in_(keys))
    )
    found: dict[int, set[str]] = {key: set() for key in keys}
    for key, experiment_id in connection.execute(query):
        found[key].add(experiment_id)
    return {key: frozenset(ids) for key, ids in found.items()}


class KeyBearer:
    """API keys as bearer tokens."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._limiter = anyio.CapacityLimiter(8)

    def recognises(self, token: str) -> bool:
        """Return whether `token` begins like a key."""
        return token.startswith(_PREFIX)

    async def identify(self, token: str) -> Identity:
        """Return the identity of the key; 401 if it is unknown or revoked."""
        return await anyio.to_thread.run_sync(self.find, token, limiter=self._limiter)

    def find(self, token: str) -> Identity:
        """Blocking version of `identify`."""
        if not _KEY.match(token):
            raise unauthorized(UNKNOWN_IDENTITY)
        identity = self._find(api_keys.c.digest == digest(token))
        if identity is None:
            raise unauthorized(UNKNOWN_IDENTITY)
        return identity

    def refresh(self, identity: Identity) -> Identity | None:
        """Return the present identity of a key that logged in; None if it is revoked, or not a key."""
        if identity.issuer != ISSUER:
            return None
        return self._find(api_keys.c.id == identity.subject)

    def _find(self, condition: ColumnElement[bool]) -> Identity | None:
        active = condition & api_keys.c.revoked_at.is_(None)
        with self.database.read() as connection:
            row = connection.execute(select(api_keys).where(active)).first()
            if row is None:
                return None
            scope = None if row.everywhere else _scopes(connection, [row.number])[row.number]
        admin = row.level == "Admin"
        grant = None if admin else Grant(row.level, scope)
        return Identity(row.id, ISSUER, f"{row.id}@keys.invalid", admin=admin, grant=grant)
