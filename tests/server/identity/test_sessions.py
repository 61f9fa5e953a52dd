"""Browser sessions: how long they last, and what ends or changes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from lenswatch.server.db.database import Database
from lenswatch.server.experiments import users
from lenswatch.server.identity.identity import Identity
from lenswatch.server.identity.keys import create_key
from lenswatch.server.identity.sessions import COOKIE
from support.api import config_for
from support.forms import form_token

ADDRESS = "https://lens.example"


@pytest.fixture
def browser(make_app: Any) -> Iterator[TestClient]:
    """A browser before a server with API keys."""
    with TestClient(make_app(auth={"mode": "keys"}), base_url=ADDRESS) as browser:
        yield browser


@pytest.fixture
def log_in(browser: TestClient, database_url: str, tmp_path: Path) -> Any:
    """Logs the browser in with a key; the session's cookie."""
    _, key = create_key(config_for(database_url, tmp_path), "me")

    def log_in() -> str:
        form = {"form": form_token(browser.get("/login").text), "key": key}
        assert browser.post("/login", data=form, headers={"Origin": ADDRESS}).status_code == 200
        return browser.cookies[COOKIE]

    return log_in


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The test's own way to the database."""
    database = Database(database_url)
    yield database
    database.close()


def self_of(client: TestClient, cookie: str) -> int:
    """How /user/self answers who sends this session's cookie."""
    client.cookies.clear()
    client.cookies.set(COOKIE, cookie)
    return client.get("/api/latest/user/self").status_code


def test_a_session_ends_after_its_time(browser: TestClient, log_in: Any, database: Any) -> None:
    cookie = log_in()
    assert self_of(browser, cookie) == 200
    with database.write() as connection:
        connection.execute(text("UPDATE sessions SET expires_at = expires_at - 8 * 3600000000"))
    assert self_of(browser, cookie) == 401


def test_what_has_ended_is_not_kept(browser: TestClient, log_in: Any, database: Any) -> None:
    log_in()
    browser.cookies.clear()  # and no other log-in of this browser takes its place
    with database.write() as connection:
        connection.execute(text("UPDATE sessions SET expires_at = 0"))
    log_in()
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM sessions")).scalar_one() == 1


def test_logging_in_again_ends_the_browsers_former_session(
    browser: TestClient, log_in: Any
) -> None:
    elsewhere = log_in()
    browser.cookies.clear()
    first, second = log_in(), log_in()
    assert [self_of(browser, cookie) for cookie in (first, second, elsewhere)] == [401, 200, 200]


def cookie_of(app: Starlette, identity: Identity) -> str:
    """The cookie of who has just come back from the provider."""
    response = Response()
    with app.state.services.database.write() as connection:
        users.ensure_user(connection, identity)
    request = Request({"type": "http", "scheme": "https", "headers": []})
    app.state.account.sessions.open(request, response, identity)
    return response.headers["Set-Cookie"].partition("=")[2].partition(";")[0]


@pytest.fixture
def chief(issuer: Any) -> Identity:
    """An administrator, at the moment of the log-in."""
    held = frozenset({"user", "admin"})
    return Identity("chief", issuer.address, "chief@example.org", held, user=True, admin=True)


def test_a_session_ends_when_its_issuer_is_no_longer_trusted(
    make_app: Any, oidc_settings: Any, other_issuer: Any, chief: Identity
) -> None:
    with TestClient(make_app(auth=oidc_settings), base_url=ADDRESS) as client:
        cookie = cookie_of(client.app, chief)  # type: ignore[arg-type]
        assert self_of(client, cookie) == 200
    settings = oidc_settings | {"issuers": (other_issuer.address,)}
    with TestClient(make_app(auth=settings), base_url=ADDRESS) as client:
        assert self_of(client, cookie) == 401


@pytest.mark.parametrize(
    ("change", "reads", "administers"),
    [
        ({}, 200, 200),
        ({"admin_entitlements": ("chief",)}, 404, 403),
        ({"user_entitlements": ("crew",)}, 404, 200),
    ],
)
def test_a_session_may_what_the_settings_say_now(
    make_app: Any,
    oidc_settings: Any,
    chief: Identity,
    ann: Any,
    change: Any,
    reads: int,
    administers: int,
) -> None:
    private = ann.experiment()
    cookie = cookie_of(ann.client.app, chief)
    with TestClient(make_app(auth=oidc_settings | change), base_url=ADDRESS) as client:
        assert self_of(client, cookie) == 200
        path = f"/api/latest/experiment/{private['id']}"
        assert client.get(path).status_code == reads
        search = client.post("/api/latest/user/search", json={}, headers={"Origin": ADDRESS})
        assert search.status_code == administers
