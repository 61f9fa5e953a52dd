"""Execution of the API's operations, with the checks in the contract's order.

First token (401), claims (403), body and query string (422, 400). Then, in one database
transaction, registered (403), experiment (404), permission (403), drift (404), conflict (409).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, TypeVarTuple

import anyio
from marshmallow import Schema
from sqlalchemy import Connection
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lenswatch.server.db.database import Contended, Cut, Outage, QueryRefused
from lenswatch.server.http import bodies
from lenswatch.server.http.groups import Groups
from lenswatch.server.http.operations import Call, Operation, Who
from lenswatch.server.http.reading import read_body
from lenswatch.server.http.services import Services
from lenswatch.server.http.telemetry import ROUTE
from lenswatch.server.identity.identity import Caller, Identity, find_caller
from lenswatch.server.values.refusals import Refusal, forbidden, invalid

__all__ = ["identify", "in_thread", "routes"]

MAX_QUERY_BYTES = 256 * 1024  # of a search's body
_TRIES = 4  # of a transaction that PostgreSQL gives up in favour of another
_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class _UuidConvertor(Convertor[str]):
    """A UUID with its dashes, in any letter case; converted to lower case."""

    regex = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

    def convert(self, value: str) -> str:
        return value.lower()

    def to_string(self, value: str) -> str:
        return value


class _NameConvertor(Convertor[str]):
    """A name, which may have slashes in it."""

    regex = ".+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("name", _NameConvertor())
register_url_convertor("lower_uuid", _UuidConvertor())


def routes(operations: Iterable[Operation]) -> list[Route]:
    """Return one route for each path, so that other methods are answered by 405 with all of `Allow`."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [_route(path, methods) for path, methods in by_path.items()]


def _route(path: str, methods: dict[str, Operation]) -> Route:
    groups = Groups(_write_together, lambda run: run.size)

    async def answer(request: Request) -> Response:
        request.scope[ROUTE] = path
        return await _execute(
            methods["GET" if request.method == "HEAD" else request.method], request, groups
        )

    pattern = path.replace("_id}", "_id:lower_uuid}").replace("{stream}", "{stream:name}")
    return Route(pattern, answer, methods=list(methods))


async def _execute(
    operation: Operation, request: Request, groups: Groups[_Execution, Response]
) -> Response:
    services: Services = request.app.state.services
    if "\0" in request.scope["path"]:  # PostgreSQL stores no such text, so nothing is there
        raise Refusal(404, "Not found.")
    identity = await identify(services, request, operation.who)
    limit = services.max_body_bytes
    if operation.searches:
        limit = min(limit, MAX_QUERY_BYTES)
    body = b""
    if operation.body or operation.accepts:
        body = await read_body(request, limit, services.limits.body_seconds)
    run = _Execution(operation, Call(request, services, identity, body, {}))
    if not operation.writes:
        limiter = services.searchers if operation.searches else services.readers
        return await in_thread(limiter, run.read)
    await in_thread(services.readers, run.check_request)
    if operation.authorize and operation.prepare:
        await in_thread(services.readers, run.authorize)
        await in_thread(services.scalers, operation.prepare, run.call)
    if operation.together:
        return await groups.run(run.call.experiment_id, run)
    return await in_thread(services.writers, run.write)


async def _write_together(runs: Sequence[_Execution]) -> Sequence[Response | Exception]:
    """Execute calls of one operation on one experiment."""
    return await in_thread(runs[0].call.services.writers, _results, runs)


def _results(runs: Sequence[_Execution]) -> Sequence[Response | Exception]:
    """Return the answers of calls that are stored in one transaction.

    If that is not possible because of one of them, each gets a transaction of its own.
    """
    if len(runs) > 1:
        try:
            return _in_transaction(runs[0], lambda connection: _all_within(connection, runs))
        except Outage as outage:
            return [outage] * len(runs)
        except Exception:
            pass
    return [_result(run) for run in runs]


def _result(run: _Execution) -> Response | Exception:
    try:
        return run.write()
    except Exception as error:
        return error


def _all_within(
    connection: Connection, runs: Sequence[_Execution]
) -> Sequence[Response | Exception]:
    """Execute calls of one operation within one transaction; each caller is looked up once."""
    operation = runs[0].operation
    assert operation.together
    callers: dict[Identity | None, Caller | None] = {}
    for run in runs:
        call = run.call
        if call.identity not in callers:
            callers[call.identity] = find_caller(connection, call.identity)
        call.connection, call.caller = connection, callers[call.identity]
    admitted = [run.call for run in runs if run.admitted]
    answers = iter(operation.together(admitted))
    return [next(answers) if run.admitted else _unregistered() for run in runs]


def _unregistered() -> Refusal:
    return Refusal(403, "User not registered.")


def _in_transaction(run: _Execution, work: Callable[[Connection], _T]) -> _T:
    """Return the result of `work` in a transaction, which is begun again if the database gave it up.

    Raises:
        Outage: The database cannot answer now.
    """
    database, operation = run.database, run.operation
    cut = False
    attempt = 1
    while True:
        try:
            with database.write() if operation.writes else database.read() as connection:
                return work(connection)
        except Contended:
            if attempt == _TRIES:
                raise
            time.sleep(random.uniform(0, 0.05 * attempt))  # no event tells when the other ended
            attempt += 1
        except Cut as error:
            unsafe = error.in_doubt and operation.writes and not operation.repeatable
            if cut or unsafe:
                raise
            cut = True


class _Execution:
    """One call of an operation; each method runs in a thread."""

    def __init__(self, operation: Operation, call: Call) -> None:
        self.operation = operation
        self.call = call
        self.size = len(call.body)  # bytes
        self.database = call.services.database

    @property
    def admitted(self) -> bool:
        """True if the caller, who was looked up, is registered where that is needed."""
        caller = self.call.caller
        return self.operation.who is not Who.REGISTERED or bool(caller and caller.user_id)

    def read(self) -> Response:
        self.check_request()
        return self._run(self.operation.endpoint)

    def authorize(self) -> None:
        assert self.operation.authorize
        with self.database.read() as connection:
            self._within(connection, self.operation.authorize)

    def write(self) -> Response:
        return self._run(self.operation.endpoint)

    def _run(self, function: Callable[[Call], _T]) -> _T:
        return _in_transaction(self, lambda connection: self._within(connection, function))

    def check_request(self) -> None:
        """Check query string and body, and raise all complaints together."""
        operation, call = self.operation, self.call
        complaints: dict[str, Any] = {}
        if operation.args:
            query = call.request.query_params
            first = {key: query.getlist(key)[0] for key in query}
            call.args = _load(complaints, operation.args, first, "query")
        if operation.body:
            data = bodies.parse_json(call.body, call.request.headers.get("content-type", ""))
            call.body = _load(complaints, operation.body, data, "json")
        if operation.interpret and "json" not in complaints:
            try:
                call.body = operation.interpret(call.body)
            except Refusal as refusal:
                complaints |= refusal.errors or {}
        if complaints:
            raise Refusal(422, errors=complaints)

    def _within(self, connection: Connection, function: Callable[[Call], _T]) -> _T:
        """Call `function` within a transaction, once the caller is known to be registered."""
        operation, call = self.operation, self.call
        call.connection = connection
        call.caller = find_caller(connection, call.identity)
        if not self.admitted:
            raise _unregistered()
        if not (operation.slow or operation.searches):
            return function(call)
        try:
            with self.database.limited(connection, call.services.limits.query_seconds):
                return function(call)
        except QueryRefused as error:
            where = "json" if operation.body else "query"
            raise invalid(where, {"_schema": [str(error)]}) from None


def _load(complaints: dict[str, Any], schema: Schema, data: Any, where: str) -> dict[str, Any]:
    try:
        return bodies.load(schema, data, where)
    except Refusal as refusal:
        complaints |= refusal.errors or {}
        return {}


async def in_thread(
    limiter: anyio.CapacityLimiter, function: Callable[[*_Ts], _T], *args: *_Ts
) -> _T:
    """Return `function(*args)`, run in a thread that is abandoned when the server ends."""
    return await anyio.to_thread.run_sync(function, *args, limiter=limiter, abandon_on_cancel=True)


async def identify(services: Services, request: Request, who: Who) -> Identity | None:
    """Return the sender of a request to an operation for `who`; None if anonymous.

    Raises:
        Refusal: 401 or 403 where a token is needed, 503 if the identity provider does not answer.
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
