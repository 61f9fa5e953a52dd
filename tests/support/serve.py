"""A tracking server as a script: `python -P serve.py SETTINGS FOLDER`.

SETTINGS are those of [server], as JSON, and more: "limits" as in `Limits`, and "app", a name in APPS.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from lenswatch.config import AlertsConfig, AuthConfig, Config, ServerConfig
from lenswatch.errors import ServerError
from lenswatch.server import run
from lenswatch.server.app import create_app
from lenswatch.server.http.services import Limits
from lenswatch.server.upkeep.chores import chores
from lenswatch.server.upkeep.service import Upkeep


def unusable(*_: Any, **__: Any) -> Starlette:
    """An application that cannot be made."""
    raise ServerError("no such secret")


def breaking_off(*given: Any, **options: Any) -> Starlette:
    """An application that fails in the middle of its answer at /broken."""

    async def body() -> AsyncIterator[bytes]:
        yield b"begun"
        raise ValueError("no more")

    async def broken(_request: Request) -> Response:
        return StreamingResponse(body())

    app = create_app(*given, **options)
    app.add_route("/broken", broken)
    return app


def not_sending(config: Config, **options: Any) -> Starlette:
    """An application that decides about messages and sends none."""
    app = create_app(config, **options)
    work = [chore for chore in chores(config) if chore.name != "deliveries"]
    app.state.upkeep = Upkeep(app.state.services.database, work, app.state.log)
    return app


APPS = {
    "usual": create_app,
    "unusable": unusable,
    "breaking off": breaking_off,
    "not sending": not_sending,
}


def main(
    folder: Path,
    auth: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
    alerts: dict[str, Any] | None = None,
    app: str = "usual",
    **settings: Any,
) -> None:
    """Serve until a signal comes."""
    server = ServerConfig(
        auth=AuthConfig(**(auth or {})), alerts=AlertsConfig(**(alerts or {})), **settings
    )
    config = Config(server=server, root=folder)
    try:
        run.serve(config, limits=Limits(**(limits or {})), make_app=APPS[app])
    except ServerError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[2]), **json.loads(sys.argv[1]))
