"""The published client, drift-monitor 1.1.1, in a virtual environment of its own, against our server.

A small mytoken endpoint hands out access tokens, as the real one would. They come from a real provider: the
certified `oidc-provider` of npm, run with Node.js.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2 as httpx
import pytest

CLIENT = "drift-monitor==1.1.1"
SERVE = """
import sys
from pathlib import Path
from lenswatch.config import Config, ServerConfig
from lenswatch.server.run import serve
port, folder = int(sys.argv[1]), Path(sys.argv[2])
serve(Config(server=ServerConfig(port=port, database=f"sqlite:///{folder / 'server.db'}"), root=folder))
"""


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
        address = f"http://127.0.0.1:{self.server.server_port}/token"  # type: ignore[attr-defined]
        self._answer(200, {"access_token_endpoint": address})

    def do_POST(self) -> None:
        wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if wish != {"grant_type": "mytoken", "mytoken": "secret"}:
            self._answer(401, {"error": "invalid_token", "error_description": "unknown mytoken"})
            return
        self._answer(200, {"access_token": self.server.access_token})  # type: ignore[attr-defined]

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
def mytoken_for(access_token: str) -> Iterator[str]:
    """The address of a mytoken server that hands out `access_token`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mytoken)
    server.access_token = access_token  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def unsigned_token() -> str:
    """What looks enough like a JWT for the client."""
    claims = {"sub": "ann", "exp": int(time.time()) + 600}
    parts = ({"alg": "HS256", "typ": "JWT"}, claims, "signature")
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(port), str(tmp_path)])
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/readyz", process)
        yield address
    finally:
        process.terminate()
        assert process.wait(10) == 0


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


def run_client(python: Path, server: str, mytoken: str, script: str) -> Any:
    """Run `script` with the published client; the JSON that it prints last."""
    environment = {name: value for name, value in os.environ.items() if "LENSWATCH" not in name}
    environment |= {
        "DRIFT_MONITOR_URL": server,
        "DRIFT_MONITOR_MYTOKEN": "secret",
        "MYTOKEN_SERVER": mytoken,
    }
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


def test_the_published_client_completes_and_fails_jobs(client_python: Path, server: str) -> None:
    with mytoken_for(unsigned_token()) as mytoken:
        seen = run_client(client_python, server, mytoken, JOBS)
    completed, failed = seen["jobs"]
    assert seen["running"] == "Running"
    assert seen["twice"] == "Experiment already exists."
    assert (completed["job_status"], completed["drift_detected"]) == ("Completed", True)
    assert completed["tags"] == ["pier", "lens"]
    assert completed["parameters"] == {"distance": 0.25, "window": {"filled": 12, "size": 12}}
    assert (failed["job_status"], failed["drift_detected"]) == ("Failed", False)
    assert seen["user"] == "local"
    assert seen["entitlements"] == []


PACKAGE = "oidc-provider@9"
SERVE_OIDC = """
import json, sys
from pathlib import Path
from lenswatch.config import AuthConfig, Config, ServerConfig
from lenswatch.server.run import serve
settings = json.loads(sys.argv[1])
folder = Path(sys.argv[2])
auth = AuthConfig(**settings["auth"])
server = ServerConfig(port=settings["port"], database=f"sqlite:///{folder / 'server.db'}", auth=auth)
serve(Config(server=server, root=folder))
"""


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


@pytest.fixture(scope="module")
def site(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
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
    serve = [
        sys.executable,
        "-c",
        SERVE_OIDC,
        json.dumps({"port": port, "auth": auth}),
        str(folder),
    ]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "cwd": packages}
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
    pass
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
