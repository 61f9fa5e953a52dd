"""Protection of a server without accounts, which is for this machine only.

Any name can be made to resolve to this machine (DNS rebinding), and any page in the browser can
post to it. So the Host must be a loopback name, and an Origin must be this server itself or one of
`server.cors_origins`.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lenswatch.server.values.loopback import is_loopback
from lenswatch.server.values.refusals import OTHER_SITE, refusal

__all__ = ["LoopbackOnly"]

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?\Z")
_NO_ACCOUNTS = (
    "This server has no accounts, so it answers only requests to localhost. "
    "Set server.auth.mode to keys or oidc to reach it by another name."
)


class LoopbackOnly:
    """Middleware that answers 403 to requests to another Host or from another Origin."""

    def __init__(self, app: ASGIApp, origins: Collection[str] = ()) -> None:
        self.app = app
        self.origins = frozenset(origin.rstrip("/") for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and (problem := self._problem(scope)):
            await refusal(403, problem)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _problem(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        written = _HOST.match(host)
        if not written or not is_loopback(written["name"]):
            return _NO_ACCOUNTS
        origin = headers.get("origin")
        if origin is not None and origin.rstrip("/") not in self.origins | {
            f"http://{host}",
            f"https://{host}",
        }:
            return OTHER_SITE
        same_site = headers.get("sec-fetch-site") in (None, "same-origin", "same-site", "none")
        if not same_site and origin is None and scope["method"] not in ("GET", "HEAD"):
            return OTHER_SITE
        return None
