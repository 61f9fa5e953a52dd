"""A real tracking server and a real browser for the tests beside this file."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from lenswatch.config import load_config
from lenswatch.server.identity.keys import create_key
from support.databases import DATABASES, own_database
from support.once import made_once
from support.ports import free_port
from support.provider import install_provider, provider_running
from support.samples import picture
from support.servers import served
from support.waiting import until_it_answers

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
FLAGS += ["--disable-component-update", "--disable-sync"]
PATIENCE = 60_000  # milliseconds, for a machine that has other things to do
START = datetime(2026, 6, 1, 8, 0, tzinfo=UTC)  # 10:00 in Berlin, where the browser is
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


class Server:
    """The tracking server as its own process, and what a node does to it."""

    def __init__(
        self, folder: Path, script: str = "", prefix: str = "", auth: str = "none"
    ) -> None:
        port = free_port()
        self.root = f"http://127.0.0.1:{port}{prefix}"
        self.settings = folder / "config.toml"
        program = ["-c", script] if script else ["-m", "lenswatch", "server", "--config"]
        self.command = [sys.executable, *program, str(self.settings)]
        self.settings.write_text(
            f'[server]\nport = {port}\ndatabase = "sqlite:///{folder / "server.db"}"\n'
            f'[server.auth]\nmode = "{auth}"\n',
            encoding="utf-8",
        )
        self.session = requests.Session()
        self.start()
        if auth == "keys":
            self.key = create_key(load_config(self.settings), "test", level="Admin")[1]
            self.session.headers["Authorization"] = f"Bearer {self.key}"

    def start(self) -> None:
        self.process = subprocess.Popen(self.command)
        until_it_answers(f"{self.root}/readyz", self.process)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def experiment(self, name: str = "", description: str = "", public: bool = True) -> str:
        name = name or f"Reef {uuid.uuid4()}"
        body = {"name": name, "description": description, "public": public}
        return self._post("/experiment", body)["id"]

    def job(self, experiment: str, **changes: object) -> dict:
        return self._post(f"/experiment/{experiment}/drift", self.body(**changes))

    def jobs(self, experiment: str, jobs: list[dict]) -> list[str]:
        reply = self._post(f"/experiment/{experiment}/drift/batch", {"drifts": jobs})
        return [result["id"] for result in reply["results"]]

    def picture(self, experiment: str, drift: str) -> None:
        url = f"{self.root}/api/latest/experiment/{experiment}/drift/{drift}/image"
        headers, data = {"Content-Type": "image/jpeg"}, picture(size=(320, 180))
        self.session.put(url, data, headers=headers, timeout=60).raise_for_status()

    def page_of(self, experiment: str) -> str:
        return f"{self.root}/experiment/{experiment}"

    @staticmethod
    def body(
        minute: int = 0,
        distance: float | None = 0.01,
        stream: str = "demo",
        status: str = "Completed",
        tags: tuple[str, ...] = (),
        drift_detected: bool | None = None,
        **parameters: object,
    ) -> dict:
        """A drift job as the node sends it; drift is above 0.12, warning above 0.06."""
        captured = START + timedelta(minutes=minute)
        values = {
            "event_id": str(uuid.uuid4()),
            "stream": stream,
            "captured_at": captured.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "image_name": f"frame_{minute:04}.jpg",
        }
        if status == "Completed":
            values |= {"distance": distance, "drift_distance": 0.12, "warning_distance": 0.06}
        if drift_detected is None:
            drift_detected = status == "Completed" and distance is not None and distance > 0.12
        return {
            "job_status": status,
            "model": "lenswatch@0123456789abcdef",
            "drift_detected": drift_detected,
            "tags": list(tags),
            "parameters": values | parameters,
        }

    def _post(self, path: str, body: dict) -> dict:
        reply = self.session.post(f"{self.root}/api/latest{path}", json=body, timeout=60)
        reply.raise_for_status()
        return reply.json()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    yield from serving(Server(tmp_path_factory.mktemp("server")))


@pytest.fixture
def fresh_server(tmp_path) -> Iterator[Server]:
    yield from serving(Server(tmp_path))


@pytest.fixture
def server_below_a_path(tmp_path) -> Iterator[Server]:
    yield from serving(Server(tmp_path, SERVE_BELOW_A_PATH, "/cameras/reef"))


@pytest.fixture
def server_with_keys(tmp_path) -> Iterator[Server]:
    yield from serving(Server(tmp_path, auth="keys"))


def serving(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.stop()
        server.session.close()


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    """One browser for all tests of a file: it keeps what the pages load."""
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(
            viewport={"width": 1400, "height": 900}, timezone_id="Europe/Berlin", locale="en-GB"
        )
        context.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield context
        browser.close()


@pytest.fixture
def any_page(context) -> Iterator[Page]:
    """A page whose console may say anything."""
    page = context.new_page()
    yield page
    page.close()


@pytest.fixture
def page(any_page) -> Iterator[Page]:
    """A page whose console must stay free of errors."""
    problems: list[str] = []
    any_page.on("pageerror", lambda error: problems.append(str(error)))
    any_page.on(
        "console",
        lambda message: message.type in ("error", "warning") and problems.append(message.text),
    )
    yield any_page
    assert problems == []


@pytest.fixture(scope="session")
def provider_packages(tmp_path_factory) -> Path:
    """A folder with the identity provider in node_modules."""
    return made_once(tmp_path_factory, "provider", install_provider)


@pytest.fixture(scope="module", params=DATABASES)
def site(request, provider_packages, tmp_path_factory) -> Iterator[tuple[str, str]]:
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
