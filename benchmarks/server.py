"""Speed and memory of the tracking server: `make bench-server`.

Prints medians and ratios measured in this run, and writes them to benchmarks/server.json.
`--jobs 100000` for a quicker look, `--requests 0` to leave the memory out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
from sqlalchemy import select, text

from benchmarks.filling import new_row, old_schema, put_jobs
from benchmarks.ingest import measure_ingest, source_of
from benchmarks.jobs import MINUTE, START, job
from benchmarks.serving import new_experiment, postgres, serving
from benchmarks.views import measure_series, measure_views
from benchmarks.writers import measure_writers
from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import experiments
from lenswatch.server.db.upgrade import prepare
from lenswatch.server.jobs import search
from lenswatch.server.query.language import parse_query
from lenswatch.server.values.stamps import iso

BEFORE = "c8e428f"  # the build before states, alerts and roll-ups
BEFORE_GROUPS = "dd8f27d"  # the build before jobs that come together were stored together
CAMERAS = 1005
SMALL, MIDDLE, LARGE, MANY = 1, 2, 3, 4  # numbers of the experiments that `fill` makes
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
    """Pages with 10,000 and with `large` jobs, in a database that `fill` made."""
    database = Database(url)
    small, big = MIDDLE, LARGE
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


def fill(url: str, large: int) -> dict[str, float]:
    """Fill an empty database as an older version did, and let this one migrate it.

    Its experiments are SMALL with 100 jobs, MIDDLE with 10,000, LARGE, and MANY with 1,005 cameras.
    """
    old_schema(url)
    database = Database(url)
    for count, make in ((100, _old), (10_000, _old), (large, _old), (2 * CAMERAS, _of_many)):
        with database.write() as connection:
            experiment = new_row(connection, START)
        put_jobs(database, experiment, count, make)
    started = time.perf_counter()
    prepare(url)
    taken = time.perf_counter() - started
    if not database.sqlite:
        with database.engine.connect().execution_options(
            isolation_level="AUTOCOMMIT"
        ) as connection:
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("VACUUM ANALYZE"))
    database.close()
    return {"seconds": round(taken, 1)}


def _old(number: int) -> dict[str, Any]:
    return job(number) | {"created_at": START + number * MINUTE}


def _of_many(number: int) -> dict[str, Any]:
    """A job of one of many cameras, of which one drifts."""
    made = _old(number)
    made["drift_detected"] = number % CAMERAS == 77
    made["job_status"] = "Completed"
    made["parameters"] |= {"stream": f"many{number % CAMERAS:04}", "warning": False}
    return made


def measure_targets(url: str, few_url: str, large: int) -> dict[str, Any]:
    """Series and pages of a full database, the pages beside those of one with 100 jobs."""
    old_schema(few_url)
    few = Database(few_url)
    with few.write() as connection:
        put_on = new_row(connection, START)
    put_jobs(few, put_on, 100, _old)
    prepare(few_url)
    few.close()
    with serving(url) as (client, _), serving(few_url) as (other, _):
        until_known(client)
        until_known(other)
        small, big = id_of(few_url, SMALL), id_of(url, LARGE)
        return {
            "series": measure_series(client, big, large),
            "views": measure_views(client, other, small, big),
        }


def until_known(client: httpx.Client) -> None:
    """Wait until the server has found the state of every stream."""
    while client.get("/overview").json()["counts"].get("waiting", 0):
        time.sleep(0.2)


def id_of(url: str, number: int) -> str:
    """The id of the experiment with a number."""
    database = Database(url)
    with database.read() as connection:
        query = select(experiments.c.id).where(experiments.c.number == number)
        found = str(connection.execute(query).scalar_one())
    database.close()
    return found


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
def databases(kind: str, folder: str, *names: str) -> Iterator[dict[str, str] | None]:
    """URLs of empty databases of a kind; None if there is none of that kind."""
    with contextlib.ExitStack() as stack:
        if kind == "sqlite":
            yield {name: f"sqlite:///{folder}/{name}.db" for name in names}
            return
        urls = {name: stack.enter_context(postgres(name)) for name in names}
        yield {name: url for name, url in urls.items() if url} or None


def measure(kind: str, urls: dict[str, str], jobs: int, earlier: Path) -> dict[str, Any]:
    """All that is measured on one kind of database."""
    writers = {"before": urls["alone"], "now": urls["together"]}
    with source_of(BEFORE_GROUPS) as ungrouped:
        measured = measure_writers(kind, writers, ungrouped)
    ingest = {name: urls[name] for name in ("before", "now", "rule")}
    return {
        "writers": measured,
        "ingest": measure_ingest(ingest, earlier),
        "migration": fill(urls["full"], jobs),
        "pages": measure_pages(urls["full"], jobs),
        **measure_targets(urls["full"], urls["few"], jobs),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--before", default=BEFORE, help="revision to compare ingest with")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, source_of(options.before) as earlier:
        for kind in ("sqlite", "postgresql"):
            names = ("alone", "together", "before", "now", "rule", "full", "few")
            with databases(kind, folder, *names) as urls:
                if urls is not None:
                    results[kind] = measure(kind, urls, options.jobs, earlier)
                    print(json.dumps({kind: results[kind]}, indent=1), flush=True)
        if options.requests:
            results["memory"] = measure_memory(f"sqlite:///{folder}/memory.db", options.requests)
            print(json.dumps(results["memory"]))
    Path(__file__).with_name("server.json").write_text(json.dumps(results, indent=1) + "\n")
    sys.exit(0 if '"good": false' not in json.dumps(results) else 1)


if __name__ == "__main__":
    main()
