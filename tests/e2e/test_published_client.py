"""The published client, drift-monitor 1.1.1, in a virtual environment of its own, against our server."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from support.certificates import write_certificate
from support.databases import DATABASES, own_database
from support.environments import new_environment
from support.mytoken import mytoken_server, unsigned_token
from support.provider import access_token
from support.relays import Relay, Rewriter
from support.servers import served
from support.waiting import until

CLIENT = "drift-monitor==1.1.1"
# What the client does by itself is the same on any database of the server.
of_the_client = pytest.mark.parametrize("running_server", ["sqlite"], indirect=True)


@pytest.fixture(scope="session")
def client_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the published client and nothing of ours."""
    folder = tmp_path_factory.mktemp("published-client")
    if problem := new_environment(folder, CLIENT):
        pytest.skip(f"{CLIENT} cannot be installed here: {problem}")
    return folder / "bin" / "python"


@dataclass(frozen=True)
class Server:
    """A server without accounts, and its log."""

    address: str
    port: int
    log: Path
    earlier: int = 0  # lines of the log that are of earlier tests

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def requests(self) -> list[tuple[str, str, int]]:
        """Return the requests under /api so far: method, path, status."""
        seen = [x for x in self.lines()[self.earlier :] if x["event"] == "request"]
        return [(x["method"], x["path"], x["status"]) for x in seen if "/api" in x["path"]]


@pytest.fixture(scope="module", params=DATABASES)
def running_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    log = folder / "server.log"
    with (
        own_database(request.param, folder) as url,
        log.open("w") as output,
        served(folder, stderr=output, database=url, log_level="info") as running,
    ):
        yield Server(running.address, running.port, log)


@pytest.fixture
def server(running_server: Server) -> Server:
    """The server without any records, as if it had just started."""
    with httpx.Client(base_url=f"{running_server.address}/api/latest", timeout=60) as api:
        for experiment in api.post("/experiment/search", json={}).json():
            api.delete(f"/experiment/{experiment['id']}")
        last = api.get("/user/self").headers["X-Request-ID"]
    until(lambda: last in running_server.log.read_text())
    return dataclasses.replace(running_server, earlier=len(running_server.lines()))


def run_client(python: Path, server: str, mytoken: str, script: str, **settings: str | None) -> Any:
    """Run `script` with the published client, and return the JSON that it prints last."""
    ours = ("LENSWATCH", "PROXY", "CERT_FILE", "CA_BUNDLE")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not any(part in name.upper() for part in ours)
    }
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
        timeout=120,
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
    with mytoken_server() as mytoken, Relay(server.port) as relay:
        seen = run_client(client_python, relay.address, mytoken.root, JOBS)
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
    assert relay.connections == len(server.requests())  # a new one for each


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


@of_the_client
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
    with mytoken_server() as mytoken, Relay(server.port) as relay:
        seen = run_client(client_python, relay.address, mytoken.root, SETTINGS, **given)
    assert seen == {
        "url": f"{relay.address}/api/{version}",
        "timeout": timeout,
        "created_at": "str",  # left as it is
        "description": "",  # sent all the same: left out, it would be absent
    }
    assert {path.split("/")[2] for _, path, _ in server.requests()} == {version}
    [body] = re.findall(rb"\r\n\r\n(\{.*?\})", relay.sent)  # the new experiment's: all four fields
    assert json.loads(body) == {
        "name": "quay",
        "description": "",
        "public": False,
        "permissions": [],
    }


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


@of_the_client
def test_the_published_client_asks_for_another_token_when_one_has_ended(
    client_python: Path, server: Server
) -> None:
    tokens = unsigned_token(-5), unsigned_token(-4), unsigned_token()
    with mytoken_server(*tokens) as mytoken:
        seen = run_client(client_python, server.address, mytoken.root, TOKENS)
    assert seen == [-5, -4, 600, 600]
    assert mytoken.asked == ["/.well-known/mytoken-configuration", *["/token"] * 3]


IMPORT = """
import drift_monitor
print("true")
"""


@of_the_client
def test_the_published_client_asks_mytoken_for_its_endpoints_when_imported(
    client_python: Path, server: Server
) -> None:
    with mytoken_server() as mytoken:
        assert run_client(client_python, server.address, mytoken.root, IMPORT)
    assert mytoken.asked == ["/.well-known/mytoken-configuration"]
    assert server.requests() == []


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


@of_the_client
@pytest.mark.parametrize("name", ["DRIFT_MONITOR_URL", "DRIFT_MONITOR_MYTOKEN"])
def test_the_published_client_needs_its_settings(
    client_python: Path, server: Server, name: str
) -> None:
    with mytoken_server() as mytoken:
        seen = run_client(client_python, server.address, mytoken.root, PROBLEM, **{name: None})
    assert seen.startswith("ValidationError")
    assert name in seen
    assert mytoken.asked == []
    assert server.requests() == []


NEW = """
import json
import drift_monitor
try:
    drift_monitor.new_experiment("quay", "")
    problem = "none"
except Exception as error:
    problem = str(error)
print(json.dumps(problem))
"""


@of_the_client
def test_the_published_client_gives_up_a_server_that_does_not_answer(
    client_python: Path, server: Server
) -> None:
    with mytoken_server() as mytoken, Relay(server.port, replies=False) as relay:
        settings = {"DRIFT_MONITOR_TIMEOUT": "1"}
        seen = run_client(client_python, relay.address, mytoken.root, NEW, **settings)
        assert "read timeout=1" in seen
        # The server had done it all the same.
        again = run_client(client_python, server.address, mytoken.root, NEW)
        assert again == "Experiment already exists."


@of_the_client
def test_the_published_client_waits_for_mytoken_as_long_as_it_takes(
    client_python: Path, server: Server
) -> None:
    with mytoken_server(seconds=4) as mytoken:
        settings = {"DRIFT_MONITOR_TIMEOUT": "3"}
        seen = run_client(client_python, server.address, mytoken.root, PROBLEM, **settings)
    assert seen == "none"


@of_the_client
def test_a_mytoken_that_is_refused(client_python: Path, server: Server) -> None:
    with mytoken_server() as mytoken:
        settings = {"DRIFT_MONITOR_MYTOKEN": "another"}
        seen = run_client(client_python, server.address, mytoken.root, PROBLEM, **settings)
    assert "unknown mytoken" in seen
    assert server.requests() == []


@of_the_client
@pytest.mark.parametrize(
    ("token", "problem"),
    [("opaque", "DecodeError"), (unsigned_token(None), "KeyError: 'exp'")],
)
def test_the_published_client_needs_a_jwt_that_ends(
    client_python: Path, server: Server, token: str, problem: str
) -> None:
    script = PROBLEM.replace("queries.self_user()", "queries.self_user()\n    queries.self_user()")
    with mytoken_server(token) as mytoken:
        seen = run_client(client_python, server.address, mytoken.root, script)
    assert seen.startswith(problem)


@of_the_client
def test_the_published_client_checks_the_servers_certificate_unless_testing(
    client_python: Path, server: Server, tmp_path: Path
) -> None:
    certificate = write_certificate(tmp_path / "certificate.pem", "127.0.0.1")
    with mytoken_server() as mytoken, Relay(server.port, certificate=certificate) as relay:
        run = (client_python, relay.address, mytoken.root, PROBLEM)
        assert "CERTIFICATE_VERIFY_FAILED" in run_client(*run)
        assert server.requests() == []
        assert run_client(*run, TESTING="true") == "none"
        before, asked = relay.connections, len(server.requests())
        run_client(client_python, relay.address, mytoken.root, RECORDS, TESTING="true")
        assert relay.connections - before == len(server.requests()) - asked  # a new one for each


RECORDS = """
import json
import drift_monitor
from drift_monitor import queries
try:
    drift_monitor.new_experiment("buoy", "a camera", public=True)
    with drift_monitor.DriftMonitor("buoy", "model-1") as monitor:
        monitor(True, {"distance": 0.25})
    problem = queries.self_user().email
except Exception as error:
    problem = f"{type(error).__name__}: {error}"
print(json.dumps(problem))
"""


@of_the_client
@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda record: record.update(colour="red", depth={"m": 3}), "local@localhost"),
        (lambda record: record.pop("name", None), "'name': ['Missing data"),
        (lambda record: record.pop("model", None), "'model': ['Missing data"),
        (lambda record: record.update(name=5), "'name': ['Not a valid string"),
        (lambda record: record.update(drift_detected="maybe"), "'drift_detected': ['Not a valid"),
    ],
)
def test_the_published_client_takes_more_fields_but_wants_the_known_ones_with_their_types(
    client_python: Path, server: Server, change: Any, seen: str
) -> None:
    with mytoken_server() as mytoken, Rewriter(server.port, change) as rewriter:
        assert seen in run_client(client_python, rewriter.address, mytoken.root, RECORDS)


@of_the_client
def test_the_published_client_checks_mytokens_certificate_even_when_testing(
    client_python: Path, server: Server, tmp_path: Path
) -> None:
    certificate = write_certificate(tmp_path / "certificate.pem", "127.0.0.1")
    with mytoken_server(certificate=certificate) as mytoken:
        run = (client_python, server.address, mytoken.root, PROBLEM)
        assert "CERTIFICATE_VERIFY_FAILED" in run_client(*run, TESTING="true")
        assert run_client(*run, REQUESTS_CA_BUNDLE=str(certificate)) == "none"


@of_the_client
def test_the_published_client_goes_to_mytok_eu_unless_told_otherwise(
    client_python: Path, server: Server, tmp_path: Path
) -> None:
    """A proxy that leads to a server of this test instead."""
    certificate = write_certificate(tmp_path / "certificate.pem", "mytok.eu")
    with (
        mytoken_server(name="mytok.eu", certificate=certificate) as mytoken,
        Relay(mytoken.server_port, proxy=True) as proxy,
    ):
        seen = run_client(
            client_python,
            server.address,
            "",
            PROBLEM,
            MYTOKEN_SERVER=None,
            HTTPS_PROXY=proxy.address,
            NO_PROXY="127.0.0.1",
            REQUESTS_CA_BUNDLE=str(certificate),
        )
    assert seen == "none"
    assert proxy.hosts == {"mytok.eu:443"}
    assert mytoken.asked == ["/.well-known/mytoken-configuration", "/token"]


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
    with mytoken_server(token) as mytoken:
        seen = run_client(client_python, server, mytoken.root, VOCABULARY)
    assert seen == {
        "me": "una",
        "entitlements": ["user"],
        "users": 403,
        "jobs": 3,
        "left": ["Completed", "Failed"],
    }


USERS = """
import json
import drift_monitor
from drift_monitor import queries
drift_monitor.register(accept_terms=True)
users, _ = queries.search_user({"subject": "root"})
print(json.dumps([user.subject for user in users]))
"""


def test_the_published_client_searches_users_for_an_administrator(
    client_python: Path, site: tuple[str, str]
) -> None:
    provider, server = site
    token = access_token(provider, "root", resource="urn:lens")
    with mytoken_server(token) as mytoken:
        assert run_client(client_python, server, mytoken.root, USERS) == ["root"]
