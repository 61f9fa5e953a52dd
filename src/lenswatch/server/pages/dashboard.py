"""The addresses of the pages, and the files they load."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lenswatch.server.pages import assets
from lenswatch.server.pages.admin import access, alerts, storage
from lenswatch.server.pages.admin_acts import act
from lenswatch.server.pages.camera import camera, chart
from lenswatch.server.pages.event import event
from lenswatch.server.pages.overview import overview
from lenswatch.server.pages.pulse import pulse
from lenswatch.server.pages.rendering import accepts

__all__ = ["routes"]

_CACHED = "public, max-age=31536000, immutable"


def static(request: Request) -> Response:
    """Send a dashboard file; browsers cache it indefinitely if its address has the current digest."""
    found = assets.asset(request.path_params["name"])
    if found is None:
        raise HTTPException(404, "File not found.")
    zipped = accepts(request.headers.get("accept-encoding", ""), "gzip", "*")
    current = request.path_params["digest"] == assets.digest()
    headers = {
        "Cache-Control": _CACHED if current else "no-cache",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    } | ({"Content-Encoding": "gzip"} if zipped else {})
    body = found.compressed if zipped else found.content
    return Response(body, media_type=found.media_type, headers=headers)


routes = [
    Route("/", overview),
    Route("/pulse", pulse),
    Route("/act", act, methods=["POST"]),
    Route("/experiment/{experiment_id}", camera),
    Route("/experiment/{experiment_id}/chart", chart),
    Route("/experiment/{experiment_id}/event/{event_id}", event),
    Route("/alerts", alerts),
    Route("/storage", storage),
    Route("/access", access),
    Route("/static/{digest}/{name}", static),
]
