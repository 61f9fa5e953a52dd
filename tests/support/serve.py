"""Be a tracking server: `python -P serve.py SETTINGS FOLDER`. SETTINGS are those of [server], as JSON.

Under "first" they may hold a statement that each process of the server runs before all else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lenswatch.config import AuthConfig, Config, ServerConfig
from lenswatch.errors import ServerError
from lenswatch.server import run
from lenswatch.server.http import connections

__all__ = ["connections", "run"]


def main(folder: Path, auth: dict[str, Any] | None = None, **settings: Any) -> None:
    """Serve until a signal comes."""
    server = ServerConfig(auth=AuthConfig(**(auth or {})), **settings)
    try:
        run.serve(Config(server=server, root=folder))
    except ServerError as error:
        sys.exit(str(error))


if __name__ in ("__main__", "__mp_main__"):  # workers import this file under the second name
    given = json.loads(sys.argv[1])
    exec(given.pop("first", ""))
    if __name__ == "__main__":
        main(Path(sys.argv[2]), **given)
