"""A real tracking server and a real browser for the tests beside this file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from support.databases import DATABASES, own_database
from support.once import made_once
from support.ports import free_port
from support.provider import install_provider, provider_running
from support.servers import served
from support.tracking_server import Server

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
FLAGS += ["--disable-component-update", "--disable-sync", "--process-per-site"]
PATIENCE = 60_000  # milliseconds, for a machine that has other things to do
SERVE_BELOW_A_PATH = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from lenswatch.config import load_config
from lenswatch.server.app import create_app
config = load_config(sys.argv[1])
app = Starlette(routes=[Mount("/cameras/reef", create_app(config))])
uvicorn.run(app, port=config.server.port, log_level="error")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from serving(Server(tmp_path_factory.mktemp("server")))


@pytest.fixture
def fresh_server(tmp_path: Path) -> Iterator[Server]:
    yield from serving(Server(tmp_path))


@pytest.fixture
def server_below_a_path(tmp_path: Path) -> Iterator[Server]:
    yield from serving(Server(tmp_path, SERVE_BELOW_A_PATH, "/cameras/reef"))


@pytest.fixture
def server_with_keys(tmp_path: Path) -> Iterator[Server]:
    yield from serving(Server(tmp_path, auth="keys"))


def serving(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.stop()
        server.session.close()


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    """One browser for all tests of a file: it keeps what the pages load, and the process that shows them."""
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(
            viewport={"width": 1400, "height": 900}, timezone_id="Europe/Berlin", locale="en-GB"
        )
        context.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        _keep_process(context)
        yield context
        browser.close()


def _keep_process(context: BrowserContext) -> None:
    """Leave a page of 127.0.0.1 open, since a new process takes a second of CPU time to compile Plotly."""
    page = context.new_page()
    page.route("**/*", lambda route: route.fulfill(body="", content_type="text/html"))
    page.goto("http://127.0.0.1/")


@pytest.fixture
def any_page(context: BrowserContext) -> Iterator[Page]:
    """A page whose console may say anything, in a browser that remembers nothing of pages before."""
    context.clear_cookies()
    page = context.new_page()
    yield page
    page.close()


@pytest.fixture
def page(any_page: Page) -> Iterator[Page]:
    """A page whose console must stay free of errors."""
    problems: list[str] = []
    any_page.on("pageerror", lambda error: problems.append(str(error)))

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            problems.append(message.text)

    any_page.on("console", note)
    yield any_page
    assert problems == []


@pytest.fixture(scope="session")
def provider_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the identity provider in node_modules."""
    return made_once(tmp_path_factory, "provider", install_provider)


@pytest.fixture(scope="module", params=DATABASES)
def site(
    request: pytest.FixtureRequest,
    provider_packages: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, str]]:
    """The addresses of a provider and of a tracking server that trusts it."""
    port, folder = free_port(), tmp_path_factory.mktemp("site")
    callback = f"http://127.0.0.1:{port}/login/callback"
    with (
        own_database(request.param, folder) as url,
        provider_running(provider_packages, free_port(), callback) as provider,
    ):
        auth = {
            "mode": "oidc",
            "issuers": [provider],
            "entitlements_path": "roles",
            "user_entitlements": ["user"],
            "admin_entitlements": ["admin"],
            "client_id": "web",
            "client_secret": "web-secret",
        }
        with served(folder, port=port, database=url, auth=auth) as server:
            yield provider, server.address
