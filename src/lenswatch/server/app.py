"""The application: the API under both its prefixes, the pages, and what an operator asks."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from lenswatch.config import Config
from lenswatch.errors import ServerError
from lenswatch.server import drifts, experiments, images, live, openapi, overview, users
from lenswatch.server.auth import Authenticator, LocalAuthenticator
from lenswatch.server.database import POOL_SIZE, Database, prepare
from lenswatch.server.errors import Refusal, refusal
from lenswatch.server.guard import LoopbackOnly
from lenswatch.server.operations import Operation, Services

__all__ = ["create_app"]

_log = logging.getLogger(__name__)
_MESSAGES = {404: "Not found.", 503: "The database does not answer."}
_CORS_METHODS = ("GET", "OPTIONS", "PUT", "POST", "PATCH", "DELETE")
_CORS_HEADERS = ("Authorization", "Content-Type", "Accept")
_EXPOSED = ("X-Pagination", "X-Request-ID", "ETag")


def create_app(config: Config, *, migrate: bool = True) -> FastAPI:
    """The ASGI application for `config`. Brings the database up to date, unless `migrate` is off.

    Raises:
        ServerError: the database cannot be used.
    """
    prepare(config.database_url, migrate=migrate)
    services = _services(config)
    app = FastAPI(
        title="Lenswatch",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.state.services = services
    app.state.config = config
    operations = [
        operation
        for module in (users, experiments, drifts, images, overview, live)
        for operation in module.operations.all
    ]
    app.add_route("/healthz", _healthz)
    app.add_route("/readyz", _readyz)
    contract = [operation for operation in operations if not operation.own]
    app.mount("/api/v1", _api("v1", contract, services))
    app.mount("/api/latest", _api("latest", operations, services))
    _add_pages(app)
    _answer_errors(app)
    _add_middleware(app, config)
    return app


def _services(config: Config) -> Services:
    database = Database(config.database_url)
    limiter = anyio.CapacityLimiter(POOL_SIZE)
    return Services(
        database, _authenticator(config, database), config.server.max_body_bytes, limiter
    )


def _authenticator(config: Config, database: Database) -> Authenticator:
    if config.server.auth.mode != "none":
        raise ServerError(f'server.auth.mode = "{config.server.auth.mode}": not there yet')
    with database.write() as connection:
        users.ensure_user(connection, LocalAuthenticator.identity)
    return LocalAuthenticator()


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    services: Services = app.state.services
    services.stopping.set()
    await anyio.to_thread.run_sync(services.database.close)


def _api(version: str, operations: Iterable[Operation], services: Services) -> FastAPI:
    """The API as one application, to be mounted under a prefix."""
    api = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    api.state.services = services
    operations = list(operations)
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    for path, methods in by_path.items():
        api.add_route(
            path.replace("_id}", "_id:lower_uuid}"), _dispatcher(methods), methods=list(methods)
        )

    def specification(request: Request) -> Response:
        return JSONResponse(openapi.document(operations, version, request.scope["root_path"]))

    api.add_route("/", lambda _: Response(status_code=204))
    api.add_route("/specification.json", specification)
    _answer_errors(api)
    return api


def _dispatcher(methods: dict[str, Operation]) -> Any:
    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await methods[method].endpoint(request)

    return endpoint


def _answer_errors(app: FastAPI) -> None:
    app.add_exception_handler(Refusal, _answer_refusal)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(DBAPIError, _answer_database)
    app.add_exception_handler(Exception, _answer_crash)


async def _answer_refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error.response()


async def _answer_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(error.status_code, _MESSAGES.get(error.status_code), headers=error.headers)


async def _answer_database(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DBAPIError)
    if error.connection_invalidated or "locked" in str(error.orig):
        return refusal(503, _MESSAGES[503], headers={"Retry-After": "2"})
    _log.error("The database refused a statement", exc_info=error)
    return refusal(500)


async def _answer_crash(_request: Request, _error: Exception) -> Response:
    return refusal(500)


def _healthz(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _readyz(request: Request) -> Response:
    try:
        request.app.state.services.database.ping()
    except DBAPIError:
        return refusal(503, _MESSAGES[503])
    return JSONResponse({"status": "ok"})


def _add_pages(app: FastAPI) -> None:
    if importlib.util.find_spec("lenswatch.server.pages") is None:
        return
    from lenswatch.server.pages import router

    app.include_router(router)
    static = Path(__file__).with_name("static")
    if static.is_dir():
        app.mount("/static", StaticFiles(directory=static), name="static")


def _add_middleware(app: FastAPI, config: Config) -> None:
    if config.server.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.server.cors_origins,
            allow_methods=_CORS_METHODS,
            allow_headers=_CORS_HEADERS,
            expose_headers=_EXPOSED,
            max_age=100,
        )
    if config.server.auth.mode == "none":
        app.add_middleware(LoopbackOnly, origins=config.server.cors_origins)
