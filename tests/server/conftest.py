"""A tracking server for each test, on SQLite and on PostgreSQL, and an identity provider on loopback."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy import event, text
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lenswatch.server.app import create_app
from lenswatch.server.db.database import Database
from lenswatch.server.db.upgrade import prepare
from lenswatch.server.http.services import DEFAULT_LIMITS, Limits
from lenswatch.server.upkeep.service import Upkeep
from support.api import Api, config_for, registered
from support.databases import DATABASES, own_postgres
from support.issuer import Issuer
from support.servers import Served, in_a_thread, served

TABLES = ("experiments", "users", "api_keys", "sessions", "settings", "leases")


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


@pytest.fixture
def limits() -> Limits:
    """The limits of `make_app`; a test that needs others parametrizes this."""
    return DEFAULT_LIMITS


@pytest.fixture
def make_app(
    database_url: str, tmp_path: Path, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Makes an application on the test's database, whose schema is not looked at once more."""
    monkeypatch.setattr("lenswatch.server.app.prepare", lambda *_, **__: None)

    def make(**settings: Any) -> Starlette:
        return create_app(config_for(database_url, tmp_path, **settings), limits=limits)

    return make


@pytest.fixture
def local(make_app: Any) -> Iterator[Api]:
    """A server without identity."""
    with TestClient(make_app(), base_url="http://127.0.0.1") as client:
        yield Api(client)


@pytest.fixture
def still(make_app: Any) -> Iterator[Api]:
    """A server without identity on which nothing happens by itself."""
    app = make_app()
    app.state.upkeep = Upkeep(app.state.services.database, [], app.state.log)
    with TestClient(app, base_url="http://127.0.0.1") as client:
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
    """Statements, with their parameters, that the server sends to the database from now on."""
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
