"""A backfill whose workers, scheduler and own process are killed, on a real cluster."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Camera, small_config, write_settings
from lenswatch.cli.main import main
from lenswatch.config import Config, TrackingConfig
from lenswatch.node.request import open_store
from lenswatch.outbox.rows import OutboxRows
from support.dask_cluster import DaskCluster
from support.waiting import until

pytestmark = pytest.mark.slow

PICTURES = 640  # ten chunks
URL = "http://127.0.0.1:9"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    """A cluster that this test may kill."""
    (tmp_path / "dask").mkdir()
    found = DaskCluster(tmp_path / "dask")
    try:
        found.start_scheduler()
        yield found
    finally:
        found.stop()


class Backfill:
    """A `lenswatch backfill` as a process, and what it has done so far."""

    def __init__(self, root: Path, *arguments: str) -> None:
        self.index = root / "storage" / "backfill" / "index.db"
        settings = ["--config", str(root / "config.toml")]
        command = [sys.executable, "-m", "lenswatch", "backfill", *settings, *arguments]
        with (root / "backfill.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def count(self, table: str) -> int:
        assert self.process.poll() is None, "it has ended"
        if not self.index.exists():
            return 0
        try:
            with sqlite3.connect(f"file:{self.index}?mode=ro", uri=True) as connection:
                return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
        except sqlite3.OperationalError:  # its tables are being made
            return 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def fill(folder: Path, camera: Camera) -> None:
    """Write many different pictures, of few drawings: a comment makes each another file."""
    folder.mkdir()
    drawn = [camera(60 + i, blurred=i >= 40) for i in range(50)]
    for i in range(PICTURES):
        data = drawn[i * 50 // PICTURES]
        comment = b"\xff\xfe\x00\x06%04d" % i
        name = f"20260601-{i // 60:02}{i % 60:02}00.jpg"
        (folder / name).write_bytes(data[:2] + comment + data[2:])


def jobs_of(config: Config) -> list[dict[str, Any]]:
    store = open_store(config)
    try:
        return [row.job for row in OutboxRows(store).due(10 * PICTURES)]
    finally:
        store.close()


def test_kills_of_workers_scheduler_and_client_change_no_answer(
    trained_root: Path, camera: Camera, cluster: DaskCluster, tmp_path: Path
) -> None:
    roots = [tmp_path / "killed", tmp_path / "whole"]
    for root in roots:
        shutil.copytree(trained_root / "storage", root / "storage")
        write_settings(root, URL)
    killed, whole = (small_config(root, tracking=TrackingConfig(url=URL)) for root in roots)
    archive = tmp_path / "archive"
    fill(archive, camera)

    arguments = ("--scheduler", cluster.address, str(archive))
    running = Backfill(roots[0], *arguments)
    worker = cluster.start_worker()
    until(lambda: running.count("contents") > 0, 120)
    worker.kill()
    cluster.start_worker()
    assert running.count("contents") < PICTURES
    until(lambda: running.count("contents") > 200, 120)
    assert cluster.scheduler is not None
    cluster.scheduler.kill()
    cluster.scheduler.wait()
    found = running.count("contents")
    assert found < PICTURES
    cluster.start_scheduler()
    cluster.start_worker()
    until(lambda: running.count("contents") > found, 120)
    running.kill()

    running = Backfill(roots[0], *arguments)
    until(lambda: running.count("folded") > 0, 120)
    running.kill()
    running = Backfill(roots[0], *arguments)
    assert running.process.wait(120) == 0, (roots[0] / "backfill.log").read_text()

    with pytest.raises(SystemExit) as ended:
        main(["predict", "--config", str(roots[1] / "config.toml"), str(archive)])
    assert ended.value.code == 0
    assert "Traceback" not in (roots[0] / "backfill.log").read_text()
    expected = jobs_of(whole)
    assert len(expected) == PICTURES
    assert jobs_of(killed) == expected
    parts = list((roots[0] / "storage" / "backfill").rglob("*.parquet"))
    assert 10 <= len(parts) <= 12


def test_an_interrupted_backfill_says_that_it_can_go_on(
    trained: Config, camera: Camera, tmp_path: Path
) -> None:
    """A terminal sends Ctrl-C to the workers, too."""
    write_settings(tmp_path)
    archive = tmp_path / "archive"
    fill(archive, camera)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        running = Backfill(tmp_path, "--workers", "2", str(archive))
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        until(lambda: running.count("contents") > 0, 60)
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.process.wait(30) == 1
    finally:
        running.kill()
    said = (tmp_path / "backfill.log").read_text()
    assert "interrupted; start the command again, and it goes on where it was" in said
    assert "Traceback" not in said
