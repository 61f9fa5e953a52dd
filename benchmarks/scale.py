"""Needs of a thousand cameras, a hundred million pictures and a billion jobs: `python -m benchmarks.scale`.

Costs of one picture and of one job are measured on this machine, in CPU seconds, which other work changes
little. The rest is simulated from them: queues of live pictures, and the tasks of a backfill.
"""

from __future__ import annotations

import argparse
import heapq
import json
import logging
import random
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from benchmarks.backfill import draw
from benchmarks.node import make_node
from benchmarks.serving import new_experiment, serving
from lenswatch.backfill.parts import to_parquet
from lenswatch.memory import keep_freed_memory
from lenswatch.node.current import Current
from lenswatch.node.extractor import extractor_of
from lenswatch.node.request import Request
from lenswatch.outbox.rows import OutboxRows

CAMERAS = 1_000
ARCHIVE = 100_000_000  # pictures
JOBS = 1_000_000_000
CHUNK = 64  # pictures of a task
SERVED_MS = 6.0  # of CPU that HTTP, DEEPaaS and the sender add to a picture: docs/performance.md
DAY = 24 * 3600.0


@dataclass(frozen=True)
class Costs:
    """Measured costs.

    Attributes:
        look_ms: CPU of reading, encoding and measuring a picture.
        judge_ms: CPU of judging and recording it.
        keep_ms: CPU of the command for the features of a picture.
        features_bytes: Of a picture in the Parquet files, without its small JPEG.
        thumbnail_bytes: Of the small JPEG.
        job_ms: CPU of the tracking server for a job of a batch.
        job_bytes: Of a job in the tracking server's SQLite database, indexes included.
    """

    look_ms: float
    judge_ms: float
    keep_ms: float
    features_bytes: float
    thumbnail_bytes: float
    job_ms: float
    job_bytes: float


def main() -> None:
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--keep-ms", type=float, default=0.3, help="see benchmarks.backfill")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        costs = measured(Path(folder), given.width, given.keep_ms)
    print(json.dumps({key: round(value, 3) for key, value in asdict(costs).items()}, indent=1))
    print("\nlive: cameras at 1 picture/s; cores, busy share, waits of half and of 99 % in ms\n")
    for cores, busy, half, most in live(costs):
        print(f"| {cores} | {busy:.0%} | {half:.0f} | {most:.0f} |")
    print("\narchive: backfills side by side, workers of each; hours, busy share of the workers\n")
    for backfills, workers, hours, busy in archive(costs):
        print(f"| {backfills} | {workers} | {hours:.1f} | {busy:.0%} |")
    print("\njobs of a billion\n")
    print(f"database {JOBS * costs.job_bytes / 1e9:.0f} GB")
    print(f"pictures {JOBS * costs.thumbnail_bytes / 1e12:.1f} TB")
    print(f"server CPU {JOBS * costs.job_ms / 1e3 / 3600:.0f} core hours")
    print(f"features of the archive {ARCHIVE * costs.features_bytes / 1e9:.0f} GB")


def measured(root: Path, width: int, keep_ms: float) -> Costs:
    """Measure what a picture and a job cost."""
    keep_freed_memory()
    drawn = draw(width)
    node = make_node(root / "node", drawn[:6])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    looks: list[float] = []
    judged: list[float] = []
    for i in range(400):
        taken = start + timedelta(minutes=i)
        request = Request(event_id=f"e{i}", image_name=f"{i}.jpg", captured_at=taken, backlog=True)
        data = drawn[i % len(drawn)]
        begun = time.thread_time()
        seen = node.look(data, request)
        between = time.thread_time()
        node.observe(data, request, seen, hasty=True)
        looks.append(between - begun)
        judged.append(time.thread_time() - between)
    jobs = [row.job for row in OutboxRows(node.store).due(400)]
    loaded = Current(node.config).fitted_reference()
    extractor = extractor_of(node.config, *loaded, thumbnails=True).ready()
    found = {bytes([i] * 32): extractor.features(data) for i, data in enumerate(drawn)}
    thumbnails = [each.thumbnail or b"" for each in found.values()]
    parquet = len(to_parquet(found)) - sum(map(len, thumbnails))
    node.store.close()
    job_ms, job_bytes = stored(root, jobs)
    return Costs(
        look_ms=1e3 * sum(looks[100:]) / 300,
        judge_ms=1e3 * sum(judged[100:]) / 300,
        keep_ms=keep_ms,
        features_bytes=parquet / len(drawn),
        thumbnail_bytes=sum(map(len, thumbnails)) / len(drawn),
        job_ms=job_ms,
        job_bytes=job_bytes,
    )


def stored(root: Path, jobs: list[dict[str, object]]) -> tuple[float, float]:
    """Return the CPU milliseconds and the bytes of a job in a tracking server."""
    file = root / "server.db"
    with serving(f"sqlite:///{file}") as (client, pid):
        base = new_experiment(client)
        sizes, seconds = [], []
        for number in range(12):
            batch: list[dict[str, object]] = []
            for job in jobs:
                parameters = {**job["parameters"], "event_id": f"b{number}-{len(batch)}"}  # type: ignore[dict-item]
                batch.append({**job, "parameters": parameters})
            client.post(f"{base}/drift/batch", json={"drifts": batch}).raise_for_status()
            sizes.append(sum(each.stat().st_size for each in root.glob("server.db*")))
            times = psutil.Process(pid).cpu_times()
            seconds.append(times.user + times.system)
    count = len(jobs) * 10
    return 1e3 * (seconds[-1] - seconds[1]) / count, (sizes[-1] - sizes[1]) / count


def live(costs: Costs) -> Iterable[tuple[int, float, float, float]]:
    """Simulate cameras that send a picture each second, and the cores that judge them."""
    service = (costs.look_ms + costs.judge_ms + SERVED_MS) / 1e3
    load = CAMERAS * service
    for share in (0.95, 0.85, 0.7, 0.5):
        cores = round(load / share)
        waits = queue(cores, service)
        yield cores, load / cores, 1e3 * waits[len(waits) // 2], 1e3 * waits[len(waits) * 99 // 100]


def queue(cores: int, service: float, seconds: float = 60.0) -> list[float]:
    """Return the sorted waits of pictures: each camera has its own second, and its clock is off a little."""
    rng = random.Random(0)
    phases = [rng.random() for _ in range(CAMERAS)]
    arrivals = sorted(
        phase + second + rng.gauss(0, 0.05) for phase in phases for second in range(int(seconds))
    )
    free = [0.0] * cores
    waits = []
    for arrival in arrivals:
        begins = max(arrival, heapq.heappop(free))
        heapq.heappush(free, begins + service * rng.lognormvariate(-0.08, 0.4))
        waits.append(begins - arrival)
    return sorted(waits)


def archive(costs: Costs) -> Iterable[tuple[int, int, float, float]]:
    """Simulate backfills of the archive, each with a storage and workers of its own."""
    for backfills, workers in ((1, 2), (1, 16), (1, 64), (4, 16), (16, 16), (64, 16)):
        pictures = ARCHIVE // backfills
        hours, busy = backfill(costs, workers, pictures)
        yield backfills, workers, hours, busy


def backfill(costs: Costs, workers: int, pictures: int) -> tuple[float, float]:
    """Return hours, and the busy share of the workers.

    The command keeps chunks one after the other, and judges all pictures in the end.
    """
    chunks = 20_000  # simulated; the rest is more of the same
    rng = random.Random(0)
    free = [0.0] * workers
    heapq.heapify(free)
    command = worked = 0.0
    for _ in range(chunks):
        took = CHUNK * costs.look_ms / 1e3 * rng.lognormvariate(-0.02, 0.2)
        begins = heapq.heappop(free)
        ends = begins + took
        command = max(command, ends) + CHUNK * costs.keep_ms / 1e3
        worked += took
        # A worker has three tasks at hand, so the command holds it back only when it is that far behind.
        heapq.heappush(free, max(ends, command - 2 * took))
    scale = pictures / (chunks * CHUNK)
    looking = command * scale
    judging = pictures * costs.judge_ms / 1e3
    return (looking + judging) / 3600, worked * scale / workers / (looking + judging)


if __name__ == "__main__":
    main()
