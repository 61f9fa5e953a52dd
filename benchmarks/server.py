"""Speed and memory of the tracking server: `make bench-server`.

Prints medians and ratios measured in this run, and writes them to benchmarks/server.json. The large databases
take some minutes to fill: `--jobs 100000` for a quicker look, `--requests 0` to leave the memory out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psycopg
from sqlalchemy import insert, make_url, text

from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import cursors, experiments
from lenswatch.server.db.upgrade import prepare
from lenswatch.server.jobs import search, store
from lenswatch.server.query.language import parse_query
from lenswatch.server.values.stamps import iso

MINUTE = 60_000_000
START = 1_700_000_000_000_000
SERVE = """
import sys
from pathlib import Path
from lenswatch.config import Config, ServerConfig
from lenswatch.server.run import serve
serve(Config(server=ServerConfig(port=int(sys.argv[1]), database=sys.argv[2]), root=Path(".")))
"""
ARGS = {"page": 1, "page_size": 10, "order_by": "desc", "sort_by": "created_at"}
COLUMN_FILTERS: dict[str, Callable[[int], Any]] = {
    "first page": lambda _: {},
    "status": lambda _: {"job_status": "Completed"},
    "rare status": lambda _: {"job_status": "Failed"},
    "drift": lambda _: {"drift_detected": True},
    "stream": lambda _: {"parameters.stream": "cam1"},
    "tag": lambda _: {"tags": {"$all": ["pier"]}},
    "rarer tag": lambda _: {"tags": {"$all": ["night"]}},
    "time, all": lambda _: {"created_at": {"$gt": "2020"}},
    "time, half": lambda n: {"created_at": {"$gt": iso(START + n * MINUTE // 2)}},
    "stream and drift": lambda _: {"parameters.stream": "cam1", "drift_detected": True},
}
OTHER_FILTERS = {
    "number": {"parameters.distance": {"$gt": 0.099}},
    "text": {"parameters.image_name": "img_00000777.jpg"},
    "nested number": {"parameters.window.filled": {"$lt": 3}},
    "expression": {"parameters.image_name": {"$regex": "0777\\.jpg$"}},
}


def job(number: int) -> dict[str, Any]:
    """A job like those of a node, the same for the same number."""
    share = number * 7919 % 10_007 / 10_007
    failed = number % 50 == 7
    return {
        "job_status": "Failed" if failed else "Completed",
        "model": "lenswatch@0123456789abcdef",
        "drift_detected": not failed and share > 0.9,
        "tags": ["pier", "night"] if number % 10 == 0 else ["pier"],
        "parameters": {
            "event_id": f"e{number}",
            "stream": f"cam{number % 5}",
            "captured_at": iso(START + number * MINUTE),
            "image_name": f"img_{number:08d}.jpg",
            "distance": share / 10,
            "drift_distance": 0.09,
            "warning_distance": 0.05,
            "warning": share > 0.5,
            "window": {"filled": 12, "size": 12},
            "calibrated": True,
        },
    }


def fill(database: Database, count: int) -> int:
    """A new experiment with `count` jobs, one a minute; its number."""
    name = uuid.uuid4().hex
    row = {
        "id": str(uuid.uuid4()),
        "created_at": START,
        "name": name,
        "name_digest": name,
        "public": True,
        "permissions": [],
    }
    with database.write() as connection:
        made = insert(experiments).values(row).returning(experiments.c.number)
        experiment = int(connection.execute(made).scalar_one())
        connection.execute(insert(cursors).values(experiment=experiment, seq=0, irregular=False))
    for start in range(0, count, 2000):
        batch = [
            job(n) | {"created_at": START + n * MINUTE}
            for n in range(start, min(start + 2000, count))
        ]
        with database.write() as connection:
            store.store(connection, experiment, batch)
    return experiment


def page_ms(database: Database, experiment: int, query: Any, times: int) -> float:
    """Milliseconds for a page with its exact total: the median of `times`."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        with database.read() as connection, database.limited(connection, 60):
            search.page(connection, experiment, parse_query(query), ARGS)
        taken.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(taken), 2)


def measure_pages(url: str, large: int) -> dict[str, Any]:
    """Pages with 10,000 and with `large` jobs, in a database that has its schema."""
    database = Database(url)
    small, big = fill(database, 10_000), fill(database, large)
    if not database.sqlite:
        with database.engine.connect().execution_options(
            isolation_level="AUTOCOMMIT"
        ) as connection:
            connection.execute(text("VACUUM ANALYZE"))
    results: dict[str, Any] = {}
    for name, make in COLUMN_FILTERS.items():
        few, many = (
            page_ms(database, small, make(10_000), 15),
            page_ms(database, big, make(large), 15),
        )
        good = many <= max(100, 3 * few)
        results[name] = {"ms_10000": few, f"ms_{large}": many, "good": good}
    for name, query in OTHER_FILTERS.items():
        many = page_ms(database, big, query, 3)
        results[f"other: {name}"] = {f"ms_{large}": many, "good": many <= 3000}
    database.close()
    return results


@contextlib.contextmanager
def serving(url: str) -> Iterator[tuple[httpx.Client, int]]:
    """A server on `url`: a client, and the server's process id."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    address = f"http://127.0.0.1:{port}/api/latest"
    with (
        subprocess.Popen([sys.executable, "-c", SERVE, str(port), url]) as process,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        try:
            while not _answers(client):
                if process.poll() is not None:
                    raise RuntimeError(f"the server ended with {process.returncode}")
                time.sleep(0.1)
            yield client, process.pid
        finally:
            process.terminate()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").is_success
    except httpx.TransportError:
        return False


def new_experiment(client: httpx.Client) -> str:
    """The path of a new experiment."""
    answer = client.post("/experiment", json={"name": uuid.uuid4().hex}).raise_for_status()
    return f"/experiment/{answer.json()['id']}"


def measure_ingest(url: str) -> dict[str, float]:
    """Jobs a second, one by one and in batches, over HTTP."""
    with serving(url) as (client, _):
        path = f"{new_experiment(client)}/drift"
        numbers = iter(range(10**9))

        def single() -> None:
            for _ in range(100):
                assert client.post(path, json=job(next(numbers))).status_code == 201

        def batch() -> None:
            answer = client.post(
                f"{path}/batch", json={"drifts": [job(next(numbers)) for _ in range(1000)]}
            )
            assert {result["status"] for result in answer.json()["results"]} == {201}

        one, many = _rate(single, 100), _rate(batch, 1000)
    return {
        "single_per_s": one,
        "batch_per_s": many,
        "ratio": round(many / one, 1),
        "good": many >= 15 * one,
    }


def _rate(work: Callable[[], None], size: int) -> float:
    work()
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return round(size / statistics.median(taken), 1)


def private_memory(pid: int) -> int:
    """Kilobytes that belong to a process alone (files of the database that it maps do not count)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon")))


def measure_memory(url: str, requests: int) -> dict[str, Any]:
    """Memory of a worker after a tenth of the requests and after all of them."""
    with serving(url) as (client, pid):
        base = new_experiment(client)
        first = 0
        for number in range(requests):
            if number % 4 == 0:
                answer = client.post(f"{base}/drift", json=job(number))
            elif number % 4 == 1:
                query = {"parameters.distance": {"$gt": number / 1e6}, "job_status": "Failed"}
                answer = client.post(f"{base}/drift/search", json=query)
            else:
                answer = client.get(base if number % 4 == 2 else f"{base}/streams")
            answer.raise_for_status()
            if number == requests // 10:
                first = private_memory(pid)
        last = private_memory(pid)
    return {
        "requests": requests,
        "kb_early": first,
        "kb_late": last,
        "ratio": round(last / first, 3),
        "good": last <= 1.2 * first,
    }


@contextlib.contextmanager
def postgres() -> Iterator[str | None]:
    """The URL of a database of our own, if there is a PostgreSQL."""
    address = os.environ.get(
        "LENSWATCH_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
    )
    url = make_url(address)
    admin = url.set(drivername="postgresql").render_as_string(hide_password=False)
    name = f"lenswatch_bench_{os.getpid()}"
    try:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
    except psycopg.OperationalError:
        print("no PostgreSQL: set LENSWATCH_TEST_POSTGRES or start one on 127.0.0.1:5432")
        yield None
        return
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=100_000)
    options = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, postgres() as postgres_url:
        urls = {"sqlite": f"sqlite:///{folder}/server.db", "postgresql": postgres_url}
        for name, url in urls.items():
            if url is None:
                continue
            prepare(url)
            results[f"{name} ingest"] = measure_ingest(url)
            results[f"{name} pages"] = measure_pages(url, options.jobs)
            print(
                json.dumps({key: results[key] for key in results if key.startswith(name)}, indent=1)
            )
        if options.requests:
            results["memory"] = measure_memory(f"sqlite:///{folder}/memory.db", options.requests)
            print(json.dumps(results["memory"]))
    Path(__file__).with_name("server.json").write_text(json.dumps(results, indent=1) + "\n")
    sys.exit(0 if '"good": false' not in json.dumps(results) else 1)


if __name__ == "__main__":
    main()
