"""`lenswatch watch`, as a process that is killed while cameras write into its folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from conftest import Camera, write_settings
from lenswatch.config import Config
from lenswatch.held import hold
from lenswatch.node.request import open_store
from support.waiting import until

PICTURES = 24


class Watcher:
    """The command in a process of its own, with what it printed."""

    def __init__(self, root: Path, folder: Path) -> None:
        command = [sys.executable, "-m", "lenswatch", "watch", "--json", "--settle", "0.2"]
        self.output = (root / "watch.out").open("ab")
        self.process = subprocess.Popen(
            [*command, "--config", str(root / "config.toml"), str(folder)],
            stdout=self.output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        self.output.close()
        return self.process.wait(60)


@pytest.mark.slow
def test_each_picture_counts_once_however_often_the_watcher_is_killed(
    tracked: Config, tmp_path: Path, camera: Camera
) -> None:
    """The camera writes on meanwhile, in two parts each; every job is in the outbox, in order."""
    write_settings(tmp_path, tracked.tracking.url)
    folder = tmp_path / "drops"
    folder.mkdir()
    begin = datetime.now(UTC) - timedelta(hours=3)
    store = open_store(tracked)

    def write(i: int) -> None:
        data = camera(60 + i)
        path = folder / f"{begin + timedelta(minutes=i):%Y%m%dT%H%M%S}Z.jpg"
        with path.open("wb") as file:
            file.write(data[:700])
            file.flush()
            file.write(data[700:])

    def judged() -> int:
        return sum(stream.images for stream in store.streams())

    written = 0
    for wanted in (PICTURES // 2, PICTURES):
        watcher = Watcher(tmp_path, folder)
        while written < wanted:
            write(written)
            written += 1
        left = 0 if wanted == PICTURES else 3  # killed in the midst of the others
        until(partial(lambda enough: judged() >= enough, wanted - left), 120)
        if wanted < PICTURES:
            assert watcher.end(signal.SIGKILL) == -signal.SIGKILL
    assert watcher.end(signal.SIGTERM) == 0
    assert judged() == PICTURES
    with store.read() as connection:
        rows = connection.exec_driver_sql("SELECT job FROM outbox ORDER BY id").scalars().all()
    jobs = [json.loads(row) for row in rows]
    assert {job["job_status"] for job in jobs} == {"Completed"}
    times = [job["parameters"]["captured_at"] for job in jobs]
    assert len(set(times)) == len(times) == PICTURES
    assert times == sorted(times)
    assert "drift jobs wait in the outbox" in (tmp_path / "watch.out").read_text()


def test_a_folder_is_judged_once(trained: Config, run: Any, tmp_path: Path, camera: Camera) -> None:
    folder = tmp_path / "drops" / "Reef"
    folder.mkdir(parents=True)
    (folder / "20260601-080000.jpg").write_bytes(camera(60))
    (folder / "20260601-090000.jpg").write_bytes(b"no picture")
    options = ("--stream-from-folder", "--once", "--settle", "0.1", "--patience", "0.1")
    ended = run("watch", *options, folder.parent)
    assert ended.exit_code == 0, ended.output
    (line,) = ended.stdout.splitlines()
    assert line.split()[:2] == ["reef", "20260601-080000.jpg"]
    assert "watching, a stream for each folder in it" in ended.stderr
    assert "20260601-090000.jpg: " in ended.stderr
    assert f"moved to {folder / '.rejected'}" in ended.stderr
    assert run("watch", *options, folder.parent).stdout == ""


def test_one_watcher_a_folder(trained: Config, run: Any, tmp_path: Path) -> None:
    descriptor = hold(tmp_path)
    ended = run("watch", "--once", tmp_path)
    os.close(descriptor)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "another `lenswatch watch` watches it already" in ended.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--stream", "reef", "--stream-from-folder"), "exclude each other"),
        (("--stream", "Bad Name"), "stream 'Bad Name': use 1 to 64"),
        (("--settle", "0"), "0.0 is not in the range"),
    ],
)
def test_options_that_cannot_be_used_are_named(
    trained: Config, run: Any, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    ended = run("watch", *options, tmp_path)
    assert ended.exit_code != 0
    assert says in ended.stderr
