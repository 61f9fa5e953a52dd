"""The published client, drift-monitor 1.1.1, in a virtual environment of its own, against our server.

A small mytoken endpoint hands out access tokens, as the real one would.
"""

from __future__ import annotations

import base64
import json
import os
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
        claims = {"sub": "ann", "exp": int(time.time()) + 600}
        parts = ({"alg": "HS256", "typ": "JWT"}, claims, "signature")
        token = ".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
        )
        self._answer(200, {"access_token": token})

    def _answer(self, code: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def mytoken() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mytoken)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


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


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.URLError:
            threading.Event().wait(0.05)
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
        [python, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
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


def test_the_published_client_completes_and_fails_jobs(
    client_python: Path, server: str, mytoken: str
) -> None:
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
