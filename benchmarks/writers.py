"""Jobs a second of four clients that post to one experiment: this build and an earlier one, in turns."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.jobs import job
from benchmarks.serving import new_experiment, serving

__all__ = ["measure_writers"]

CLIENTS = 4
ROUNDS = 20
JOBS = 100  # of a round
GOAL = {"sqlite": 0.95, "postgresql": 2.0}  # times the rate of the earlier build


def measure_writers(kind: str, urls: dict[str, str], earlier: Path) -> dict[str, Any]:
    """Jobs a second, one by one, of CLIENTS that post at the same time, over all rounds.

    Args:
        kind: Kind of the databases.
        urls: Databases for "now" and "before".
        earlier: The source folder for "before".
    """
    taken = dict.fromkeys(urls, 0.0)
    with contextlib.ExitStack() as stack:
        paths = {}
        for name, url in urls.items():
            source = earlier if name == "before" else None
            client, _ = stack.enter_context(serving(url, source))
            paths[name] = client.base_url.port, f"/api/latest{new_experiment(client)}/drift"
        numbers = itertools.count()
        for number in range(ROUNDS + 1):
            for name, (port, path) in paths.items():
                bodies = iter([json.dumps(job(next(numbers))) for _ in range(JOBS)])
                started = time.perf_counter()
                _post_all(port, path, bodies)
                if number:  # the first round warms up
                    taken[name] += time.perf_counter() - started
    ratio = taken["before"] / taken["now"]
    return {
        "clients": CLIENTS,
        "per_s_before": round(ROUNDS * JOBS / taken["before"], 1),
        "per_s": round(ROUNDS * JOBS / taken["now"], 1),
        "ratio": round(ratio, 2),
        "good": ratio >= GOAL[kind],
    }


def _post_all(port: int | None, path: str, bodies: Iterator[str]) -> None:
    """Post each body once.

    Raises:
        RuntimeError: A request was not answered with 201.
    """
    turn, failed = threading.Lock(), list[str]()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while not failed:
            with turn:
                body = next(bodies, None)
            if body is None:
                break
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            said = reply.read()
            if reply.status != 201:
                failed.append(f"{reply.status}: {said[:200]!r}")
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(failed[0])
