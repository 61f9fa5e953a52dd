"""The published client, drift-monitor 1.1.1, in a virtual environment of its own, against our server.

A small mytoken endpoint hands out access tokens, as the real one would. They come from a real provider: the
certified `oidc-provider` of npm, run with Node.js.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import html
import ipaddress
import itertools
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2 as httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from playwright.sync_api import BrowserContext, Page, expect

from server.databases import own_postgres

CLIENT = "drift-monitor==1.1.1"
SERVE = """
import json, sys
from pathlib import Path
from lenswatch.config import AuthConfig, Config, ServerConfig
from lenswatch.server.run import serve
settings = json.loads(sys.argv[1])
auth = AuthConfig(**settings.pop("auth", {}))
serve(Config(server=ServerConfig(auth=auth, **settings), root=Path(sys.argv[2])))
"""
SERVE_TLS = """
import json, sys, uvicorn
from pathlib import Path
from lenswatch.config import Config, ServerConfig
from lenswatch.server.app import create_app
settings, certificate = json.loads(sys.argv[1]), sys.argv[3]
app = create_app(Config(server=ServerConfig(**settings), root=Path(sys.argv[2])))
uvicorn.run(app, port=settings["port"], log_level="error", ssl_certfile=certificate)
"""
DATABASES = ["sqlite", "postgresql"]


@pytest.fixture(scope="session")
def client_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the published client and nothing of ours."""
    folder = tmp_path_factory.mktemp("published-client")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", CLIENT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{CLIENT} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    return python


class Mytoken(BaseHTTPRequestHandler):
    """Exchanges the mytoken "secret" for an access token."""

    def do_GET(self) -> None:
        if self.path != "/.well-known/mytoken-configuration":
            self._answer(404, {"error": "not_found", "error_description": self.path})
            return
        address = f"http://127.0.0.1:{self.server.server_port}/token"  # type: ignore[attr-defined]
        self._answer(200, {"access_token_endpoint": address})

    def do_POST(self) -> None:
        wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if wish != {"grant_type": "mytoken", "mytoken": "secret"}:
            self._answer(401, {"error": "invalid_token", "error_description": "unknown mytoken"})
            return
        tokens: Iterator[str] = self.server.tokens  # type: ignore[attr-defined]
        self._answer(200, {"access_token": next(tokens)})

    def _answer(self, code: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def mytoken_for(*access_tokens: str) -> Iterator[str]:
    """The address of a mytoken server that hands out `access_tokens`, the last one for ever."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mytoken)
    server.tokens = itertools.chain(access_tokens, itertools.repeat(access_tokens[-1]))  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def unsigned_token(seconds: int = 600) -> str:
    """What looks enough like a JWT for the client; it ends in so many seconds."""
    claims = {"sub": "ann", "exp": int(time.time()) + seconds, "seconds": seconds}
    parts = ({"alg": "HS256", "typ": "JWT"}, claims, "signature")
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )


@contextlib.contextmanager
def a_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'server.db'}"
    else:
        with own_postgres() as url:
            yield url


@dataclass(frozen=True)
class Server:
    """A server without accounts, and what it writes down."""

    address: str
    log: Path

    def requests(self) -> list[tuple[str, str, int]]:
        """What it was asked so far under /api: method, path, status."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        seen = [(x["method"], x["path"], x["status"]) for x in lines if x["event"] == "request"]
        return [entry for entry in seen if entry[1].startswith("/api")]


@pytest.fixture(params=DATABASES)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    port = free_port()
    log = tmp_path / "server.log"
    with a_database(request.param, tmp_path) as url, log.open("w") as output:
        settings = {"port": port, "database": url, "log_level": "info"}
        command = [sys.executable, "-c", SERVE, json.dumps(settings), str(tmp_path)]
        with running(command, stderr=output) as process:
            _wait_for(f"http://127.0.0.1:{port}/readyz", process)
            yield Server(f"http://127.0.0.1:{port}", log)
            process.terminate()
            assert process.wait(10) == 0


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = made.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "certificate.pem"
    signed = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    path.write_bytes(signed + private)
    return path


def _wait_for_port(port: int, process: subprocess.Popen[Any]) -> None:
    for _ in range(400):
        assert process.poll() is None, "the server ended"
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"nothing listens on {port}")


def _wait_for(address: str, process: subprocess.Popen[Any]) -> None:
    for _ in range(200):
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except urllib.error.URLError:
            threading.Event().wait(0.05)
        else:
            return
    raise AssertionError(f"{address} does not answer")


def run_client(python: Path, server: str, mytoken: str, script: str, **settings: str | None) -> Any:
    """Run `script` with the published client; the JSON that it prints last."""
    environment = {name: value for name, value in os.environ.items() if "LENSWATCH" not in name}
    environment |= {
        "DRIFT_MONITOR_URL": server,
        "DRIFT_MONITOR_MYTOKEN": "secret",
        "MYTOKEN_SERVER": mytoken,
    }
    for name, value in settings.items():
        environment.pop(name, None)
        environment |= {} if value is None else {name: value}
    done = subprocess.run(
        [python, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


JOBS = """
import json
import drift_monitor
from drift_monitor import queries
from drift_monitor.config import settings
import requests

drift_monitor.register(accept_terms=True)
experiment = drift_monitor.new_experiment("pier", "a camera on a pier", public=True)
with drift_monitor.DriftMonitor("pier", "model-1", ["pier", "lens"]) as monitor:
    running = monitor._drift.job_status
    monitor(True, {"distance": 0.25, "window": {"filled": 12, "size": 12}})
try:
    with drift_monitor.DriftMonitor("pier", "model-1") as monitor:
        raise RuntimeError("no picture")
except RuntimeError:
    pass
try:
    drift_monitor.new_experiment("pier", "again")
    twice = "taken"
except ValueError as error:
    twice = str(error)
answer = requests.post(
    f"{settings.monitor_url}/experiment/{experiment.id}/drift/search",
    params={"order_by": "asc"}, json={}, timeout=10,
)
print(json.dumps({"running": running, "twice": twice, "jobs": answer.json(),
                  "user": queries.self_user().subject, "entitlements": queries.get_entitlements()}))
"""


def test_the_published_client_completes_and_fails_jobs(client_python: Path, server: Server) -> None:
    with mytoken_for(unsigned_token()) as mytoken:
        seen = run_client(client_python, server.address, mytoken, JOBS)
    completed, failed = seen["jobs"]
    assert seen["running"] == "Running"
    assert seen["twice"] == "Experiment already exists."
    assert (completed["job_status"], completed["drift_detected"]) == ("Completed", True)
    assert completed["tags"] == ["pier", "lens"]
    assert completed["created_at"] < failed["created_at"]
    assert completed["parameters"] == {"distance": 0.25, "window": {"filled": 12, "size": 12}}
    assert (failed["job_status"], failed["drift_detected"]) == ("Failed", False)
    assert seen["user"] == "local"
    assert seen["entitlements"] == []
    e = next(path.split("/")[4] for _, path, _ in server.requests() if path.endswith("/drift"))
    drifts = [
        path.split("/")[6] for method, path, _ in server.requests() if method == "PUT" and e in path
    ]
    assert server.requests() == [
        ("POST", "/api/v1/user", 409),  # the local user is registered already
        ("PUT", "/api/v1/user/self", 200),
        ("POST", "/api/v1/experiment", 201),
        *(
            asked
            for drift in drifts
            for asked in (
                ("POST", "/api/v1/experiment/search", 200),
                ("POST", f"/api/v1/experiment/{e}/drift", 201),
                ("PUT", f"/api/v1/experiment/{e}/drift/{drift}", 200),
            )
        ),
        ("POST", "/api/v1/experiment", 409),
        ("POST", f"/api/v1/experiment/{e}/drift/search", 200),
        ("GET", "/api/v1/user/self", 200),
        ("GET", "/api/v1/entitlements", 200),
    ]


SETTINGS = """
import json
import drift_monitor
from drift_monitor import queries
from drift_monitor.config import settings
experiment = drift_monitor.new_experiment("quay", "")
record = queries.get_experiment(experiment.id)
print(json.dumps({"url": settings.monitor_url, "timeout": settings.DRIFT_MONITOR_TIMEOUT,
                  "created_at": type(record.created_at).__name__, "description": record.description}))
"""


@pytest.mark.parametrize(
    ("given", "version", "timeout"),
    [
        ({}, "v1", 10),
        ({"DRIFT_MONITOR_API_VERSION": "latest", "DRIFT_MONITOR_TIMEOUT": "7"}, "latest", 7),
    ],
)
def test_the_published_clients_settings(
    client_python: Path, server: Server, given: dict[str, str], version: str, timeout: int
) -> None:
    with mytoken_for(unsigned_token()) as mytoken:
        seen = run_client(client_python, server.address, mytoken, SETTINGS, **given)
    assert seen == {
        "url": f"{server.address}/api/{version}",
        "timeout": timeout,
        "created_at": "str",  # left as it is
        "description": "",  # sent all the same: left out, it would be absent
    }
    assert {path.split("/")[2] for _, path, _ in server.requests()} == {version}


TOKENS = """
import json
from drift_monitor import queries
from drift_monitor.config import access_token
seconds = []
for _ in range(4):
    queries.self_user()
    seconds.append(access_token.info["seconds"])
print(json.dumps(seconds))
"""


def test_the_published_client_asks_for_another_token_when_one_has_ended(
    client_python: Path, server: Server
) -> None:
    with mytoken_for(unsigned_token(-5), unsigned_token(-4), unsigned_token()) as mytoken:
        seen = run_client(client_python, server.address, mytoken, TOKENS)
    assert seen == [-5, -4, 600, 600]


PROBLEM = """
import json
try:
    from drift_monitor import queries
    queries.self_user()
    problem = "none"
except BaseException as error:
    problem = f"{type(error).__name__}: {error}"
print(json.dumps(problem))
"""


@pytest.mark.parametrize("name", ["DRIFT_MONITOR_URL", "DRIFT_MONITOR_MYTOKEN"])
def test_the_published_client_needs_its_settings(client_python: Path, name: str) -> None:
    with mytoken_for(unsigned_token()) as mytoken:
        seen = run_client(client_python, "http://127.0.0.1:1", mytoken, PROBLEM, **{name: None})
    assert seen.startswith("ValidationError")
    assert name in seen


def test_the_published_client_gives_up_a_server_that_does_not_answer(client_python: Path) -> None:
    with mytoken_for(unsigned_token()) as mytoken, socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        settings = {"DRIFT_MONITOR_TIMEOUT": "1"}
        seen = run_client(client_python, address, mytoken, PROBLEM, **settings)
    assert "read timeout=1" in seen


def test_a_mytoken_that_is_refused(client_python: Path) -> None:
    with mytoken_for(unsigned_token()) as mytoken:
        settings = {"DRIFT_MONITOR_MYTOKEN": "another"}
        seen = run_client(client_python, "http://127.0.0.1:1", mytoken, PROBLEM, **settings)
    assert "unknown mytoken" in seen


@pytest.mark.parametrize("kind", DATABASES)
def test_the_published_client_checks_certificates_unless_testing(
    client_python: Path, tmp_path: Path, certificate: Path, kind: str
) -> None:
    port = free_port()
    with a_database(kind, tmp_path) as url:
        check_certificates(client_python, tmp_path, certificate, {"port": port, "database": url})


def check_certificates(
    client_python: Path, tmp_path: Path, certificate: Path, settings: dict[str, Any]
) -> None:
    port = settings["port"]
    command = [
        sys.executable,
        "-c",
        SERVE_TLS,
        json.dumps(settings),
        str(tmp_path),
        str(certificate),
    ]
    with running(command) as process, mytoken_for(unsigned_token()) as mytoken:
        _wait_for_port(port, process)
        server = f"https://127.0.0.1:{port}"
        assert "CERTIFICATE_VERIFY_FAILED" in run_client(client_python, server, mytoken, PROBLEM)
        seen = run_client(client_python, server, mytoken, PROBLEM, TESTING="true")
        assert seen == "none"


PACKAGE = "oidc-provider@9"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the provider in node_modules."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip(
            "no Node.js: install nodejs and npm to test against a real OpenID Connect provider"
        )
    folder = tmp_path_factory.mktemp("provider")
    command = [
        "npm",
        "install",
        "--no-audit",
        "--no-fund",
        "--silent",
        "--prefix",
        str(folder),
        PACKAGE,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{PACKAGE} cannot be installed here: {done.stderr.strip()[-200:]}")
    return folder


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        finally:
            process.terminate()


@pytest.fixture(scope="module", params=DATABASES)
def site(
    request: pytest.FixtureRequest, packages: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """The addresses of a provider and of a tracking server that trusts it."""
    provider_port, port = free_port(), free_port()
    script = Path(__file__).with_name("provider.mjs")
    callback = f"http://127.0.0.1:{port}/login/callback"
    node = ["node", str(script), str(provider_port), callback]
    auth = {
        "mode": "oidc",
        "issuers": [f"http://127.0.0.1:{provider_port}"],
        "entitlements_path": "roles",
        "user_entitlements": ["user"],
        "admin_entitlements": ["admin"],
        "client_id": "web",
        "client_secret": "web-secret",
    }
    folder = tmp_path_factory.mktemp("site")
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "cwd": packages}
    with a_database(request.param, folder) as url:
        settings = {"port": port, "database": url, "auth": auth}
        serve = [sys.executable, "-c", SERVE, json.dumps(settings), str(folder)]
        with running(node, **quiet) as provider, running(serve) as server:
            assert provider.stdout is not None
            assert provider.stdout.readline().strip() == "ready"
            _wait_for(f"http://127.0.0.1:{port}/readyz", server)
            yield f"http://127.0.0.1:{provider_port}", f"http://127.0.0.1:{port}"


def visit(browser: httpx.Client, address: str, subject: str, home: str) -> httpx.Response:
    """Follow redirects and fill in the provider's forms, until `home` is reached or wants to be."""
    response = browser.get(address)
    for _ in range(20):
        if response.is_redirect:
            target = urljoin(str(response.url), response.headers["Location"])
            if target.startswith(home):
                return response
            response = browser.get(target)
            continue
        form = re.search(r'<form[^>]*action="([^"]+)"', response.text)
        assert form, response.text[:500]
        fields = dict(
            re.findall(r'<input[^>]*type="hidden" name="(\w+)" value="([^"]*)"', response.text)
        )
        if 'name="login"' in response.text:
            fields |= {"login": subject, "password": "any"}
        response = browser.post(urljoin(str(response.url), html.unescape(form[1])), data=fields)
    raise AssertionError("the log-in does not end")


def access_token(provider: str, subject: str, *, resource: str | None) -> str:
    """An access token by the code flow: a JWT for a `resource`, else an opaque one."""
    verifier = secrets.token_urlsafe(48)
    challenge = (
        base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    )
    asked = {
        "client_id": "native",
        "response_type": "code",
        "redirect_uri": "http://127.0.0.1/native",
        "scope": "openid email profile",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    } | ({"resource": resource} if resource else {})
    with httpx.Client() as browser:
        address = str(httpx.URL(f"{provider}/auth", params=asked))
        response = visit(browser, address, subject, "http://127.0.0.1/native")
        code = parse_qs(urlsplit(response.headers["Location"]).query)["code"][0]
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": "http://127.0.0.1/native",
            "client_id": "native",
            "code_verifier": verifier,
        }
        return str(browser.post(f"{provider}/token", data=form).json()["access_token"])


@pytest.mark.parametrize("resource", [None, "urn:lens"])
def test_access_tokens_of_both_kinds(site: tuple[str, str], resource: str | None) -> None:
    provider, server = site
    subject = "ann" if resource else "bob"
    token = access_token(provider, subject, resource=resource)
    assert (token.count(".") == 2) == bool(resource)
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{server}/api/v1", headers=headers) as api:
        assert api.get("/user/self").status_code == 403
        assert api.post("/user").status_code == 201
        assert api.get("/user/self").json()["issuer"] == provider
        assert api.get("/entitlement").json() == {"items": ["user"]}
        assert api.post("/experiment", json={"name": subject}).status_code == 201
        assert api.post("/user/search", json={}).status_code == 403
    if resource:
        head, _, signature = token.split(".")
        forged = base64.urlsafe_b64encode(
            json.dumps({"iss": provider, "sub": "root", "exp": 9e9}).encode()
        )
        headers = {"Authorization": f"Bearer {head}.{forged.decode().rstrip('=')}.{signature}"}
        assert httpx.get(f"{server}/api/v1/user/self", headers=headers).status_code == 401


def test_logging_in_with_a_browser_and_out_again(site: tuple[str, str]) -> None:
    _, server = site
    with httpx.Client() as browser:
        page = browser.get(f"{server}/login")
        link = re.search(r'href="(/login/oidc/0)"', page.text)
        assert link
        back = visit(browser, server + link[1], "root", f"{server}/login/callback")
        callback = back.headers["Location"]
        assert "code=" in callback
        with httpx.Client() as thief:  # who has the address, but did not begin the log-in
            assert thief.get(callback).status_code == 401
        done = browser.get(callback)
        assert (done.status_code, done.headers["Location"]) == (303, "/")
        assert browser.get(f"{server}/api/latest/user/self").json()["subject"] == "root"
        assert browser.get(callback).status_code == 401  # a code is good once
        page = browser.get(f"{server}/keys")
        assert page.status_code == 200
        form = {"form": re.search(r'name="form" value="([^"]+)"', page.text)[1]}  # type: ignore[index]
        assert (
            browser.post(f"{server}/logout", data=form, headers={"Origin": server}).status_code
            == 303
        )
        assert browser.get(f"{server}/api/latest/user/self").status_code == 401


def test_a_log_in_with_another_state_is_refused(site: tuple[str, str]) -> None:
    _, server = site
    with httpx.Client() as browser:
        back = visit(browser, f"{server}/login/oidc/0", "eve", f"{server}/login/callback")
        changed = re.sub(r"state=[^&]+", "state=other", back.headers["Location"])
        assert browser.get(changed).status_code == 401
        assert browser.get(f"{server}/login/oidc/7").status_code == 404


def log_in(page: Page, server: str, subject: str) -> None:
    """As somebody does with a browser."""
    page.goto(f"{server}/login")
    page.get_by_role("link", name="Log in with").click()
    while not page.url.startswith(server):
        if page.locator("input[name=login]").count():
            page.locator("input[name=login]").fill(subject)
            page.locator("input[name=password]").fill("any")
        page.locator("button[type=submit]").click()
    page.goto(f"{server}/?all")  # where no script leads on
    expect(page.get_by_role("link", name="API keys")).to_be_visible()


def log_out(context: BrowserContext, server: str) -> None:
    """The same, on another page."""
    other = context.new_page()
    other.goto(f"{server}/keys")
    other.get_by_role("button", name="Log out").click()
    expect(other.get_by_role("heading", name="Log in", exact=True)).to_be_visible()
    other.close()


def test_pages_offer_to_log_in_again_when_the_session_ends(
    site: tuple[str, str], context: BrowserContext, any_page: Page
) -> None:
    _, server = site
    context.clear_cookies()
    log_in(any_page, server, "root")
    made = {}
    for name in ("Another", "Private reef"):  # with one alone the list would lead on to it
        body = {"name": name, "public": False}
        answer = any_page.request.post(
            f"{server}/api/latest/experiment", data=body, headers={"Origin": server}
        )
        made = answer.json()
    any_page.goto(f"{server}/experiment/{made['id']}")
    expect(any_page.locator("#name")).to_have_text("Private reef")
    expect(any_page.locator("#live")).to_have_text("live")
    log_out(context, server)
    alert = any_page.get_by_role("alert")
    expect(alert).to_have_text("Resource is not public. Log in to see private experiments.")
    any_page.reload()
    expect(alert).to_have_text("Experiment not found. Log in to see private experiments.")
    alert.get_by_role("link", name="Log in").click()
    expect(any_page.get_by_role("heading", name="Log in", exact=True)).to_be_visible()
    log_in(any_page, server, "root")
    any_page.goto(f"{server}/?all")
    expect(any_page.get_by_role("link", name="Private reef")).to_be_visible()
    log_out(context, server)
    expect(alert).to_have_text("You are no longer logged in. Log in to see private experiments.")
    context.clear_cookies()


VOCABULARY = """
import json
import drift_monitor
from drift_monitor import queries

drift_monitor.register(accept_terms=True)
drift_monitor.register(accept_terms=True)
me = queries.self_user()
assert queries.update_user().email == me.email
crew = [{"entity": "crew", "level": "Read"}]
experiment = drift_monitor.new_experiment("mole", "a camera", permissions=crew)
assert drift_monitor.find_experiment("mole").id == experiment.id
assert queries.get_experiment(experiment.id).name == "mole"
experiment.public = True
assert queries.put_experiment(experiment).public is True
found, pages = queries.search_experiment({"name": {"$regex": "^mo"}})
assert [e.id for e in found] == [experiment.id], pages
with drift_monitor.DriftMonitor("mole", "model-1", ["lens"]) as monitor:
    monitor(True, {"distance": 0.25})
try:
    with drift_monitor.DriftMonitor("mole", "model-1") as monitor:
        raise KeyError("x")
except KeyError:
    passed = True
assert passed
job = queries.post_drift(experiment, {"job_status": "Running", "model": "m"})
assert queries.get_drift(experiment, job.id).job_status == "Running"
job.job_status = "Completed"
assert queries.put_drift(experiment, job).job_status == "Completed"
try:
    queries.search_user({})
    users = "all"
except Exception as error:
    users = error.response.status_code
# search_drift and delete_drift of this client take the experiment for a dict, so give them one
jobs, _ = queries.search_drift({"id": str(experiment.id)}, {})
queries.delete_drift({"id": str(experiment.id)}, job.id)
ended = {"job_status": {"$in": ["Completed", "Failed"]}}
left, _ = queries.search_drift({"id": str(experiment.id)}, ended)
queries.delete_experiment(experiment.id)
print(json.dumps({"me": me.subject, "entitlements": queries.get_entitlements(), "users": users,
                  "jobs": len(jobs), "left": sorted(j.job_status for j in left)}))
"""


def test_the_published_clients_whole_vocabulary_with_tokens_of_a_real_provider(
    client_python: Path, site: tuple[str, str]
) -> None:
    provider, server = site
    token = access_token(provider, "una", resource="urn:lens")
    with mytoken_for(token) as mytoken:
        seen = run_client(client_python, server, mytoken, VOCABULARY)
    assert seen == {
        "me": "una",
        "entitlements": ["user"],
        "users": 403,
        "jobs": 3,
        "left": ["Completed", "Failed"],
    }
