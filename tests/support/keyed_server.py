"""A tracking server with API keys in a process of its own, and the key of a node."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from lenswatch.config import AuthConfig, Config, ServerConfig, TrackingConfig
from lenswatch.server.identity.keys import create_key
from support.databases import own_database
from support.servers import served


@dataclass(frozen=True)
class Keyed:
    """A tracking server with API keys, and the key "buoy-7" of a node."""

    address: str
    key: str

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """Return the record that a request is answered by."""
        headers = {"Authorization": f"Bearer {self.key}"}
        url = f"{self.address}/api/latest{path}"
        answer = requests.request(method, url, headers=headers, timeout=60, **options)
        answer.raise_for_status()
        return answer.json()

    def annotations(self, experiment: str) -> Any:
        return self.ask("GET", f"/experiment/{experiment}/annotation")

    def tracking(self, experiment: str) -> TrackingConfig:
        """Return a node's settings for an experiment by its name."""
        return TrackingConfig(url=self.address, experiment=experiment, auth="token", token=self.key)


@contextlib.contextmanager
def keyed_server(database: str, folder: Path) -> Iterator[Keyed]:
    """Run a server on one of the DATABASES."""
    auth: dict[str, Any] = {"mode": "keys"}
    with own_database(database, folder) as url:
        config = Config(server=ServerConfig(database=url, auth=AuthConfig(**auth)))
        key = create_key(config, "buoy-7", level="Edit")[1]
        with served(folder, database=url, auth=auth) as running:
            yield Keyed(running.address, key)
