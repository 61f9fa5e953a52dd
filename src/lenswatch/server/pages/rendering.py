"""Rendering of pages: the templates, the headers, the login state, and error pages.

All addresses in pages are relative, so that they work under any path of a proxy.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

import anyio.to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from lenswatch.server.db.database import Outage
from lenswatch.server.identity.account import Account
from lenswatch.server.pages import assets
from lenswatch.server.pages.look import duration, look_of, remember
from lenswatch.server.pages.rule_forms import KINDS
from lenswatch.server.pages.sketches import deviation_cells, strip
from lenswatch.server.pages.words import WORDS
from lenswatch.server.values.refusals import Refusal

__all__ = ["NOT_STORED", "Visitor", "accepts", "here", "page", "refuse", "visitor_of", "with_query"]

NOT_STORED = {"Cache-Control": "no-store"}
_HEADERS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob:",  # of which plotly.js makes the PNG of a chart
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ]
    ),
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_FOR_PROGRAMS = frozenset({"api", "healthz", "readyz", "metrics"})
_HEADINGS = {
    401: "You are not logged in",
    403: "Not allowed",
    404: "Page not found",
    405: "Page not found",
    503: "Not available at the moment",
}
_NOTHING_HERE = "There is nothing at this address. It may be mistyped, or the page was deleted."
_PERHAPS_PRIVATE = "There is no such experiment, or it is private: log in to see those."
_environment = Environment(
    loader=PackageLoader("lenswatch.server.pages", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals.update(
    WORDS, duration=duration, strip=strip, deviation_cells=deviation_cells, kinds=KINDS
)


@dataclass(frozen=True)
class Visitor:
    """Login state of the visitor of a page."""

    accounts: bool = False  # one can log in
    logged_in: bool = False
    admin: bool = False


def visitor_of(request: Request) -> Visitor:
    """Return the visitor who sent `request`."""
    account = _account(request)
    if account is None:
        return Visitor()
    identity = account.sessions.identify(request)
    if identity is None:
        return Visitor(accounts=True)
    return Visitor(accounts=True, logged_in=True, admin=identity.admin and identity.user)


def page(
    request: Request,
    template: str,
    code: int = 200,
    *,
    visitor: Visitor | None = None,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> Response:
    """Return the page made of `template` and `values`; browsers do not store it for logged-in visitors."""
    visitor = visitor or visitor_of(request)
    account, base = _account(request), _base(request)
    look, address = look_of(request), here(request)
    token = account.form_token(request) if account else ""
    context = {
        "base": base,
        "here": address,
        "me": {"base": base, "here": address, "form": token},
        "look": look,
        "with_query": lambda **changes: with_query(request, **changes),
        "kept": lambda names: kept_fields(request, names),
        "static": f"{base}/static/{assets.digest()}",
        "visitor": visitor,
        "form": token,
        **values,
    }
    stored = NOT_STORED if visitor.logged_in else {}
    content = _environment.get_template(template).render(context)
    response = HTMLResponse(content, code, headers=_HEADERS | stored | dict(headers or {}))
    remember(request, response)
    return response


async def refuse(request: Request, refusal: Refusal) -> Response:
    """Return the answer for a refusal: a page for browsers, JSON for programs."""
    accept = request.headers.get("accept", "")
    if _part(request) in _FOR_PROGRAMS or not accepts(accept, "text/html"):
        return refusal.response()
    return await anyio.to_thread.run_sync(_error_page, request, refusal, abandon_on_cancel=True)


def accepts(header: str, *names: str) -> bool:
    """Return whether an Accept header accepts the first of `names` that it lists.

    >>> accepts("br, gzip;q=0.8", "gzip", "*"), accepts("gzip;q=0, *", "gzip", "*")
    (True, False)
    """
    listed = {}
    for item in header.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        listed[name] = not any(re.fullmatch(r"q=0(\.0*)?", part) for part in parameters)
    return next((listed[name] for name in names if name in listed), False)


def _error_page(request: Request, refusal: Refusal) -> Response:
    code, words, heading = refusal.code, refusal.message, "The request failed"
    visitor = _visitor_of_failed(request, code)
    private = code in (403, 404) and _part(request) == "experiment" and not visitor.logged_in
    closed = code == 401 or _part(request) == "login" or private
    log_in = _account(request) is not None and closed
    if request.method != "POST":
        heading = _HEADINGS.get(code, heading)
        words = _NOTHING_HERE if code in (404, 405) else words
        if private and log_in and code == 404:
            words = _PERHAPS_PRIVATE
    return page(
        request,
        "error.html",
        code,
        visitor=visitor,
        headers=refusal.headers | NOT_STORED,
        heading=heading,
        words=words or "The server could not answer this request.",
        log_in=log_in,
        again=None if log_in else _again(request, code),
    )


def _visitor_of_failed(request: Request, code: int) -> Visitor:
    """Return the visitor of a failed request; an anonymous one if the server failed."""
    try:
        return Visitor() if code >= 500 else visitor_of(request)
    except (Outage, Refusal):
        return Visitor()


def _again(request: Request, code: int) -> str | None:
    """Return the address of a link that tries again, or None if that is useless."""
    if request.method == "POST":
        return f"{_base(request)}/keys" if _part(request) == "keys" else None
    return "" if code >= 500 else None


def here(request: Request) -> str:
    """Return the page's own address below the server's root, without what a finished action left in it."""
    return (_path(request).lstrip("/") + with_query(request)).removesuffix("?")


def with_query(request: Request, **changes: Any) -> str:
    """Return the query string of the page with these parameters changed; None removes one."""
    left_out = {*changes, "done", "about", "undo"}
    pairs = request.query_params.multi_items()
    kept = [(key, value) for key, value in pairs if key not in left_out]
    kept += [(key, str(value)) for key, value in changes.items() if value not in (None, "")]
    return f"?{urlencode(kept)}" if kept else "?"


def kept_fields(request: Request, names: Collection[str]) -> Markup:
    """Return hidden fields that keep what the address sets, all but `names`, when a form is sent."""
    left_out = {*names, "done", "about", "undo"}
    field = Markup('<input type="hidden" name="{}" value="{}">')
    pairs = [pair for pair in request.query_params.multi_items() if pair[0] not in left_out]
    return Markup("").join(field.format(*pair) for pair in pairs)


def _account(request: Request) -> Account | None:
    return cast("Account | None", getattr(request.app.state, "account", None))


def _path(request: Request) -> str:
    """Return the path in the browser below the server's root, still percent-encoded."""
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    path: str = raw.decode("latin-1")
    return path.removeprefix(request.scope.get("root_path", "").rstrip("/"))


def _part(request: Request) -> str:
    """Return the first segment of the path."""
    return _path(request).lstrip("/").partition("/")[0]


def _base(request: Request) -> str:
    """Return the server's root, relative to the address of `request`."""
    return "/".join([".."] * (_path(request).count("/") - 1)) or "."
