"""Temporary files of a node that is killed in the middle of a request: its next start deletes them."""

from __future__ import annotations

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from conftest import Camera, Served, deepaas_running, write_settings
from lenswatch.held import make_held_folder
from support.waiting import until


@pytest.fixture
def root(trained_root: Path, tmp_path: Path) -> Path:
    """A folder with settings and a reference."""
    shutil.copytree(trained_root / "storage", tmp_path / "storage")
    write_settings(tmp_path)
    return tmp_path


def own_folders(served: Served) -> list[Path]:
    return sorted(served.temporary.glob("lenswatch-node-*"))


def uploads(served: Served) -> list[Path]:
    return [file for folder in own_folders(served) for file in folder.glob("tmp*")]


def kill_in_the_middle_of_a_request(served: Served, picture: bytes) -> None:
    """Stop the workers, send a picture, and kill the group when its copy is there."""
    for process in psutil.Process(served.process.pid).children(recursive=True):
        process.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as callers:
        asked = callers.submit(served.predict, picture)
        until(lambda: uploads(served))
        os.killpg(served.process.pid, signal.SIGKILL)
        served.process.wait(60)
        assert isinstance(asked.exception(60), requests.ConnectionError)


@pytest.mark.slow
def test_what_a_killed_node_left_is_deleted_and_nothing_else(root: Path, camera: Camera) -> None:
    with deepaas_running(root) as served:
        assert served.predict(camera(60)).status_code == 200
        kill_in_the_middle_of_a_request(served, camera(61))
        [left] = own_folders(served)
    strangers = served.temporary / "tmpabcdefgh"
    strangers.write_text("another program's")
    other, descriptor = make_held_folder(
        served.temporary, "lenswatch-node-1-"
    )  # of a node that runs
    with deepaas_running(root) as served:
        assert left not in own_folders(served)
        [mine] = set(own_folders(served)) - {other}
        assert served.predict(camera(63)).status_code == 200
        assert uploads(served) == []
        shutil.rmtree(mine)  # as a program does that deletes what nobody used for ten days
        assert served.predict(camera(64)).status_code == 200
    os.close(descriptor)
    assert set(served.temporary.iterdir()) == {strangers, other}
