"""A database that is away, read-only, damaged, locked or silent: 503, and all is well once it is back."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import psycopg
import pytest
from sqlalchemy import event, make_url, text
from sqlalchemy.exc import ProgrammingError
from starlette.testclient import TestClient

from lenswatch.server.app import create_app
from lenswatch.server.db.database import Database
from lenswatch.server.db.engines import STATEMENT_SECONDS
from lenswatch.server.upkeep.service import Upkeep
from support.api import Api, config_for
from support.samples import JOB
from support.servers import served
from support.waiting import until


@pytest.fixture
def file(database_url: str) -> Path:
    """The SQLite file."""
    if not database_url.startswith("sqlite"):
        pytest.skip("by design: only SQLite has a file of its own")
    return Path(database_url.removeprefix("sqlite:///"))


@pytest.fixture
def postgres_url(database_url: str) -> str:
    if database_url.startswith("sqlite"):
        pytest.skip("by design: only PostgreSQL is a server of its own")
    return database_url


def is_out(*answers: Any) -> None:
    for answer in answers:
        assert answer.status_code == 503
        assert answer.json()["message"] == "The database does not answer."
        assert answer.headers["Retry-After"]


def backup(file: Path, target: Path) -> Path:
    with (
        contextlib.closing(sqlite3.connect(file)) as source,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)
    return target


def restore(copy: Path, file: Path) -> None:
    """As the documentation says."""
    copy.replace(file)
    for log in ("-wal", "-shm"):
        file.with_name(file.name + log).unlink(missing_ok=True)


def test_a_file_that_was_moved_away_is_an_outage(local: Any, file: Path) -> None:
    experiment = local.experiment()
    path = f"/experiment/{experiment['id']}"
    file.rename(file.with_suffix(".away"))
    is_out(local.client.get("/readyz"), local.get(path), local.post(f"{path}/drift", json=JOB))
    assert local.client.get("/healthz").status_code == 200
    assert not file.exists()
    file.with_suffix(".away").rename(file)
    assert local.client.get("/readyz").status_code == 200
    assert local.search(experiment, {}).json() == []


def test_a_file_that_was_replaced_is_the_one_that_counts(
    local: Any, file: Path, tmp_path: Path
) -> None:
    experiment = local.experiment("in the copy")
    copy = backup(file, tmp_path / "copy.db")
    local.experiment("later")
    restore(copy, file)
    assert local.post("/experiment/search", json={}).json() == [experiment]
    job = local.drift(experiment)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT id FROM drifts").fetchall() == [(job["id"],)]


def test_the_log_of_another_file_is_not_taken_for_that_of_a_new_one(
    local: Any, file: Path, tmp_path: Path
) -> None:
    local.experiment("in the copy")
    copy = backup(file, tmp_path / "copy.db")
    local.experiment("later")
    copy.replace(file)  # and nothing else
    is_out(local.client.get("/readyz"), local.post("/experiment/search", json={}))
    restore(file, file)
    [found] = local.post("/experiment/search", json={}).json()
    assert found["name"] == "in the copy"


def test_no_file_is_opened_beside_one_that_is_still_open(
    local: Any, file: Path, tmp_path: Path
) -> None:
    database = local.client.app.state.services.database
    copy = backup(file, tmp_path / "copy.db")
    with database.read() as connection:
        connection.execute(text("SELECT * FROM users"))
        restore(copy, file)
        is_out(local.post("/experiment", json={"name": "pier"}))
    assert local.experiment("pier")["name"] == "pier"


def test_a_damaged_file_is_an_outage_until_a_good_one_is_there(
    local: Any, file: Path, tmp_path: Path
) -> None:
    experiment = local.experiment()
    copy = backup(file, tmp_path / "copy.db")
    with file.open("r+b") as damaged:
        damaged.write(b"garbage!" * (file.stat().st_size // 8))
    is_out(local.client.get("/readyz"))
    local.client.app.state.services.database.engine.dispose()  # nothing is in its memory any more
    path = f"/experiment/{experiment['id']}"
    is_out(local.get(path), local.post(f"{path}/drift", json=JOB), local.client.get("/readyz"))
    restore(copy, file)
    assert local.client.get("/readyz").status_code == 200
    assert local.get(path).json() == experiment


def test_a_file_that_was_cut_short_is_an_outage(local: Any, file: Path) -> None:
    experiment = local.experiment()
    jobs = [JOB | {"parameters": {"text": "x" * 9000}}] * 1000
    local.post(f"/experiment/{experiment['id']}/drift/batch", json={"drifts": jobs})
    engine = local.client.app.state.services.database.engine
    engine.dispose()  # and with the last connection goes the log
    assert local.search(experiment, {"parameters.text": "y"}).json() == []
    os.truncate(file, 8192)
    is_out(local.search(experiment, {"parameters.text": "z"}), local.client.get("/readyz"))


def test_a_file_that_cannot_be_opened_is_an_outage(local: Any, file: Path) -> None:
    file.rename(file.with_suffix(".away"))
    file.mkdir()
    is_out(local.client.get("/readyz"), local.get("/user/self"))


@contextlib.contextmanager
def altered(url: str, change: str, back: str) -> Iterator[None]:
    """Within: the database is altered, for new connections; all get new ones."""
    parsed = make_url(url)
    admin = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:

        def alter(how: str) -> None:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f'ALTER DATABASE "{parsed.database}" {how}')
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            connection.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
            )

        alter(change)
        try:
            yield
        finally:
            alter(back)


def test_a_read_only_database_is_read_but_is_not_ready(local: Any, postgres_url: str) -> None:
    experiment = local.experiment()
    path = f"/experiment/{experiment['id']}"
    readonly = "default_transaction_read_only"
    with altered(postgres_url, f"SET {readonly} = on", f"RESET {readonly}"):
        for _ in range(2):
            assert local.get(path).status_code == 200
            is_out(local.client.get("/readyz"), local.post(f"{path}/drift", json=JOB))
            is_out(local.put(path, json={"name": "x"}), local.delete(path))
    assert local.drift(experiment)
    assert local.client.get("/readyz").status_code == 200


@pytest.mark.slow
def test_a_file_that_is_read_only_is_read_but_is_not_ready(tmp_path: Path) -> None:
    folder, file = tmp_path, tmp_path / "server.db"
    with (
        served(folder, database=f"sqlite:///{file}", obeying=True) as running,
        running.client() as client,
    ):
        readyz = f"{running.address}/readyz"
        experiment = client.post("/experiment", json={"name": "pier"}).json()
        path = f"/experiment/{experiment['id']}"
        copy = backup(file, folder / "copy.db")
        copy.chmod(0o444)
        restore(copy, file)
        for _ in range(2):
            is_out(httpx.get(readyz, timeout=60))
            assert client.get(path).json() == experiment
            is_out(client.post(f"{path}/drift", json=JOB))
        assert client.get(path).status_code == 200
        process = psutil.Process(running.process.pid)
        before = process.num_fds()
        is_out(*(httpx.get(readyz, timeout=60) for _ in range(60)))
        assert process.num_fds() < before + 30  # the upkeep may have opened a few meanwhile
        for each in folder.iterdir():
            each.chmod(0o666)
        assert client.post(f"{path}/drift", json=JOB).status_code == 201
        assert httpx.get(readyz, timeout=60).status_code == 200


def test_a_file_that_another_process_writes_to_is_ready(local: Any, file: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_LONG, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        assert other.stdin
        assert other.stdout.readline() == b"locked\n"
        assert local.client.get("/readyz").status_code == 200
        other.stdin.close()
    assert other.returncode == 0


WRITE_FOR_LONG = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def writes_held(database_url: str) -> Iterator[None]:
    """Within: somebody else's transaction keeps jobs from being stored."""
    if database_url.startswith("sqlite"):
        file = database_url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
        return
    database = Database(database_url)
    with database.write() as connection:
        connection.execute(text("SELECT * FROM cursors FOR UPDATE"))
        yield
    database.close()


@pytest.mark.slow
def test_reads_go_on_while_writers_wait(local: Any, database_url: str) -> None:
    experiment = local.experiment()
    path = f"/experiment/{experiment['id']}"
    writers = local.client.app.state.services.writers
    with ThreadPoolExecutor(50) as pool:
        with writes_held(database_url):
            batch = {"drifts": [JOB]}
            posts = [pool.submit(local.post, f"{path}/drift/batch", json=batch) for _ in range(40)]
            until(lambda: writers.statistics().tasks_waiting >= 32)
            for _ in range(5):
                assert pool.submit(local.get, path).result(60).status_code == 200
                assert local.client.get("/readyz").status_code == 200
        assert {post.result().status_code for post in posts} == {200}


class Proxy:
    """A way to PostgreSQL that can freeze: what was connected stays so, and nothing passes any more."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.open = threading.Event()
        self.open.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self.listener.accept()
                if not self.open.is_set():
                    here.close()
                    continue
                there = socket.create_connection(self.target)
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError), source, target:
            while data := source.recv(65536):
                self.open.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[Proxy]:
    url = make_url(postgres_url)
    proxy = Proxy((str(url.host), url.port or 5432))
    yield proxy
    proxy.open.set()
    proxy.listener.close()


@pytest.fixture
def proxied_url(postgres_url: str, proxy: Proxy) -> str:
    url = make_url(postgres_url).set(host="127.0.0.1", port=proxy.port)
    return url.render_as_string(hide_password=False)


def test_a_database_that_has_frozen_is_an_outage(
    proxy: Proxy, proxied_url: str, tmp_path: Path
) -> None:
    app = create_app(config_for(proxied_url, tmp_path))
    app.state.services.database.close()
    app.state.services.database = database = Database(proxied_url, silence_seconds=3.0)
    app.state.upkeep = Upkeep(database, [], app.state.log)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        local = Api(client)
        experiment = local.experiment()
        path = f"/experiment/{experiment['id']}"
        proxy.open.clear()
        is_out(local.get(path), local.post(f"{path}/drift", json=JOB), client.get("/readyz"))
        proxy.open.set()
        assert local.get(path).json() == experiment
        assert local.drift(experiment)
        assert client.get("/readyz").status_code == 200


def test_a_frozen_database_keeps_nobody_from_ending_the_server(
    serve: Any, proxy: Proxy, proxied_url: str
) -> None:
    served = serve(database=proxied_url)
    address = f"{served.address}/api/latest/user/self"
    assert httpx.get(address, timeout=60).status_code == 200
    proxy.open.clear()
    started = time.monotonic()
    is_out(httpx.get(f"{served.address}/readyz", timeout=60))  # the frozen read goes on
    is_out(httpx.get(f"{served.address}/readyz", timeout=60))
    assert time.monotonic() - started < STATEMENT_SECONDS
    served.process.terminate()
    assert served.process.wait(60) == 0


@pytest.mark.slow
def test_a_lock_keeps_nobody_from_ending_the_server(serve: Any, file: Path) -> None:
    served = serve()
    address = f"{served.address}/api/latest/experiment"
    with (
        contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute("BEGIN IMMEDIATE")
        answer = pool.submit(httpx.post, address, json={"name": "pier"}, timeout=30)
        until(lambda: httpx.get(f"{served.address}/healthz", timeout=60).status_code == 200)
        served.process.terminate()
        assert served.process.wait(60) == 0
        with contextlib.suppress(httpx.TransportError):
            assert answer.result().status_code >= 500


def test_a_statement_that_is_wrong_is_logged_as_what_it_is(local: Any, capfd: Any) -> None:
    def fail(*_: Any) -> None:
        raise ProgrammingError("SELECT nonsense", {}, Exception("no such thing"))

    engine = local.client.app.state.services.database.engine
    event.listen(engine, "before_cursor_execute", fail)
    answer = local.get("/user/self")
    assert (answer.status_code, answer.json()) == (
        500,
        {"code": 500, "status": "Internal Server Error"},
    )
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    [crash] = [line for line in lines if line["event"] == "crash"]
    assert crash["exception"].strip().splitlines()[-3].startswith("sqlalchemy.exc.ProgrammingError")
    assert "RuntimeError" not in crash["exception"]


def test_an_outage_is_logged_with_its_reason(local: Any, file: Path, capfd: Any) -> None:
    file.rename(file.with_suffix(".away"))
    answer = local.get("/user/self")
    is_out(answer)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    [outage] = [line for line in lines if line["event"] == "outage"]
    assert outage["reason"] == f"{file} is missing or inaccessible"
    assert outage["request_id"] == answer.headers["X-Request-ID"]
