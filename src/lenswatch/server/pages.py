"""The dashboard: two pages, and the files they load.

The pages are shells without data; their scripts ask the REST API for it, as any client would, so
that one set of permissions governs both. All addresses are relative, so the pages work under any
sub-path that a proxy puts before them.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, HTTPException, Request, Response
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, PackageLoader, StrictUndefined

from lenswatch.server import assets

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_templates = Jinja2Templates(
    env=Environment(
        loader=PackageLoader("lenswatch.server", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
    )
)

_PAGE_HEADERS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
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
_FOR_EVER = "public, max-age=31536000, immutable"


@router.api_route("/", methods=["GET", "HEAD"])
def overview(request: Request) -> Response:
    """All experiments; the page goes straight into the only one."""
    return _page(request, "overview.html", base=".")


@router.api_route("/experiment/{experiment_id}", methods=["GET", "HEAD"])
def experiment(request: Request, experiment_id: str) -> Response:
    """One experiment: state, chart, jobs, and one job in detail."""
    try:
        experiment_id = str(UUID(experiment_id))
    except ValueError:
        raise HTTPException(404, "Experiment not found.") from None
    return _page(request, "experiment.html", base="..", experiment_id=experiment_id)


@router.api_route("/static/{digest}/{name}", methods=["GET", "HEAD"])
def static(
    digest: str, name: str, accept_encoding: Annotated[str, Header()] = "identity"
) -> Response:
    """A file of the dashboard; kept for ever by browsers, as its digest is in its address."""
    found = assets.asset(name)
    if found is None:
        raise HTTPException(404, "File not found.")
    zipped = "gzip" in accept_encoding
    headers = {
        "Cache-Control": _FOR_EVER if digest == assets.digest() else "no-cache",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    } | ({"Content-Encoding": "gzip"} if zipped else {})
    body = found.compressed if zipped else found.content
    return Response(body, media_type=found.media_type, headers=headers)


def _account_link(request: Request) -> tuple[str, str] | None:
    """Where to log in, or what one can do once that is done; None where there are no accounts."""
    account = getattr(request.app.state, "account", None)
    if account is None:
        return None
    known = account.sessions.identify(request) is not None
    return ("keys", "API keys") if known else ("login", "Log in")


def _page(request: Request, template: str, base: str, **values: str) -> Response:
    context = {
        "base": base,
        "static": f"{base}/static/{assets.digest()}",
        "plotly": assets.PLOTLY,
        "plotly_style_ids": assets.plotly_style_ids(),
        "account_link": _account_link(request),
        **values,
    }
    return _templates.TemplateResponse(request, template, context, headers=_PAGE_HEADERS)
