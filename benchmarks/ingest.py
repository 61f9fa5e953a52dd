"""Jobs a second over HTTP: this build, this build with a rule on drift, and an earlier one, in turns."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx

from benchmarks.jobs import job
from benchmarks.serving import new_experiment, serving

__all__ = ["measure_ingest", "source_of"]

ROUNDS = 15
SINGLES = 40  # jobs of a round, one by one
BATCH = 1000
MOST_SINGLE = 0.10  # that deciding about alerts may add to a job's time
MOST_BATCH = 0.15
RULE = {"name": "drift", "on": ["drift", "recovery"], "digest_seconds": 0}


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
        posts = {}
        for name, url in urls.items():
            source = earlier if name == "before" else None
            client, _ = stack.enter_context(serving(url, source))
            base = new_experiment(client)
            if name == "rule":
                client.post(f"{base}/rule", json=RULE).raise_for_status()
            posts[name] = client, f"{base}/drift"
        one = _rounds(posts, _single, SINGLES)
        many = _rounds(posts, _batch, BATCH)
    now = statistics.median(one["now"]), statistics.median(many["now"])
    added = {"single": _added(one, "now", "rule"), "batch": _added(many, "now", "rule")}
    good = added["single"] <= MOST_SINGLE and added["batch"] <= MOST_BATCH
    return {
        "single_per_s": round(1 / now[0], 1),
        "batch_per_s": round(1 / now[1], 1),
        "alerts_add_single": added["single"],
        "alerts_add_batch": added["batch"],
        "more_than_before_single": _added(one, "before", "now"),
        "more_than_before_batch": _added(many, "before", "now"),
        "good": good and now[0] >= 15 * now[1],
    }


def _added(seconds: dict[str, list[float]], without: str, having: str) -> float:
    """The share that is added to a job's time: the median of the rounds."""
    pairs = zip(seconds[without], seconds[having], strict=True)
    return round(statistics.median(more / less for less, more in pairs) - 1, 3)


def _rounds(
    posts: dict[str, tuple[httpx.Client, str]], post: Callable[..., None], size: int
) -> dict[str, list[float]]:
    """Seconds for a job, of each round. The servers take turns, so that all meet the same load."""
    seconds: dict[str, list[float]] = {name: [] for name in posts}
    for number in range(ROUNDS + 1):
        for name, (client, path) in posts.items():
            started = time.perf_counter()
            post(client, path, number * size)
            if number:  # the first round warms up
                seconds[name].append((time.perf_counter() - started) / size)
    return seconds


def _single(client: httpx.Client, path: str, first: int) -> None:
    for number in range(first, first + SINGLES):
        assert client.post(path, json=job(number)).status_code == 201


def _batch(client: httpx.Client, path: str, first: int) -> None:
    first += ROUNDS * SINGLES + SINGLES
    answer = client.post(f"{path}/batch", json={"drifts": [job(first + n) for n in range(BATCH)]})
    assert {result["status"] for result in answer.json()["results"]} == {201}
