"""A node under load for a long time, with a server that is often down: nothing grows, and nothing is lost."""

from __future__ import annotations

import functools
import os
import random
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from conftest import Served, deepaas_running, write_settings
from lenswatch.config import load_config
from lenswatch.node.request import open_store
from lenswatch.outbox.rows import OutboxRows
from support.full import at_length
from support.load import Load
from support.tracking_server import Server
from support.waiting import until

pytestmark = pytest.mark.slow

SECONDS = at_length(4.0, 1800.0)
SAMPLE_EVERY = at_length(0.25, 5.0)
OUTAGE = (at_length(0.5, 5.0), at_length(1.0, 60.0))  # seconds, the shortest and the longest
UPTIME = (at_length(0.5, 10.0), at_length(1.0, 60.0))
# By which the last quarter may be above the second: allocators and SQLite's caches settle late.
GROWTH_BYTES = at_length(60, 16) * 2**20
GROWTH_FILES = 3
MOST_UPLOADS = 12  # files of the requests that are being answered
DATABASE_BYTES = 32 * 2**20  # of jobs and pictures that wait, and of space that is free in the file


@dataclass(frozen=True)
class Sample:
    """Resources of a node at one moment."""

    memory: dict[int, int]  # bytes that a process shares with no other one, by process
    descriptors: int
    files: int  # in its storage
    temporary: int  # files in its temporary folder
    database: int  # bytes of node.db

    @classmethod
    def of(cls, served: Served) -> Sample:
        processes = [psutil.Process(served.process.pid)]
        processes += processes[0].children(recursive=True)
        storage = served.root / "storage"
        return cls(
            {process.pid: process.memory_full_info().uss for process in processes},
            sum(process.num_fds() for process in processes),
            sum(1 for path in storage.rglob("*") if path.is_file()),
            uploads(served),
            (storage / "node.db").stat().st_size,
        )


def uploads(served: Served) -> int:
    """Return the number of files in a node's temporary folder."""
    return sum(len(files) for _, _, files in os.walk(served.temporary))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    server = Server(folder)
    yield server
    server.stop()


@pytest.mark.timeout(SECONDS + 2400)
def test_a_soak_is_flat_and_loses_nothing(
    trained_root: Path, tmp_path: Path, server: Server
) -> None:
    root = tmp_path / "node"
    shutil.copytree(trained_root / "storage", root / "storage")
    write_settings(root, server.root)
    samples: list[Sample] = []
    chance = random.Random(5)
    with deepaas_running(root, workers=2) as served:
        with Load(served, pause=at_length(0.0, 0.2)) as load:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                _watch(served, chance.uniform(*UPTIME), samples)
                server.stop()
                _watch(served, chance.uniform(*OUTAGE), samples)
                server.start()
        assert load.failures == []
        store = open_store(load_config(root / "config.toml"))
        until(OutboxRows(store).is_empty, at_length(300, 1800))
        assert OutboxRows(store).counts().parked == 0
        with store.read() as connection:
            size = connection.exec_driver_sql("SELECT sum(length(body)) FROM answers").scalar_one()
        store.close()
        left = [name for _, _, files in os.walk(served.temporary) for name in files]
        assert left == []
    assert all(answer["recorded"] for answer in load.answers.values())
    jobs = server.jobs_of("lenswatch")
    assert Counter(job["parameters"]["event_id"] for job in jobs) == Counter(list(load.answers))
    print(f"{len(jobs)} pictures, slowest answer {load.slowest:.2f} s")
    _check_flat(samples, size)


def _watch(served: Served, seconds: float, samples: list[Sample]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        samples.append(Sample.of(served))
        time.sleep(min(SAMPLE_EVERY, max(0.0, end - time.monotonic())))


def _check_flat(samples: list[Sample], answers: int) -> None:
    """Check that the last quarter uses no more than the second.

    Args:
        samples: What was used.
        answers: Bytes of the answers in the database, which are kept for a week.
    """
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]

    def growth(name: str, value: Callable[[Sample], int]) -> int:
        before, after = (int(statistics.median(map(value, part))) for part in (early, late))
        print(f"{name}: {before:,} then {after:,}")
        return after - before

    for pid in samples[0].memory:
        assert growth(f"memory of {pid}", functools.partial(_memory, pid)) < GROWTH_BYTES
    assert growth("files", lambda s: s.files) <= GROWTH_FILES
    assert growth("descriptors", lambda s: s.descriptors) <= 4 * GROWTH_FILES
    assert growth("temporary files", lambda s: s.temporary) <= GROWTH_FILES
    assert max(sample.temporary for sample in samples) <= MOST_UPLOADS
    print(f"node.db: {samples[-1].database:,} bytes, {answers:,} of them answers")
    assert samples[-1].database < 1.5 * answers + DATABASE_BYTES


def _memory(pid: int, sample: Sample) -> int:
    return sample.memory[pid]
