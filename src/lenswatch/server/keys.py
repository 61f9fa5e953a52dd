"""API keys: for nodes, and for people where there is no identity provider.

A key is shown once, when it is made; the database keeps its SHA-256 (the key is 256 random bits, so nothing
slower is needed). A key has a user record of its own, so that what it creates has an owner.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import anyio
import anyio.to_thread
from sqlalchemy import ColumnElement, Connection, Row, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from lenswatch.config import Config
from lenswatch.errors import InputError
from lenswatch.server import stamps
from lenswatch.server.auth import LEVELS, Grant, Identity, is_text
from lenswatch.server.database import Database, prepare
from lenswatch.server.errors import unauthorized
from lenswatch.server.models import api_keys, experiments, key_experiments, users

__all__ = [
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
    """A key as it may be shown: everything but the key."""

    id: str
    name: str
    level: str
    experiments: tuple[str, ...] | None  # ids; None for all
    created_at: str
    revoked_at: str | None


def create_key(
    config: Config, name: str, *, level: str = "Edit", experiments: Sequence[str] = ()
) -> tuple[ApiKey, str]:
    """Make an API key: its record, and the key itself, which is nowhere kept.

    `experiments` are names or ids; none means all, those to come included.

    Raises:
        InputError: no such level or experiment, or a name that is empty or taken.
    """
    prepare(config.database_url)
    database = Database(config.database_url)
    try:
        with database.write() as connection:
            return new_key(connection, name, level, _ids(connection, experiments))
    finally:
        database.close()


def list_keys(config: Config) -> list[ApiKey]:
    """All API keys, revoked ones included, the newest first."""
    prepare(config.database_url)
    database = Database(config.database_url)
    try:
        with database.read() as connection:
            return stored_keys(connection)
    finally:
        database.close()


def revoke_key(config: Config, name: str) -> ApiKey:
    """Make the key of this name or id worthless at once.

    Raises:
        InputError: there is no such key.
    """
    prepare(config.database_url)
    database = Database(config.database_url)
    try:
        with database.write() as connection:
            return revoke(connection, name)
    finally:
        database.close()


def new_key(
    connection: Connection, name: str, level: str, scope: Iterable[str] | None
) -> tuple[ApiKey, str]:
    """Make a key for the experiments whose ids are `scope`, or for all."""
    _check(name, level, scope)
    key = _PREFIX + secrets.token_urlsafe(32)
    key_id, now = str(uuid.uuid4()), stamps.now()
    owner = {"id": str(uuid.uuid4()), "created_at": now, "subject": key_id, "issuer": ISSUER}
    row = {
        "id": key_id,
        "name": name,
        "digest": _digest(key),
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
        _store_scope(connection, number, scope)
    return _get(connection, key_id), key


def _check(name: str, level: str, scope: Iterable[str] | None) -> None:
    if level not in KEY_LEVELS:
        raise InputError(
            f'"{level}" is no level of an API key; choose one of {", ".join(KEY_LEVELS)}'
        )
    if level == "Admin" and scope is not None:
        raise InputError("an Admin key is for all experiments; leave the experiments out")
    if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise InputError(f"an API key needs a name of 1 to {_MAX_NAME} printable characters")


def _store_scope(connection: Connection, number: int, scope: Iterable[str]) -> None:
    wanted = set(scope)
    query = select(experiments.c.number).where(experiments.c.id.in_(filter(is_text, wanted)))
    found = connection.execute(query.with_for_update(read=True)).scalars().all()
    if len(found) != len(wanted):
        raise InputError("one of these experiments does not exist")
    connection.execute(insert(key_experiments), [{"key": number, "experiment": n} for n in found])


def _ids(connection: Connection, names: Sequence[str]) -> list[str] | None:
    if not names:
        return None
    ids = []
    for name in names:
        named = or_(experiments.c.name == name, experiments.c.id == name.lower())
        query = select(experiments.c.id).where(named)
        found = connection.execute(query).scalar() if is_text(name) else None
        if found is None:
            raise InputError(f'there is no experiment "{name}"')
        ids.append(found)
    return ids


def revoke(connection: Connection, name: str) -> ApiKey:
    """Revoke the key of this name or id."""
    named = or_(api_keys.c.name == name, api_keys.c.id == name.lower())
    query = select(api_keys.c.id).where(named)
    key_id = connection.execute(query).scalar() if is_text(name) else None
    if key_id is None:
        raise InputError(f'there is no API key "{name}"')
    here = (api_keys.c.id == key_id) & api_keys.c.revoked_at.is_(None)
    connection.execute(update(api_keys).where(here).values(revoked_at=stamps.now()))
    return _get(connection, key_id)


def stored_keys(connection: Connection) -> list[ApiKey]:
    """All keys, the newest first."""
    rows = connection.execute(select(api_keys).order_by(api_keys.c.number.desc())).all()
    return [_record(connection, row) for row in rows]


def _get(connection: Connection, key_id: str) -> ApiKey:
    return _record(
        connection, connection.execute(select(api_keys).where(api_keys.c.id == key_id)).one()
    )


def _record(connection: Connection, row: Row[tuple[object, ...]]) -> ApiKey:
    scope = None if row.everywhere else tuple(sorted(_scope(connection, row.number)))
    revoked = stamps.iso(row.revoked_at) if row.revoked_at else None
    return ApiKey(row.id, row.name, row.level, scope, stamps.iso(row.created_at), revoked)


def _scope(connection: Connection, number: int) -> frozenset[str]:
    query = select(experiments.c.id).join(key_experiments).where(key_experiments.c.key == number)
    return frozenset(connection.execute(query).scalars())


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class KeyBearer:
    """API keys as bearer tokens."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._limiter = anyio.CapacityLimiter(8)

    def knows(self, token: str) -> bool:
        """Whether it begins like a key."""
        return token.startswith(_PREFIX)

    async def identify(self, token: str) -> Identity:
        """The key's identity, or 401."""
        return await anyio.to_thread.run_sync(self.find, token, limiter=self._limiter)

    def find(self, token: str) -> Identity:
        """The same, for a thread of one's own."""
        if not _KEY.match(token):
            raise unauthorized("User identity could not be determined")
        identity = self._find(api_keys.c.digest == _digest(token))
        if identity is None:
            raise unauthorized("User identity could not be determined")
        return identity

    def refresh(self, identity: Identity) -> Identity | None:
        """The identity of a key that logged in, as it is now; None once it is revoked. Others stay."""
        return (
            self._find(api_keys.c.id == identity.subject) if identity.issuer == ISSUER else identity
        )

    def _find(self, condition: ColumnElement[bool]) -> Identity | None:
        active = condition & api_keys.c.revoked_at.is_(None)
        with self.database.read() as connection:
            row = connection.execute(select(api_keys).where(active)).first()
            if row is None:
                return None
            scope = None if row.everywhere else _scope(connection, row.number)
        admin = row.level == "Admin"
        grant = None if admin else Grant(row.level, scope)
        return Identity(row.id, ISSUER, f"{row.id}@keys.invalid", admin=admin, grant=grant)
