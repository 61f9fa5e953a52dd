"""An operation of the API: who may call it, what it takes, and the order in which that is judged.

The order is the contract's: token (401), claims (403), body and query string (422, 400); then, in one
database transaction, registered (403), experiment (404), permission (403), drift (404), conflict (409).
"""

from __future__ import annotations

import enum
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
from marshmallow import Schema
from sqlalchemy import Connection
from starlette.convertors import CONVERTOR_TYPES, Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lenswatch.server.db.database import Contended, Database, QueryRefused
from lenswatch.server.db.engines import POOL_SIZE
from lenswatch.server.db.watch import Watch
from lenswatch.server.http import bodies
from lenswatch.server.http.reading import read_body
from lenswatch.server.identity.identity import Authenticator, Caller, Identity, find_caller
from lenswatch.server.values.refusals import JsonAnswer, Refusal, forbidden, invalid

__all__ = ["Call", "Operation", "Operations", "Services", "Who", "identify", "in_thread", "reply"]

QUERY_SECONDS = 5.0  # for one statement of a search
QUERY_BYTES = 256 * 1024  # of a search's body
SEARCHES = 4  # at once, in a process: others must not wait for slow ones
_TRIES = 4  # of a transaction that PostgreSQL sacrifices to another


class Who(enum.Enum):
    """Who may call an operation at all; what is more is judged by the operation."""

    ANYBODY = "anybody"  # a bad token counts as none
    KNOWN = "known"  # a valid token
    REGISTERED = "registered"  # and a user record
    ADMIN = "admin"  # a valid token with an admin entitlement


@dataclass
class Services:
    """What the operations of one application share."""

    database: Database
    authenticator: Authenticator
    max_body_bytes: int
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Threads are kept apart by what they wait for, so that reads go on whatever writes do."""
        self.watch = Watch(self.database)
        self.readers = anyio.CapacityLimiter(POOL_SIZE)
        self.searchers = anyio.CapacityLimiter(SEARCHES)
        self.writers = anyio.CapacityLimiter(1 if self.database.sqlite else POOL_SIZE // 2)
        self.scalers = anyio.CapacityLimiter(1)  # pictures take much memory


@dataclass
class Call:
    """One request, judged as far as that is possible without the database; then with it."""

    request: Request
    services: Services
    identity: Identity | None
    body: Any
    args: Mapping[str, Any]
    connection: Connection = field(init=False)
    caller: Caller | None = field(init=False, default=None)

    @property
    def experiment_id(self) -> str:
        """The experiment's id in the path, lower case."""
        return str(self.request.path_params["experiment_id"])

    @property
    def drift_id(self) -> str:
        """The drift's id in the path, lower case."""
        return str(self.request.path_params["drift_id"])


Handler = Callable[[Call], Response]
Step = Callable[[Call], Any]
_H = TypeVar("_H", bound=Handler)
_A = TypeVar("_A")
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method on one path."""

    method: str
    path: str
    handler: Handler
    who: Who
    body: Schema | None = None
    raw_body: bool = False
    interpret: Callable[[dict[str, Any]], Any] | None = None  # what the handler gets for the body
    args: Schema | None = None
    writes: bool = False
    extension: bool = False  # not in the contract: under /api/latest only
    success: int = 200
    returns: str | None = None  # the name of a schema in the OpenAPI document
    refusals: tuple[int, ...] = ()
    check: Step | None = None  # whether it may be done at all, before `work` is begun
    work: Step | None = None  # what takes long, outside of any transaction
    slow: bool = False  # may take long in the database

    @property
    def searches(self) -> bool:
        """Whether a Mongo-style query is its body."""
        return isinstance(self.body, bodies.QueryBody)

    async def endpoint(self, request: Request) -> Response:
        """Answer a request."""
        services: Services = request.app.state.services
        identity = await identify(services, request, self.who)
        limit = services.max_body_bytes
        if self.searches:
            limit = min(limit, QUERY_BYTES)
        raw = await read_body(request, limit) if self.body or self.raw_body else b""
        call = Call(request, services, identity, raw, {})
        if not self.writes:
            limiter = services.searchers if self.searches else services.readers
            return await in_thread(self._read, call, limiter)
        await in_thread(self._judge, call, services.readers)
        if self.check and self.work:
            await in_thread(self._check, call, services.readers)
            await in_thread(self.work, call, services.scalers)
        return await in_thread(self._write, call, services.writers)

    def _read(self, call: Call) -> Response:
        self._judge(call)
        with call.services.database.read() as connection:
            return self._handle(call, connection, self.handler)

    def _check(self, call: Call) -> None:
        assert self.check
        with call.services.database.read() as connection:
            self._handle(call, connection, self.check)

    def _write(self, call: Call) -> Response:
        for attempt in range(1, _TRIES + 1):
            try:
                with call.services.database.write() as connection:
                    return self._handle(call, connection, self.handler)
            except Contended:
                if attempt == _TRIES:
                    raise
                time.sleep(random.uniform(0, 0.05 * attempt))
        raise AssertionError("unreachable")

    def _handle(self, call: Call, connection: Connection, step: Callable[[Call], _T]) -> _T:
        call.connection = connection
        call.caller = find_caller(connection, call.identity)
        if self.who is Who.REGISTERED and (call.caller is None or not call.caller.user_id):
            raise Refusal(403, "User not registered.")
        if not (self.slow or self.searches):
            return step(call)
        try:
            with call.services.database.limited(connection, QUERY_SECONDS):
                return step(call)
        except QueryRefused as error:
            where = "json" if self.body else "query"
            raise invalid(where, {"_schema": [str(error)]}) from None

    def _judge(self, call: Call) -> None:
        complaints: dict[str, Any] = {}
        if self.args:
            first = {
                key: call.request.query_params.getlist(key)[0] for key in call.request.query_params
            }
            call.args = _collect(complaints, self.args, first, "query")
        if self.body:
            data = bodies.parse_json(call.body, call.request.headers.get("content-type", ""))
            call.body = _collect(complaints, self.body, data, "json")
        if self.interpret and "json" not in complaints:
            try:
                call.body = self.interpret(call.body)
            except Refusal as refusal:
                complaints |= refusal.errors or {}
        if complaints:
            raise Refusal(422, errors=complaints)


async def in_thread(step: Callable[[_A], _T], given: _A, limiter: anyio.CapacityLimiter) -> _T:
    """`step(given)` in a thread of its own. Nobody waits for it once the server ends."""
    return await anyio.to_thread.run_sync(step, given, limiter=limiter, abandon_on_cancel=True)


async def identify(services: Services, request: Request, who: Who) -> Identity | None:
    """Who sent `request`, as far as that matters to an operation for `who`.

    Raises:
        Refusal: 401 or 403 where a token is needed, 503 where nobody can tell.
    """
    try:
        identity = await services.authenticator.identify(request, required=who is not Who.ANYBODY)
    except Refusal as refusal:
        if who is Who.ANYBODY and refusal.code in (401, 403):
            return None
        raise
    if who is Who.ADMIN and not (identity and identity.admin):
        raise forbidden()
    return identity


def _collect(complaints: dict[str, Any], schema: Schema, data: Any, where: str) -> dict[str, Any]:
    try:
        return bodies.load(schema, data, where)
    except Refusal as refusal:
        complaints |= refusal.errors or {}
        return {}


class Operations:
    """A list of operations, filled by decorators."""

    def __init__(self) -> None:
        self.all: list[Operation] = []

    def add(self, method: str, path: str, **options: Any) -> Callable[[_H], _H]:
        """Make the decorated function the handler of `method` on `path`; `options` as in `Operation`."""

        def register(handler: _H) -> _H:
            self.all.append(Operation(method=method, path=path, handler=handler, **options))
            return handler

        return register

    def get(self, path: str, **options: Any) -> Callable[[_H], _H]:
        """`add` for GET."""
        return self.add("GET", path, **options)

    def put(self, path: str, **options: Any) -> Callable[[_H], _H]:
        """`add` for PUT."""
        return self.add("PUT", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[_H], _H]:
        """`add` for POST."""
        return self.add("POST", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[_H], _H]:
        """`add` for DELETE."""
        return self.add("DELETE", path, **options)


class _UuidConvertor(Convertor[str]):
    """A UUID with its dashes, in any letter case; handed on in lower case."""

    regex = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

    def convert(self, value: str) -> str:
        return value.lower()

    def to_string(self, value: str) -> str:
        return value


if "lower_uuid" not in CONVERTOR_TYPES:
    register_url_convertor("lower_uuid", _UuidConvertor())


def reply(record: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A JSON answer."""
    return JsonAnswer(record, code, headers=headers)
