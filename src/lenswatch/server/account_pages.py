"""Pages for logging in and out, and for API keys.

Every form carries a token that only we can make and that is bound to the browser's session; together with
the SameSite cookie and the check of Origin no other site can post them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import anyio.to_thread
from fastapi import APIRouter
from itsdangerous import BadData, URLSafeTimedSerializer
from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from lenswatch.errors import InputError
from lenswatch.server import keys, users
from lenswatch.server.assets import digest as assets_digest
from lenswatch.server.auth import Identity
from lenswatch.server.database import Database
from lenswatch.server.errors import Refusal, forbidden
from lenswatch.server.models import experiments
from lenswatch.server.oidc_login import OidcLogin
from lenswatch.server.reading import read_body
from lenswatch.server.sessions import COOKIE, SessionStore, from_here

__all__ = ["Account", "router"]

router = APIRouter(include_in_schema=False)
FORM_SECONDS = 3600
_MAX_FORM = 64 * 1024
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_environment = Environment(
    loader=PackageLoader("lenswatch.server", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
)


@dataclass(frozen=True)
class Account:
    """What these pages work with."""

    database: Database
    sessions: SessionStore
    key_bearer: keys.KeyBearer
    oidc: OidcLogin | None
    signer: URLSafeTimedSerializer

    @property
    def issuers(self) -> list[str]:
        """The providers that one may log in with, by host."""
        if self.oidc is None or not self.oidc.config.client_id:
            return []
        return [urlsplit(address).netloc for address in self.oidc.config.issuers]

    def form_token(self, request: Request) -> str:
        """What a form on a page for this browser must carry."""
        return str(self.signer.dumps(request.cookies.get(COOKIE, "")))

    def check_form(self, request: Request, form: dict[str, list[str]]) -> None:
        """403 unless the form is one that we gave this browser."""
        try:
            bound = self.signer.loads(form.get("form", [""])[0], max_age=FORM_SECONDS)
        except BadData:
            bound = None
        if bound != request.cookies.get(COOKIE, "") or not from_here(request):
            raise forbidden("This form has expired; load the page again.")


def _account(request: Request) -> Account:
    return cast(Account, request.app.state.account)


def _base(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/")


def _page(request: Request, template: str, code: int = 200, **values: Any) -> Response:
    base = _base(request)
    context = {
        "base": base,
        "static": f"{base}/static/{assets_digest()}",
        "form": _account(request).form_token(request),
        "problem": None,
        **values,
    }
    return HTMLResponse(_environment.get_template(template).render(context), code, headers=_HEADERS)


async def _form(request: Request) -> dict[str, list[str]]:
    body = await read_body(request, _MAX_FORM)
    try:
        form = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        raise Refusal(400, "Not a readable form.") from None
    _account(request).check_form(request, form)
    return form


@router.get("/login")
def login_page(request: Request) -> Response:
    """The ways to log in."""
    return _page(request, "login.html", issuers=_account(request).issuers)


@router.post("/login")
async def login_with_key(request: Request) -> Response:
    """Log in with an API key."""
    form = await _form(request)
    return await anyio.to_thread.run_sync(
        _login_with_key, request, form.get("key", [""])[0].strip()
    )


def _login_with_key(request: Request, key: str) -> Response:
    account = _account(request)
    try:
        identity = account.key_bearer.find(key)
    except Refusal:
        problem = "That is no valid API key."
        return _page(request, "login.html", 401, issuers=account.issuers, problem=problem)
    return _logged_in(request, identity)


def _logged_in(request: Request, identity: Identity) -> Response:
    response = RedirectResponse(_base(request) + "/", 303)
    _account(request).sessions.open(request, response, identity)
    return response


@router.get("/login/oidc/{position}")
async def login_with_provider(request: Request, position: str) -> Response:
    """To a provider."""
    oidc = _oidc(request)
    return await oidc.begin(request, position, str(request.url_for("login_callback")))


@router.get("/login/callback")
async def login_callback(request: Request) -> Response:
    """Back from a provider."""
    identity = await _oidc(request).finish(request, str(request.url_for("login_callback")))
    return await anyio.to_thread.run_sync(_registered, request, identity)


def _registered(request: Request, identity: Identity) -> Response:
    if identity.user:
        with _account(request).database.write() as connection:
            users.ensure_user(connection, identity)
    return _logged_in(request, identity)


def _oidc(request: Request) -> OidcLogin:
    oidc = _account(request).oidc
    if oidc is None:
        raise Refusal(404, "Not found.")
    return oidc


@router.post("/logout")
async def logout(request: Request) -> Response:
    """Log out."""
    await _form(request)
    response = RedirectResponse(_base(request) + "/login", 303)
    await anyio.to_thread.run_sync(_account(request).sessions.close, request, response)
    return response


@router.get("/keys")
def keys_page(request: Request) -> Response:
    """All API keys. Administrators only."""
    if _account(request).sessions.identify(request) is None:
        return RedirectResponse(_base(request) + "/login", 303)
    _require_admin(request)
    return _keys_page(request)


@router.post("/keys")
async def make_key(request: Request) -> Response:
    """Make a key, and show it once."""
    return await anyio.to_thread.run_sync(_make_key, request, await _form(request))


def _make_key(request: Request, form: dict[str, list[str]]) -> Response:
    _require_admin(request)
    name, level = form.get("name", [""])[0].strip(), form.get("level", [""])[0]
    try:
        with _account(request).database.write() as connection:
            key, secret = keys.new_key(connection, name, level, form.get("experiments"))
    except InputError as error:
        return _keys_page(request, 422, problem=str(error))
    return _keys_page(request, made=key.name, secret=secret)


@router.post("/keys/{key_id}/revoke")
async def revoke_key(request: Request, key_id: str) -> Response:
    """Revoke a key."""
    await _form(request)
    return await anyio.to_thread.run_sync(_revoke_key, request, key_id)


def _revoke_key(request: Request, key_id: str) -> Response:
    _require_admin(request)
    try:
        with _account(request).database.write() as connection:
            keys.revoke(connection, key_id)
    except InputError as error:
        raise Refusal(404, str(error)) from None
    return RedirectResponse(_base(request) + "/keys", 303)


def _require_admin(request: Request) -> None:
    identity = _account(request).sessions.identify(request)
    if identity is None or not (identity.admin and identity.user):
        raise forbidden()


def _keys_page(request: Request, code: int = 200, **values: Any) -> Response:
    with _account(request).database.read() as connection:
        stored = keys.stored_keys(connection)
        rows = connection.execute(select(experiments.c.id, experiments.c.name).limit(1000)).all()
    context = {
        "keys": stored,
        "levels": keys.KEY_LEVELS,
        "experiments": rows,
        "names": {row.id: row.name for row in rows},
        "secret": None,
        "made": None,
    }
    return _page(request, "keys.html", code, **context | values)
