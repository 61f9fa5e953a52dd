"""Backfills of a drawn archive with one process and with two: `python -m benchmarks.backfill`.

Each number of processes has a storage of its own, and all are run in turn, so that a slow moment of the
machine hits each. Memory is the largest resident set of the command and of its largest worker, seen every
half second. CPU seconds are those of the command while it looks and while it judges, and of all workers; on a
busy machine they tell more than elapsed time.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks.node import make_node
from lenswatch.demo import Footage, draw_frame

DRAWN = 48  # different drawings; a comment makes each file another picture
GOAL = 1.7
STREAMS = 4


@dataclass
class Run:
    """One backfill.

    Attributes:
        processes: Workers.
        seconds: From start to end.
        looking: Of these, until all pictures were looked at.
        looking_cpu: CPU seconds of the command until then.
        judging_cpu: CPU seconds of the command after it.
        workers_cpu: CPU seconds of all workers.
        client_mb: Largest resident set of the command.
        worker_mb: Largest resident set of a worker.
    """

    processes: int
    seconds: float
    looking: float
    looking_cpu: float
    judging_cpu: float
    workers_cpu: float
    client_mb: float
    worker_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="scratch; default: a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        root = Path(scratch)
        drawn = draw(given.width)
        archive = root / "archive"
        fill(archive, drawn, given.pictures)
        runs = []
        for number in range(given.rounds):
            for processes in (1, 2):
                storage = root / f"storage-{number}-{processes}"
                make_node(storage, drawn[:6], tracking=False).store.close()
                runs.append(backfill(root, storage, archive, processes))
                print(runs[-1], flush=True)
    medians = {n: float(np.median([r.seconds for r in runs if r.processes == n])) for n in (1, 2)}
    ratio = medians[1] / medians[2]
    document = {
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "pictures": given.pictures,
        "width": given.width,
        "runs": [vars(each) for each in runs],
        "ratio": round(ratio, 2),
        "goal": GOAL,
    }
    print(json.dumps(document, indent=1))


def draw(width: int) -> list[bytes]:
    """Return JPEG files of the sample footage."""
    size = (width, width * 9 // 16)
    footage = Footage(DRAWN, datetime(2026, 6, 1, 4, tzinfo=UTC), timedelta(minutes=20), size=size)
    return [_jpeg(draw_frame(footage, i)) for i in range(DRAWN)]


def fill(archive: Path, drawn: list[bytes], count: int) -> None:
    """Write so many different files, of some streams."""
    start = datetime(2025, 1, 1, tzinfo=UTC)
    for i in range(count):
        folder = archive / f"camera{i % STREAMS}" / f"{i // 20_000:03}"
        folder.mkdir(parents=True, exist_ok=True)
        data = drawn[i // STREAMS % len(drawn)]
        name = f"{start + timedelta(minutes=i // STREAMS):%Y%m%dT%H%M%SZ}.jpg"
        (folder / name).write_bytes(data[:2] + b"\xff\xfe\x00\x0a%08d" % i + data[2:])


def backfill(root: Path, storage: Path, archive: Path, processes: int) -> Run:
    """Run the command, and return what it took."""
    settings = root / f"{storage.name}.toml"
    settings.write_text(
        f'[storage]\npath = "{storage}"\n[tracking]\nurl = ""\n[alarm]\nverdict = "mmd"\n'
    )
    options = ["--workers", str(processes), "--stream-from-folder"]
    command = [sys.executable, "-m", "lenswatch", "backfill", "--config", str(settings), *options]
    begun = time.monotonic()
    with (root / f"{storage.name}.log").open("w+") as log:
        running = subprocess.Popen(
            [*command, str(archive)], stdout=subprocess.PIPE, stderr=log, text=True
        )
        memory = _Memory(running.pid)
        memory.start()
        looking = looking_cpu = 0.0
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("looking at pictures"):
                looking = time.monotonic() - begun
                looking_cpu = memory.own
        ended = running.wait()
        seconds = time.monotonic() - begun
        memory.stop()
        log.seek(0)
        assert ended == 0, log.read()[-2000:]
    return Run(
        processes=processes,
        seconds=round(seconds, 1),
        looking=round(looking, 1),
        looking_cpu=round(looking_cpu, 1),
        judging_cpu=round(memory.own - looking_cpu, 1),
        workers_cpu=round(sum(memory.others.values()), 1),
        client_mb=round(memory.client),
        worker_mb=round(memory.worker),
    )


class _Memory(threading.Thread):
    """A thread that watches the resident sets, in MB, and the CPU seconds of a process and its children."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.client = self.worker = self.own = 0.0
        self.others: dict[int, float] = {}
        self._process, self._over = psutil.Process(pid), threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.5):
            try:
                self.client = max(self.client, self._process.memory_info().rss / 1e6)
                self.own = sum(self._process.cpu_times()[:2])
                for child in self._process.children(recursive=True):
                    self.worker = max(self.worker, child.memory_info().rss / 1e6)
                    self.others[child.pid] = sum(child.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue

    def stop(self) -> None:
        self._over.set()
        self.join()


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
