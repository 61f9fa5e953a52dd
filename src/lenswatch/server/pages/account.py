"""Pages for logging in and out, and for API keys.

Every form carries a token that is signed by the server and bound to the browser's session. Together
with the SameSite cookie and the check of Origin, it prevents other sites from posting forms.
"""

from __future__ import annotations

from typing import Any, cast

import anyio.to_thread
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from lenswatch.errors import InputError
from lenswatch.server.db.tables import experiments
from lenswatch.server.experiments import users
from lenswatch.server.identity import keys
from lenswatch.server.identity.account import Account
from lenswatch.server.identity.identity import Identity
from lenswatch.server.identity.oidc_login import OidcLogin
from lenswatch.server.pages.forms import read_form
from lenswatch.server.pages.rendering import NOT_STORED, page, visitor_of
from lenswatch.server.values.refusals import Refusal, forbidden, unauthorized

__all__ = ["routes"]


def _account(request: Request) -> Account:
    return cast(Account, request.app.state.account)


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/")


def login_page(request: Request) -> Response:
    """Show the ways to log in."""
    return _login_page(request)


def _login_page(request: Request, refused: Refusal | None = None, problem: str = "") -> Response:
    code, headers = (refused.code, refused.headers) if refused else (200, {})
    issuers = _account(request).issuers
    return page(
        request, "login.html", code, headers=headers | NOT_STORED, issuers=issuers, problem=problem
    )


async def login_with_key(request: Request) -> Response:
    """Log in with an API key."""
    form = await read_form(request)
    return await anyio.to_thread.run_sync(
        _login_with_key, request, form.get("key", [""])[0].strip()
    )


def _login_with_key(request: Request, key: str) -> Response:
    try:
        identity = _account(request).key_bearer.find(key)
    except Refusal as refused:
        return _login_page(request, refused, "That API key is not valid.")
    return _logged_in(request, identity)


def _logged_in(request: Request, identity: Identity) -> Response:
    response = RedirectResponse(_root(request) + "/", 303)
    _account(request).sessions.open(request, response, identity)
    return response


async def login_with_provider(request: Request) -> Response:
    """Send the browser to an identity provider."""
    position, back = request.path_params["position"], str(request.url_for("login_callback"))
    return await _oidc(request).begin(request, position, back)


async def login_callback(request: Request) -> Response:
    """Log in when the browser returns from an identity provider."""
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


async def logout(request: Request) -> Response:
    """Log out."""
    await read_form(request)
    response = RedirectResponse(_root(request) + "/login", 303)
    await anyio.to_thread.run_sync(_account(request).sessions.close, request, response)
    return response


def keys_page(request: Request) -> Response:
    """Show all API keys, to administrators only."""
    if not visitor_of(request).logged_in:
        return RedirectResponse(_root(request) + "/login", 303)
    _require_admin(request)
    return _keys_page(request)


async def make_key(request: Request) -> Response:
    """Create an API key, and show it once."""
    return await anyio.to_thread.run_sync(_make_key, request, await read_form(request))


def _make_key(request: Request, form: dict[str, list[str]]) -> Response:
    _require_admin(request)
    name, level = form.get("name", [""])[0].strip(), form.get("level", [""])[0]
    try:
        with _account(request).database.write() as connection:
            key, secret = keys.new_key(connection, name, level, form.get("experiments"))
    except InputError as error:
        return _keys_page(request, 422, problem=_sentence(error))
    return _keys_page(request, made=key.name, secret=secret)


async def revoke_key(request: Request) -> Response:
    """Revoke an API key."""
    await read_form(request)
    return await anyio.to_thread.run_sync(_revoke_key, request)


def _revoke_key(request: Request) -> Response:
    _require_admin(request)
    try:
        with _account(request).database.write() as connection:
            keys.revoke(connection, request.path_params["key_id"])
    except InputError as error:
        raise Refusal(404, _sentence(error)) from None
    return RedirectResponse(_root(request) + "/keys", 303)


def _require_admin(request: Request) -> None:
    visitor = visitor_of(request)
    if not visitor.logged_in:
        raise unauthorized("You are no longer logged in.")
    if not visitor.admin:
        raise forbidden("API keys are for administrators only.")


def _sentence(error: InputError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


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
        "problem": "",
    }
    return page(request, "keys.html", code, **context | values)


routes = [
    Route("/login", login_page),
    Route("/login", login_with_key, methods=["POST"]),
    Route("/login/oidc/{position}", login_with_provider),
    Route("/login/callback", login_callback),
    Route("/logout", logout, methods=["POST"]),
    Route("/keys", keys_page),
    Route("/keys", make_key, methods=["POST"]),
    Route("/keys/{key_id}/revoke", revoke_key, methods=["POST"]),
]
