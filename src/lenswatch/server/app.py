"""The application: the API under both its prefixes, the pages, and what an operator asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import anyio.to_thread
from fastapi import FastAPI
from itsdangerous import URLSafeTimedSerializer
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lenswatch.config import Config
from lenswatch.errors import ServerError
from lenswatch.server import (
    account_pages,
    drifts,
    experiments,
    images,
    live,
    openapi,
    overview,
    pages,
    users,
)
from lenswatch.server.account_pages import Account
from lenswatch.server.auth import (
    Authenticator,
    Identity,
    LocalAuthenticator,
    TokenAuthenticator,
    find_caller,
)
from lenswatch.server.database import Database, Outage, QueryRefused, prepare, shared_secret
from lenswatch.server.errors import Refusal, forbidden, refusal
from lenswatch.server.fetching import host_of, tls_context
from lenswatch.server.guard import LoopbackOnly
from lenswatch.server.keys import KeyBearer
from lenswatch.server.logs import make_log
from lenswatch.server.metrics import CONTENT_TYPE, Metrics
from lenswatch.server.observe import ROUTE, Observe
from lenswatch.server.oidc import OidcBearer
from lenswatch.server.oidc_login import OidcLogin
from lenswatch.server.operations import Operation, Services, Who, identify, in_thread
from lenswatch.server.sessions import SessionStore

__all__ = ["check_auth", "create_app"]

READY_SECONDS = 2.0  # within which the database must answer for us to be ready
_MESSAGES = {404: "Not found.", 503: "The database does not answer."}
_CORS_METHODS = ("GET", "OPTIONS", "PUT", "POST", "PATCH", "DELETE")
_CORS_HEADERS = ("Authorization", "Content-Type", "Accept")
_EXPOSED = ("*", "X-Pagination", "X-Request-ID", "ETag")  # named for browsers that know no "*"


def create_app(config: Config, *, migrate: bool = True) -> FastAPI:
    """The ASGI application for `config`. Brings the database up to date, unless `migrate` is off.

    Raises:
        ServerError: the database or the settings in `server.auth` cannot be used.
    """
    check_auth(config)
    prepare(config.database_url, migrate=migrate)
    database = Database(config.database_url)
    app = FastAPI(
        title="Lenswatch",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.state.log = make_log(config.server.log_level)
    app.state.metrics = Metrics(database)
    services = Services(
        database, _authenticator(config, database, app), config.server.max_body_bytes
    )
    app.state.services = services
    app.state.looking = None
    _add_api(app)
    app.include_router(pages.router)
    if config.server.auth.mode != "none":
        app.include_router(account_pages.router)
    _answer_errors(app)
    _add_middleware(app, config)
    return app


def check_auth(config: Config) -> None:
    auth = config.server.auth
    if auth.mode == "oidc" and not auth.issuers:
        raise ServerError(
            'server.auth.mode = "oidc" needs server.auth.issuers, the addresses of the identity providers'
        )
    if auth.mode == "oidc" and not auth.user_entitlements:
        raise ServerError(
            'server.auth.mode = "oidc" needs server.auth.user_entitlements: which entitlements make '
            'somebody a user; ["*"] takes every account of the issuers'
        )
    if auth.mode == "oidc":
        tls_context()
    for issuer in auth.issuers:
        if not host_of(issuer):
            raise ServerError(
                f'server.auth.issuers: "{issuer}" is no address of an identity provider; one begins with '
                "https:// and has a host"
            )


def _authenticator(config: Config, database: Database, app: FastAPI) -> Authenticator:
    auth = config.server.auth
    if auth.mode == "none":
        with database.write() as connection:
            users.ensure_user(connection, LocalAuthenticator.identity)
        return LocalAuthenticator()
    key_bearer = KeyBearer(database)
    sessions = SessionStore(database, key_bearer.refresh)
    secret = shared_secret(database)
    oidc_bearer = OidcBearer(auth) if auth.mode == "oidc" else None
    login = OidcLogin(auth, oidc_bearer, secret) if oidc_bearer else None
    signer = URLSafeTimedSerializer(secret, salt="lenswatch.form")
    app.state.account = Account(database, sessions, key_bearer, login, signer)
    return TokenAuthenticator([key_bearer, *([oidc_bearer] if oidc_bearer else [])], sessions)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    services: Services = app.state.services
    services.stopping.set()
    await anyio.to_thread.run_sync(services.database.close)


def _add_api(app: FastAPI) -> None:
    operations = [
        operation
        for module in (users, experiments, drifts, images, overview, live)
        for operation in module.operations.all
    ]
    app.add_route("/healthz", _healthz)
    app.add_route("/readyz", _readyz)
    app.add_route("/metrics", _metrics)
    contract = [operation for operation in operations if not operation.own]
    app.mount("/api/v1", _api("v1", contract, app))
    app.mount("/api/latest", _api("latest", operations, app))


def _api(version: str, operations: Iterable[Operation], whole: FastAPI) -> FastAPI:
    """The API as one application, to be mounted under a prefix."""
    api = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    api.state = whole.state
    operations = list(operations)
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    for path, methods in by_path.items():
        api.add_route(
            path.replace("_id}", "_id:lower_uuid}"),
            _dispatcher(path, methods),
            methods=list(methods),
        )

    def specification(request: Request) -> Response:
        return JSONResponse(openapi.document(operations, version, request.scope["root_path"]))

    api.add_route("/", lambda _: Response(status_code=204))
    api.add_route("/specification.json", specification)
    _answer_errors(api)
    return api


def _dispatcher(path: str, methods: dict[str, Operation]) -> Any:
    async def endpoint(request: Request) -> Response:
        request.scope[ROUTE] = path
        method = "GET" if request.method == "HEAD" else request.method
        return await methods[method].endpoint(request)

    return endpoint


def _answer_errors(app: FastAPI) -> None:
    app.add_exception_handler(Refusal, _answer_refusal)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Outage, _answer_outage)
    app.add_exception_handler(QueryRefused, _answer_outage)
    app.add_exception_handler(Exception, _answer_crash)


async def _answer_refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error.response()


async def _answer_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = _MESSAGES.get(error.status_code)
    return refusal(error.status_code, message, headers=error.headers)


async def _answer_outage(request: Request, error: Exception) -> Response:
    request.app.state.log.warning("outage", path=request.scope["path"], reason=str(error))
    return refusal(503, _MESSAGES[503], headers={"Retry-After": "2"})


async def _answer_crash(_request: Request, _error: Exception) -> Response:
    return refusal(500)


def _healthz(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _readyz(request: Request) -> Response:
    """One look at the database at a time, for however many ask."""
    state = request.app.state
    if state.looking is None or state.looking.done():
        look = anyio.to_thread.run_sync(_answers, state.services.database, abandon_on_cancel=True)
        state.looking = asyncio.create_task(look)
    await asyncio.wait({state.looking}, timeout=READY_SECONDS)
    if not state.looking.done() or not state.looking.result():
        return refusal(503, _MESSAGES[503], headers={"Retry-After": "2"})
    return JSONResponse({"status": "ok"})


def _answers(database: Database) -> bool:
    try:
        database.ping()
    except Outage:
        return False
    return True


async def _metrics(request: Request) -> Response:
    """For administrators, and for API keys that may read everywhere."""
    services: Services = request.app.state.services
    identity = await identify(services, request, Who.KNOWN)
    text = await in_thread(partial(_exposition, request), identity, services.readers)
    return Response(text, media_type=CONTENT_TYPE)


def _exposition(request: Request, identity: Identity | None) -> bytes:
    with request.app.state.services.database.read() as connection:
        caller = find_caller(connection, identity)
    grant = caller.identity.grant if caller else None
    if not ((caller and caller.admin) or (grant and grant.experiments is None)):
        raise forbidden()
    return cast(bytes, request.app.state.metrics.exposition())


def _add_middleware(app: FastAPI, config: Config) -> None:
    """The last one added is the outermost."""
    if config.server.auth.mode == "none":
        app.add_middleware(LoopbackOnly, origins=config.server.cors_origins)
    if config.server.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.server.cors_origins,
            allow_methods=_CORS_METHODS,
            allow_headers=_CORS_HEADERS,
            expose_headers=_EXPOSED,
            max_age=100,
        )
    app.add_middleware(Observe, log=app.state.log, metrics=app.state.metrics)
