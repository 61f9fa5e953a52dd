"""Starting, running and ending the server."""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import psycopg
import pytest
from sqlalchemy import make_url, text

from lenswatch.config import AuthConfig, Config, ServerConfig
from lenswatch.errors import ServerError
from lenswatch.server import run
from lenswatch.server.db.database import Database
from lenswatch.server.db.upgrade import prepare
from support.databases import own_postgres
from support.ports import free_port
from support.samples import JOB
from support.servers import command
from support.waiting import until_it_answers

WRITERS = """
import os, sys
from lenswatch.server.jobs import store
from lenswatch.server.db.database import Database

url, experiment, writers, writes = sys.argv[1], *map(int, sys.argv[2:])

def write(name):
    database = Database(url)
    for number in range(writes):
        job = {"job_status": "Completed", "model": "m", "drift_detected": False, "tags": ["t"]}
        job["parameters"] = {"event_id": f"{name}-{number}", "stream": name}
        with database.write() as connection:
            store.store(connection, experiment, [job])

children = []
for number in range(writers):
    children.append(os.fork())
    if not children[-1]:
        write(f"w{number}")
        os._exit(0)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


def make_experiment(client: httpx.Client, name: str = "pier") -> str:
    return str(client.post("/api/latest/experiment", json={"name": name}).json()["id"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database_url", "number"),
    [("sqlite", signal.SIGTERM), ("postgresql", signal.SIGINT)],
    indirect=["database_url"],
)
def test_a_signal_ends_it_soon_even_with_open_event_streams(serve: Any, number: int) -> None:
    served = serve()
    with served.client("") as client:
        experiment = make_experiment(client)
        with client.stream("GET", f"/api/latest/experiment/{experiment}/drift/live") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "retry: 2000"
            served.process.send_signal(number)
            assert list(lines) == [""]
        assert served.process.wait(30) == 0


@pytest.mark.slow
def test_requests_under_way_are_finished(serve: Any) -> None:
    served = serve()
    body = b'{"name": "late"}'
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        lines = ("POST /api/latest/experiment HTTP/1.1", "Host: localhost")
        kind = ("Content-Type: application/json", f"Content-Length: {len(body)}")
        head = "\r\n".join((*lines, *kind, "", ""))
        connection.sendall(head.encode() + body[:5])
        served.wait_until_ready()  # the first request has been taken up by now
        served.process.terminate()
        connection.sendall(body[5:])
        assert connection.recv(100).startswith(b"HTTP/1.1 201 ")
    assert served.process.wait(30) == 0


@pytest.mark.slow
def test_the_options_of_the_command_take_the_place_of_settings(
    tmp_path: Path, database_url: str
) -> None:
    settings, port, log = tmp_path / "config.toml", free_port(), tmp_path / "log"
    settings.write_text(
        '[server]\nhost = "127.0.0.3"\nport = 1\ndatabase = "sqlite:////proc/none"\n'
        'root_path = "/x"\nlog_level = "info"'
    )
    options = {
        "--config": str(settings),
        "--database": database_url,
        "--host": "127.0.0.2",
        "--port": str(port),
        "--root-path": "/lens",
    }
    words = [word for option in options.items() for word in option]
    command = [sys.executable, "-m", "lenswatch", "server", *words]
    with log.open("w") as stderr, subprocess.Popen(command, stderr=stderr) as process:
        try:
            address = f"http://127.0.0.2:{port}"
            until_it_answers(f"{address}/readyz", process)
            made = httpx.post(f"{address}/api/latest/experiment", json={"name": "pier"}, timeout=60)
            document = httpx.get(f"{address}/api/latest/specification.json", timeout=60).json()
        finally:
            process.terminate()
    assert process.returncode == 0
    assert document["servers"] == [{"url": "/lens/api/latest"}]
    assert '"event": "request"' in log.read_text()  # the rest is as the file says
    database = Database(database_url)
    with database.read() as connection:
        stored = connection.execute(text("SELECT id FROM experiments")).scalars().all()
    database.close()
    assert stored == [made.json()["id"]]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_one_line_says_where_the_server_listens(tmp_path: Path, workers: int) -> None:
    port = free_port()
    (tmp_path / "config.toml").write_text(f"[server]\nport = {port}\nworkers = {workers}\n")
    command = [sys.executable, "-m", "lenswatch", "server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout
        first = process.stdout.readline()
        answer = httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=60)
        for worker in workers_of(process)[:1]:
            worker.kill()  # the next one starts without a word
        until_it_answers(f"http://127.0.0.1:{port}/readyz", process)
        process.terminate()
        rest = process.stdout.read()
    assert first == (
        f"Tracking server on http://127.0.0.1:{port} (SQLite storage/server.db, no accounts)\n"
    )
    assert answer.status_code == 200
    assert rest == ""


@pytest.mark.slow
def test_a_server_that_does_not_listen_says_nothing(tmp_path: Path) -> None:
    for workers in (1, 2):
        starting = command(
            tmp_path, port=free_port(), workers=workers, app="unusable", limits={"crashes": 0}
        )
        ended = subprocess.run(starting, capture_output=True, text=True, timeout=120, check=False)
        assert (ended.returncode, ended.stdout) == (1, "")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"database": "postgresql+psycopg://ann:secret@db.example:5433/lens?password=secret"},
            "http://127.0.0.1:5001 (PostgreSQL lens on db.example, no accounts)",
        ),
        (
            {"database": "postgresql:///lens?host=/run/postgresql", "auth": AuthConfig("keys")},
            "http://127.0.0.1:5001 (PostgreSQL lens, API keys)",
        ),
        (
            {"host": "::1", "port": 80, "root_path": "/x/", "database": "sqlite:////a/b.db"},
            "http://[::1]:80/x (SQLite /a/b.db, no accounts)",
        ),
        (
            {"database": "sqlite:///b.db", "auth": AuthConfig("oidc")},
            "http://127.0.0.1:5001 (SQLite b.db, OpenID Connect and API keys)",
        ),
    ],
)
def test_the_line_never_holds_a_password(settings: Any, line: str, capsys: Any) -> None:
    run._announce(Config(server=ServerConfig(**settings)))
    assert capsys.readouterr().out == f"Tracking server on {line}\n"


def test_a_busy_port_is_one_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(
            ServerError, match=rf"cannot listen on 127.0.0.1:{port}: Address already in use"
        ):
            run.serve(Config(server=ServerConfig(port=port), root=tmp_path))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "lens.example"])
def test_without_identity_only_loopback_addresses_are_served(host: str, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="can be reached from other machines"):
        run.serve(Config(server=ServerConfig(host=host), root=tmp_path))


@pytest.mark.parametrize(
    ("auth", "missing"),
    [({}, "server.auth.issuers"), ({"issuers": ("http://x",)}, "server.auth.user_entitlements")],
)
def test_incomplete_identity_settings_are_refused(auth: Any, missing: str, tmp_path: Path) -> None:
    config = Config(server=ServerConfig(auth=AuthConfig(mode="oidc", **auth)), root=tmp_path)
    with pytest.raises(ServerError, match=missing):
        run.serve(config)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////proc/nowhere/server.db",
        "nonsense",
        "oracle://x",
        "postgresql+psycopg://nobody:secret@127.0.0.1:1/none",
        "postgresql://nobody:secret@127.0.0.1:1/none",
        "postgresql+psycopg://nobody:secret@h:notaport/x",
        "postgresql+psycopg2://nobody:secret@127.0.0.1/x",
        "mysql://nobody:secret@127.0.0.1/x",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory&uri=true",
    ],
)
def test_an_unusable_database_is_one_clear_error(url: str) -> None:
    with pytest.raises(ServerError, match=r"server\.database") as refused:
        prepare(url)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_psycopg_need_not_be_named(postgres: str) -> None:
    database = Database(postgres.replace("postgresql+psycopg:", "postgresql:"))
    database.ping()
    assert database.engine.url == make_url(postgres)
    database.close()


def test_a_database_that_cannot_hold_every_character_is_refused() -> None:
    options = "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    with own_postgres(options) as url, pytest.raises(ServerError, match="SQL_ASCII") as refused:
        prepare(url)
    assert "createdb --encoding UTF8" in str(refused.value)


def test_a_newer_database_is_refused(database_url: str) -> None:
    database = Database(database_url)
    with database.write() as connection:
        before = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    try:
        with pytest.raises(ServerError, match="newer Lenswatch"):
            prepare(database_url)
    finally:
        with database.write() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": before})
        database.close()


def test_an_empty_database_is_refused_when_it_may_not_be_migrated(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    with pytest.raises(ServerError, match=r"is empty, .* start once without --no-migrate"):
        prepare(url, migrate=False)
    prepare(url)
    prepare(url, migrate=False)


def test_the_migrations_give_the_schema_of_the_models(database_url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from lenswatch.server.db.tables import metadata

    database = Database(database_url)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


@pytest.mark.slow
def test_eight_processes_writing_at_once_lose_nothing(serve: Any, database_url: str) -> None:
    served, writes = serve(), 40
    with served.client("") as client:
        experiment = make_experiment(client)
        database = Database(database_url)
        with database.read() as connection:
            number = connection.execute(text("SELECT number FROM experiments")).scalar_one()
        arguments = [database_url, str(number), "8", str(writes)]
        writers = subprocess.Popen([sys.executable, "-c", WRITERS, *arguments])
        job = JOB | {"job_status": "Failed"}
        with ThreadPoolExecutor(4) as pool:
            path = f"/api/latest/experiment/{experiment}/drift"
            codes = set(pool.map(lambda _: client.post(path, json=job).status_code, range(40)))
        assert codes == {201}
        assert writers.wait(120) == 0
        streams = client.get(f"/api/latest/experiment/{experiment}/streams").json()
        assert {s["stream"]: s["total"] for s in streams} == {f"w{i}": writes for i in range(8)} | {
            None: 40
        }
        with database.read() as connection:
            seqs = connection.execute(text("SELECT seq FROM drifts ORDER BY seq")).scalars().all()
        assert seqs == list(range(1, 8 * writes + 40 + 1))
        database.close()


@pytest.mark.slow
def test_several_workers_share_the_work_and_a_dead_one_is_replaced(serve: Any) -> None:
    served = serve(workers=2)
    with served.client("") as client:
        experiment = make_experiment(client)
        with client.stream("GET", f"/api/latest/experiment/{experiment}/drift/live") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "retry: 2000"
            url = f"{served.address}/api/latest/experiment/{experiment}/drift"
            for _ in range(10):  # on new connections, so that both workers take some
                assert httpx.post(url, json=JOB, timeout=60).status_code == 201
            assert len(list(itertools.islice(_data(lines), 10))) == 10
    workers = workers_of(served.process)
    assert len(workers) == 2
    workers[0].kill()
    served.wait_until_ready()
    text_of_metrics = httpx.get(f"{served.address}/metrics", timeout=60).text
    assert 'route="/experiment/{experiment_id}/drift",status="201"} 10.0' in text_of_metrics
    assert 'verdict="clean"} 10.0' in text_of_metrics


def workers_of(process: subprocess.Popen[Any]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def _data(lines: Any) -> Any:
    return (line for line in lines if line.startswith("data: "))


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_works_under_a_sub_path(serve: Any) -> None:
    with serve(root_path="/lens").client("") as client:
        document = client.get("/api/latest/specification.json").json()
        assert document["servers"] == [{"url": "/lens/api/latest"}]
        assert client.get("/api/v1/user/self").status_code == 200
        assert client.get("/").status_code == 200


def test_health_and_readiness(local: Any) -> None:
    assert local.client.get("/healthz").json() == {"status": "ok"}
    assert local.client.get("/readyz").json() == {"status": "ok"}
    for prefix in ("/api/v1", "/api/latest"):
        answer = local.client.get(f"{prefix}/")
        assert (answer.status_code, answer.content) == (204, b"")


@contextlib.contextmanager
def taken_away(database_url: str) -> Iterator[None]:
    """Within: nobody gets at the database."""
    if database_url.startswith("sqlite"):
        Path(database_url.removeprefix("sqlite:///")).write_bytes(b"not a database" * 1000)
        yield
        return
    url = make_url(database_url)
    admin = url.set(drivername="postgresql", database="postgres")
    with psycopg.connect(
        admin.render_as_string(hide_password=False), autocommit=True
    ) as connection:
        allow = f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS '
        connection.execute(allow + "false")
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        connection.execute(ended, [url.database])
        try:
            yield
        finally:
            connection.execute(allow + "true")


def test_it_tells_when_the_database_is_gone(local: Any, database_url: str) -> None:
    local.client.app.state.services.database.engine.dispose()
    with taken_away(database_url):
        for path in ("/readyz", "/api/v1/user/self"):
            answer = local.client.get(path)
            assert answer.status_code == 503
            assert answer.json()["message"] == "The database does not answer."
        assert local.client.get("/healthz").status_code == 200
    if not database_url.startswith("sqlite"):
        assert local.client.get("/readyz").status_code == 200


@pytest.mark.slow
def test_the_server_needs_nothing_of_the_node() -> None:
    script = """
import sys
for name in ("torch", "torchvision", "deepaas", "frouros", "numpy", "scipy"):
    sys.modules[name] = None
import lenswatch.server.run, lenswatch.server.identity.keys
node = ("lenswatch.api", "lenswatch.node.observe", "lenswatch.node.store.store")
assert not any(name.startswith(node) for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.slow
def test_the_server_is_starlette_alone() -> None:
    script = """
import sys
import lenswatch.server.app
assert "starlette" in sys.modules
assert not {"fastapi", "pydantic", "pydantic_core"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
