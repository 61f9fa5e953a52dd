"""The dashboard: two pages, and the files they load.

The pages are shells without data; their scripts ask the REST API for it, as any client would, so
that one set of permissions governs both.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, HTTPException, Request, Response

from lenswatch.server.pages import assets
from lenswatch.server.pages.rendering import accepts, page

__all__ = ["router"]

router = APIRouter(include_in_schema=False)
_FOR_EVER = "public, max-age=31536000, immutable"


@router.api_route("/", methods=["GET", "HEAD"])
def overview(request: Request) -> Response:
    """All experiments; the page goes straight into the only one."""
    return page(request, "overview.html")


@router.api_route("/experiment/{experiment_id}", methods=["GET", "HEAD"])
def experiment(request: Request, experiment_id: str) -> Response:
    """One experiment: state, chart, jobs, and one job in detail."""
    try:
        experiment_id = str(UUID(experiment_id))
    except ValueError:
        raise HTTPException(404, "Experiment not found.") from None
    return page(
        request,
        "experiment.html",
        experiment_id=experiment_id,
        plotly=assets.PLOTLY,
        plotly_style_ids=assets.plotly_style_ids(),
    )


@router.api_route("/static/{digest}/{name}", methods=["GET", "HEAD"])
def static(
    digest: str, name: str, accept_encoding: Annotated[str, Header()] = "identity"
) -> Response:
    """A file of the dashboard; kept for ever by browsers, as its digest is in its address."""
    found = assets.asset(name)
    if found is None:
        raise HTTPException(404, "File not found.")
    zipped = accepts(accept_encoding, "gzip", "*")
    headers = {
        "Cache-Control": _FOR_EVER if digest == assets.digest() else "no-cache",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    } | ({"Content-Encoding": "gzip"} if zipped else {})
    body = found.compressed if zipped else found.content
    return Response(body, media_type=found.media_type, headers=headers)
