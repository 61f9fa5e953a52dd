"""The application: the API under its two prefixes, the pages, and the routes for operators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from itsdangerous import URLSafeTimedSerializer
from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from lenswatch.config import Config
from lenswatch.errors import ServerError
from lenswatch.server.alerts import api as alerts_api
from lenswatch.server.alerts.gauges import AlertGauges
from lenswatch.server.db.database import Database, Outage, QueryRefused
from lenswatch.server.db.upgrade import prepare
from lenswatch.server.experiments import api as experiments_api
from lenswatch.server.experiments import users
from lenswatch.server.feedback import annotations as annotations_api
from lenswatch.server.feedback import baseline_requests, cleaning, quality, verdicts
from lenswatch.server.http import execute, health, openapi
from lenswatch.server.http.guard import LoopbackOnly
from lenswatch.server.http.logs import make_log
from lenswatch.server.http.metrics import Metrics
from lenswatch.server.http.operations import Operation
from lenswatch.server.http.services import DEFAULT_LIMITS, Limits, Services
from lenswatch.server.http.telemetry import REQUEST_ID, SHOWN, Telemetry
from lenswatch.server.identity.account import Account
from lenswatch.server.identity.fetching import host_of, tls_context
from lenswatch.server.identity.identity import (
    Authenticator,
    Bearer,
    LocalAuthenticator,
    TokenAuthenticator,
)
from lenswatch.server.identity.keys import KeyBearer
from lenswatch.server.identity.oidc import OidcBearer
from lenswatch.server.identity.oidc_login import OidcLogin
from lenswatch.server.identity.sessions import SessionStore, shared_secret
from lenswatch.server.jobs import api as jobs_api
from lenswatch.server.jobs import (
    events,
    exports,
    live,
    overview,
    picture_batch,
    pictures,
    reference_pictures,
    retention,
    series,
    storage,
    streams,
)
from lenswatch.server.jobs.gauges import JobGauges
from lenswatch.server.pages import account, dashboard
from lenswatch.server.pages.rendering import refuse
from lenswatch.server.upkeep.chores import chores
from lenswatch.server.upkeep.service import Upkeep
from lenswatch.server.values.refusals import NO_DATABASE, Refusal

__all__ = ["check_auth", "create_app"]

_CONTRACT = (users, experiments_api, jobs_api)
_JOBS = (
    *(pictures, picture_batch, reference_pictures),
    *(series, live, streams, events, overview),
)
_OURS = (
    *_JOBS,
    storage,
    retention,
    exports,
    annotations_api,
    baseline_requests,
    verdicts,
    quality,
    cleaning,
    alerts_api,
)
Responder = Callable[[Request, Refusal], Awaitable[Response]]
_MESSAGES = {404: "Not found.", 503: NO_DATABASE}
_CORS_METHODS = ("GET", "OPTIONS", "PUT", "POST", "PATCH", "DELETE")
_CORS_HEADERS = ("Authorization", "Content-Type", "Accept")
_EXPOSED = ("*", "X-Pagination", "X-Request-ID", "ETag")  # some browsers do not know "*"


def create_app(
    config: Config, *, migrate: bool = True, limits: Limits = DEFAULT_LIMITS
) -> Starlette:
    """Return the ASGI application for `config`, on a database that `migrate` brings up to date.

    Raises:
        ServerError: The database or the settings in `server.auth` cannot be used.
    """
    check_auth(config)
    work = chores(config)
    prepare(config.database_url, migrate=migrate)
    database = Database(config.database_url)
    app = _starlette(lifespan=_lifespan)
    app.state.log = make_log(config.server.log_level)
    app.state.metrics = Metrics([JobGauges(database), AlertGauges(database)])
    authenticator = _authenticator(config, database, app)
    app.state.services = Services(
        database, authenticator, config.server.max_body_bytes, limits, config.server
    )
    app.state.upkeep = Upkeep(database, work, app.state.log)
    app.router.routes += [*health.routes(), *_api_mounts(app), *dashboard.routes]
    if config.server.auth.mode != "none":
        app.router.routes += account.routes
    _handle_errors(app, refuse)
    _add_middleware(app, config)
    return app


def _starlette(**options: Any) -> Starlette:
    app = Starlette(**options)
    app.router.redirect_slashes = False  # a trailing slash is 404
    return app


def check_auth(config: Config) -> None:
    """Raise a ServerError unless the settings in `server.auth` can be used."""
    auth = config.server.auth
    for issuer in auth.issuers:
        if not host_of(issuer):
            raise ServerError(
                f'server.auth.issuers: "{issuer}" is not the address of an identity provider; it must '
                "begin with https:// and have a host"
            )
    if auth.mode != "oidc":
        return
    if not auth.issuers:
        raise ServerError(
            'server.auth.mode = "oidc" needs server.auth.issuers, the addresses of the identity providers'
        )
    if not auth.user_entitlements:
        raise ServerError(
            'server.auth.mode = "oidc" needs server.auth.user_entitlements, of which a user must hold one; '
            '["*"] accepts every account of the issuers'
        )
    tls_context()


def _authenticator(config: Config, database: Database, app: Starlette) -> Authenticator:
    auth = config.server.auth
    if auth.mode == "none":
        with database.write() as connection:
            users.ensure_user(connection, LocalAuthenticator.identity)
        return LocalAuthenticator()
    key_bearer = KeyBearer(database)
    oidc_bearer = OidcBearer(auth) if auth.mode == "oidc" else None
    bearers: list[Bearer] = [key_bearer, *([oidc_bearer] if oidc_bearer else [])]
    sessions = SessionStore(database, bearers)
    secret = shared_secret(database)
    login = OidcLogin(auth, oidc_bearer, secret) if oidc_bearer else None
    signer = URLSafeTimedSerializer(secret, salt="lenswatch.form")
    app.state.account = Account(database, sessions, key_bearer, login, signer)
    return TokenAuthenticator(bearers, sessions)


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    services: Services = app.state.services
    upkeep: Upkeep = app.state.upkeep
    upkeep.start()
    yield
    services.stopping.set()
    await anyio.to_thread.run_sync(upkeep.stop)
    await anyio.to_thread.run_sync(services.database.close)


def _api_mounts(app: Starlette) -> list[Mount]:
    operations = [
        operation for module in (*_CONTRACT, *_OURS) for operation in module.operations.all
    ]
    contract = [operation for operation in operations if not operation.extension]
    app.state.api = _api("latest", operations, app.state)  # pages ask it too
    return [
        Mount("/api/v1", _api("v1", contract, app.state)),
        Mount("/api/latest", app.state.api),
    ]


def _api(version: str, operations: list[Operation], state: State) -> Starlette:
    """Return the API as an application of its own, whose errors are always JSON."""

    def specification(request: Request) -> Response:
        return JSONResponse(openapi.document(operations, version, request.scope["root_path"]))

    api = _starlette(
        routes=[
            *execute.routes(operations),
            Route("/", lambda _: Response(status_code=204)),
            Route("/specification.json", specification),
        ]
    )
    api.state = state
    _handle_errors(api, _in_json)
    return api


def _handle_errors(app: Starlette, respond: Responder) -> None:
    """Answer each exception by what `respond` makes of its refusal."""

    async def handle(request: Request, error: Exception) -> Response:
        return await respond(request, _refusal_for(request, error))

    for kind in (Refusal, HTTPException, Outage, QueryRefused, Exception):
        app.add_exception_handler(kind, handle)


def _refusal_for(request: Request, error: Exception) -> Refusal:
    match error:
        case Refusal():
            return error
        case HTTPException(status_code=code):
            return Refusal(code, _MESSAGES.get(code), headers=error.headers)
        case Outage() | QueryRefused():
            request.app.state.log.warning(
                "outage",
                request_id=request.scope.get(REQUEST_ID),
                path=request.scope["path"][:SHOWN],
                reason=str(error),
            )
            return Refusal(503, NO_DATABASE, headers={"Retry-After": "2"})
    return Refusal(500)


async def _in_json(_request: Request, refusal: Refusal) -> Response:
    return refusal.response()


def _add_middleware(app: Starlette, config: Config) -> None:
    """Add the middleware; the last one is the outermost."""
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
    app.add_middleware(Telemetry, log=app.state.log, metrics=app.state.metrics, refuse=refuse)
