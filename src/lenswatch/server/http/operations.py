"""Declaration of the API's operations: who may call each, what it takes and what it answers.

`lenswatch.server.http.execute` runs them, and `lenswatch.server.http.openapi` describes them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from marshmallow import Schema
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lenswatch.server.http.bodies import QueryBody
from lenswatch.server.http.services import Services
from lenswatch.server.identity.identity import Caller, Identity
from lenswatch.server.values.refusals import JsonAnswer, Refusal

__all__ = ["Call", "Operation", "Operations", "Who", "reply"]


class Who(enum.Enum):
    """Callers that an operation admits; its endpoint checks permissions on the experiment."""

    ANYBODY = "anybody"  # an invalid token is treated as no token
    KNOWN = "known"  # a valid token
    REGISTERED = "registered"  # a valid token and a user record
    ADMIN = "admin"  # a valid token with an admin entitlement


@dataclass
class Call:
    """One request to an operation."""

    request: Request
    services: Services
    identity: Identity | None
    body: Any  # bytes, replaced by their checked content
    args: Mapping[str, Any]  # the checked query string
    connection: Connection = field(init=False)  # in the transaction of the endpoint
    caller: Caller | None = field(init=False, default=None)  # None if anonymous

    @property
    def experiment_id(self) -> str:
        """The experiment's id in the path, in lower case."""
        return str(self.request.path_params["experiment_id"])

    @property
    def drift_id(self) -> str:
        """The drift's id in the path, in lower case."""
        return str(self.request.path_params["drift_id"])


Endpoint = Callable[[Call], Response]
Together = Callable[[Sequence[Call]], Sequence[Response | Refusal]]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method on one path."""

    method: str
    path: str
    endpoint: Endpoint  # answers a checked call, within one database transaction
    who: Who
    body: Schema | None = None  # of a JSON body
    accepts: tuple[str, ...] = ()  # media types of a body that is not JSON
    interpret: Callable[[dict[str, Any]], Any] | None = None  # turns a body into what endpoints get
    args: Schema | None = None  # of the query string
    writes: bool = False  # the endpoint changes the database
    # Answers calls that are on the same experiment and wait for each other, in one transaction.
    together: Together | None = None
    repeatable: bool = False  # the endpoint may run again though it was perhaps committed
    slow: bool = False  # its statements may take long, so they have a time limit
    authorize: Callable[[Call], None] | None = None  # refuses a call before `prepare`
    prepare: Callable[[Call], None] | None = None  # long work outside of any transaction
    extension: bool = False  # not in the DriftWatch contract, so only under /api/latest
    success: int = 200
    returns: Schema | str | tuple[str, ...] | None = None  # of a success; media types if not JSON
    refusals: tuple[int, ...] = ()  # status codes of the other answers

    @property
    def searches(self) -> bool:
        """True if the body is a Mongo-style query."""
        return isinstance(self.body, QueryBody)


class Operations:
    """A list of operations, filled by decorators."""

    def __init__(self) -> None:
        self.all: list[Operation] = []

    def add(self, method_and_path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """Return a decorator for the endpoint of an operation with these `options`."""
        method, path = method_and_path.split()

        def register(endpoint: Endpoint) -> Endpoint:
            self.all.append(Operation(method=method, path=path, endpoint=endpoint, **options))
            return endpoint

        return register


def reply(record: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a JSON answer."""
    return JsonAnswer(record, code, headers=headers)
