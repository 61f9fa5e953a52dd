"""A tracking server for each test, on SQLite and on PostgreSQL, and an identity provider on loopback."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from sqlalchemy import event, text
from starlette.testclient import TestClient

from json_replies import JsonHandler
from lenswatch.config import AuthConfig, Config, ServerConfig
from lenswatch.server.app import create_app
from lenswatch.server.db.database import Database
from lenswatch.server.db.schema import prepare
from samples import JOB
from server.databases import DATABASES, own_postgres
from servers import Served, in_a_thread, served

TABLES = ("experiments", "users", "api_keys", "sessions", "settings")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL database that lives as long as the test run."""
    with own_postgres() as url:
        prepare(url)
        yield url


@pytest.fixture(scope="session")
def cleaner(postgres: str) -> Iterator[Database]:
    """A connection that stays, for emptying it."""
    database = Database(postgres)
    yield database
    database.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database with our schema."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    prepare(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """An empty SQLite database."""
    shutil.copy(sqlite_template, tmp_path / "server.db")
    return f"sqlite:///{tmp_path / 'server.db'}"


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database."""
    url: str
    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_url")
        return url
    url = request.getfixturevalue("postgres")
    cleaner: Database = request.getfixturevalue("cleaner")
    with cleaner.write() as connection:
        for table in TABLES:
            connection.execute(text(f"DELETE FROM {table}"))
    return url


@dataclass
class Account:
    """Somebody at the identity provider."""

    subject: str
    claims: dict[str, Any]


class Issuer:
    """A small OpenID Connect provider: discovery, keys, userinfo, and whatever tokens a test wants."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self.ec_key = ECKey.generate_key("P-256", {"kid": "two", "use": "sig"})
        self.accounts: dict[str, Account] = {}
        self.opaque: dict[str, str] = {}
        self.paths: list[str] = []
        self.discovery: dict[str, Any] = {}
        issuer = self

        class Handler(JsonHandler):
            def get(self) -> None:
                issuer.paths.append(self.path)
                self.reply(*issuer.answer(self.path, self.headers.get("Authorization", "")))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str, authorization: str) -> tuple[int, Any]:
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.address,
                "jwks_uri": f"{self.address}/jwks",
                "userinfo_endpoint": f"{self.address}/userinfo",
            } | self.discovery
        if path == "/jwks":
            return 200, {"keys": [k.as_dict(private=False) for k in (self.key, self.ec_key)]}
        account = self.accounts.get(self._subject(authorization.removeprefix("Bearer ")))
        return (200, account.claims) if account else (401, {})

    def _subject(self, token: str) -> str:
        if token in self.opaque:
            return self.opaque[token]
        try:
            return str(jwt.decode(token, self.key, algorithms=["RS256", "PS384"]).claims["sub"])
        except Exception:
            try:
                return str(jwt.decode(token, self.ec_key).claims["sub"])
            except Exception:
                return ""

    def account(self, subject: str, *roles: str, **claims: Any) -> str:
        """Somebody new, and a token for them; a claim given as None is left out of userinfo."""
        given = {
            "sub": subject,
            "email": f"{subject}@example.org",
            "email_verified": True,
            "realm_access": {"roles": list(roles)},
        } | claims
        self.accounts[subject] = Account(subject, {k: v for k, v in given.items() if v is not None})
        return self.token(subject)

    def token(self, subject: str, *, key: Any = None, header: Any = None, **claims: Any) -> str:
        """A signed token; a claim given as None is left out."""
        body = {"iss": self.address, "sub": subject, "exp": int(time.time()) + 600, **claims}
        body = {name: value for name, value in body.items() if value is not None}
        head = {"alg": "RS256", "kid": "one"} | (header or {})
        head = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(head, body, key or self.key, algorithms=[head["alg"]])


@pytest.fixture(scope="session")
def running_issuer() -> Iterator[Issuer]:
    """One provider for all tests."""
    issuer = Issuer()
    yield issuer
    issuer.server.shutdown()
    issuer.server.server_close()


@pytest.fixture
def issuer(running_issuer: Issuer) -> Issuer:
    """The provider, with nobody in it."""
    running_issuer.accounts.clear()
    running_issuer.opaque.clear()
    running_issuer.paths.clear()
    running_issuer.discovery.clear()
    return running_issuer


@pytest.fixture
def other_issuer() -> Iterator[Issuer]:
    """A second provider, which nobody trusts until a test says so."""
    issuer = Issuer()
    yield issuer
    issuer.server.shutdown()
    issuer.server.server_close()


@dataclass(frozen=True)
class Api:
    """The API as somebody sees it."""

    client: TestClient
    token: str | None = None
    prefix: str = "/api/latest"
    headers: dict[str, str] = field(default_factory=dict)

    def as_(self, token: str | None) -> Api:
        """The same for the holder of `token`."""
        return replace(self, token=token)

    def under(self, prefix: str) -> Api:
        """The same under another prefix."""
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
        """One's own id."""
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


@pytest.fixture
def make_app(database_url: str, tmp_path: Path) -> Any:
    """Makes an application on the test's database."""

    def make(**settings: Any) -> FastAPI:
        return create_app(config_for(database_url, tmp_path, **settings))

    return make


@pytest.fixture
def local(make_app: Any) -> Iterator[Api]:
    """A server without identity."""
    with TestClient(make_app(), base_url="http://127.0.0.1") as client:
        yield Api(client)


@pytest.fixture
def pier(local: Api) -> dict[str, Any]:
    """An experiment."""
    return local.experiment("pier")


@pytest.fixture
def port(local: Api) -> Iterator[int]:
    """Where `local` listens, for requests that no client sends."""
    config = uvicorn.Config(local.client.app, log_level="error", lifespan="off")
    with in_a_thread(uvicorn.Server(config)) as port:
        yield port


@pytest.fixture
def statements(local: Api) -> Iterator[list[tuple[str, Any]]]:
    """What the server asks the database from now on: statements and their parameters."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _u: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    engine = local.client.app.state.services.database.engine  # type: ignore[attr-defined]
    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def oidc_settings(issuer: Issuer) -> dict[str, Any]:
    """`server.auth` with the test's provider."""
    return {
        "mode": "oidc",
        "issuers": (issuer.address,),
        "user_entitlements": ("user",),
        "admin_entitlements": ("admin",),
    }


@pytest.fixture
def anonymous(make_app: Any, oidc_settings: dict[str, Any]) -> Iterator[Api]:
    """A server with identity, as nobody in particular sees it."""
    with TestClient(make_app(auth=oidc_settings), base_url="http://lens.example") as client:
        yield Api(client)


@pytest.fixture
def ann(anonymous: Api, issuer: Issuer) -> Api:
    """A registered user."""
    return registered(anonymous, issuer.account("ann", "user"))


@pytest.fixture
def bob(anonymous: Api, issuer: Issuer) -> Api:
    """Another one, who is in the group "crew"."""
    return registered(anonymous, issuer.account("bob", "user", "crew"))


@pytest.fixture
def root(anonymous: Api, issuer: Issuer) -> Api:
    """An administrator."""
    return registered(anonymous, issuer.account("root", "user", "admin"))


def registered(api: Api, token: str) -> Api:
    """The API as seen by a user who registers now."""
    answer = api.as_(token).post("/user")
    assert answer.status_code == 201, answer.text
    return api.as_(token)


@pytest.fixture
def serve(database_url: str, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts servers in processes of their own; they end with the test, and must end well."""
    with contextlib.ExitStack() as running:
        yield lambda **settings: running.enter_context(
            served(tmp_path, **({"database": database_url} | settings))
        )


@pytest.fixture(scope="module", params=DATABASES)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server without identity in a process of its own, for tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("shared")
    settings = {}
    if request.param == "postgresql":
        settings["database"] = request.getfixturevalue("postgres")
    with served(folder, **settings) as running:
        yield running
