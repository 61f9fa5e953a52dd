"""The tracking server's API as a caller sees it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from lenswatch.config import AuthConfig, Config, ServerConfig
from support.samples import JOB


@dataclass(frozen=True)
class Api:
    """A client of the API with one token and one prefix."""

    client: TestClient
    token: str | None = None
    prefix: str = "/api/latest"
    headers: dict[str, str] = field(default_factory=dict)

    def as_(self, token: str | None) -> Api:
        """Return a client with another token."""
        return replace(self, token=token)

    def under(self, prefix: str) -> Api:
        """Return a client with another prefix."""
        return replace(self, prefix=prefix)

    def __call__(self, method: str, path: str, **options: Any) -> Any:
        headers = self.headers | options.pop("headers", {})
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        return self.client.request(method, self.prefix + path, headers=headers, **options)

    def get(self, path: str, **options: Any) -> Any:
        return self("GET", path, **options)

    def put(self, path: str, **options: Any) -> Any:
        return self("PUT", path, **options)

    def post(self, path: str, **options: Any) -> Any:
        return self("POST", path, **options)

    def delete(self, path: str, **options: Any) -> Any:
        return self("DELETE", path, **options)

    def me(self) -> str:
        """Return the caller's user id."""
        return str(self.get("/user/self").json()["id"])

    def experiment(self, name: str = "", **fields: Any) -> dict[str, Any]:
        """A new experiment."""
        body = {"name": name or uuid.uuid4().hex, **fields}
        answer = self.post("/experiment", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def drift(self, experiment: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """A new drift job."""
        body = JOB | fields
        answer = self.post(f"/experiment/{experiment['id']}/drift", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def search(self, experiment: dict[str, Any], query: Any, **params: Any) -> Any:
        """A search in an experiment's jobs."""
        path = f"/experiment/{experiment['id']}/drift/search"
        return self.post(path, json=query, params=params)


def config_for(url: str, root: Path, **settings: Any) -> Config:
    """Settings of a server on the database `url`."""
    auth = AuthConfig(**settings.pop("auth", {}))
    return Config(server=ServerConfig(database=url, auth=auth, **settings), root=root)


def registered(api: Api, token: str) -> Api:
    """Register a new user and return a client with their token."""
    answer = api.as_(token).post("/user")
    assert answer.status_code == 201, answer.text
    return api.as_(token)
