"""Jobs a second over HTTP: this build, this build with a rule on drift, and an earlier one, in turns."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil

from benchmarks.jobs import job
from benchmarks.serving import new_experiment, serving

__all__ = ["measure_ingest", "source_of"]

ROUNDS = 15
SINGLES = 40  # jobs of a round, one by one
BATCH = 1000
MOST_SINGLE = 0.10  # that deciding about alerts may add to a job's time
MOST_BATCH = 0.15
RULE = {"name": "drift", "on": ["drift", "recovery"], "digest_seconds": 0}


@dataclass(frozen=True)
class _Posting:
    client: httpx.Client
    path: str
    server: psutil.Process

    def cpu(self) -> float:
        times = self.server.cpu_times()
        return float(times.user + times.system)


@dataclass
class _Taken:
    """Seconds for a job, of each round, and CPU seconds of the server for all of them."""

    seconds: list[float] = field(default_factory=list)
    cpu: float = 0.0


@contextlib.contextmanager
def source_of(revision: str) -> Iterator[Path]:
    """The source folder of a revision, unpacked into a temporary folder."""
    here = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "source.tar"
        subprocess.run(["git", "-C", here, "archive", "-o", packed, revision, "src"], check=True)
        subprocess.run(["tar", "-xf", packed, "-C", folder], check=True)
        yield Path(folder) / "src"


def measure_ingest(urls: dict[str, str], earlier: Path) -> dict[str, Any]:
    """Jobs a second, and what each build takes for a job compared with the others.

    Args:
        urls: Databases for "now", "rule" and "before".
        earlier: The source folder for "before".
    """
    with contextlib.ExitStack() as stack:
        posts: dict[str, _Posting] = {}
        for name, url in urls.items():
            source = earlier if name == "before" else None
            client, pid = stack.enter_context(serving(url, source))
            base = new_experiment(client)
            if name == "rule":
                client.post(f"{base}/rule", json=RULE).raise_for_status()
            posts[name] = _Posting(client, f"{base}/drift", psutil.Process(pid))
        one = _rounds(posts, _single, SINGLES)
        many = _rounds(posts, _batch, BATCH)
    now = statistics.median(one["now"].seconds), statistics.median(many["now"].seconds)
    added = {"single": _added(one, "now", "rule"), "batch": _added(many, "now", "rule")}
    good = added["single"][0] <= MOST_SINGLE and added["batch"][0] <= MOST_BATCH
    return {
        "single_per_s": round(1 / now[0], 1),
        "batch_per_s": round(1 / now[1], 1),
        "single_cpu_ms": round(1000 * one["now"].cpu / (ROUNDS * SINGLES), 3),
        "batch_cpu_ms": round(1000 * many["now"].cpu / (ROUNDS * BATCH), 3),
        "alerts_add_single, time and CPU": added["single"],
        "alerts_add_batch, time and CPU": added["batch"],
        "more_than_before_single, time and CPU": _added(one, "before", "now"),
        "more_than_before_batch, time and CPU": _added(many, "before", "now"),
        "good": good and now[0] >= 15 * now[1],
    }


def _added(taken: dict[str, _Taken], without: str, having: str) -> tuple[float, float]:
    """The share that is added to a job's time, as the median of the rounds, and to its CPU time."""
    pairs = zip(taken[without].seconds, taken[having].seconds, strict=True)
    time_added = statistics.median(more / less for less, more in pairs) - 1
    return round(time_added, 3), round(taken[having].cpu / taken[without].cpu - 1, 3)


def _rounds(posts: dict[str, _Posting], post: Callable[..., None], size: int) -> dict[str, _Taken]:
    """Return the times that each server took. They take turns, so that all meet the same load."""
    taken = {name: _Taken() for name in posts}
    for number in range(ROUNDS + 1):
        for name, posting in posts.items():
            started, cpu = time.perf_counter(), posting.cpu()
            post(posting.client, posting.path, number * size)
            if number:  # the first round warms up
                taken[name].seconds.append((time.perf_counter() - started) / size)
                taken[name].cpu += posting.cpu() - cpu
    return taken


def _single(client: httpx.Client, path: str, first: int) -> None:
    for number in range(first, first + SINGLES):
        assert client.post(path, json=job(number)).status_code == 201


def _batch(client: httpx.Client, path: str, first: int) -> None:
    first += ROUNDS * SINGLES + SINGLES
    answer = client.post(f"{path}/batch", json={"drifts": [job(first + n) for n in range(BATCH)]})
    assert {result["status"] for result in answer.json()["results"]} == {201}
