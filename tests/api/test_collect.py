"""A real node that starts with nothing: it collects, trains by itself and goes live."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from conftest import Camera, Served, deepaas_running, write_settings
from lenswatch.node.store import collections as rows
from lenswatch.node.store.store import NodeStore
from lenswatch.reference.paths import current_digest, node_database, reference_folder
from support.waiting import until

COLLECT = '\n[camera]\ncollect = "2 seconds"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with settings that collect for two seconds, and nothing else."""
    settings = write_settings(tmp_path)
    settings.write_text(settings.read_text() + COLLECT)
    return tmp_path


def kept(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "storage/images/collected").rglob("*.jpg"))


def is_over(root: Path) -> bool:
    with NodeStore(node_database(root / "storage")).read() as connection:
        return any(each.finishing for each in rows.all_collections(connection).values())


def send_until_over(served: Served, camera: Camera, frames: Any) -> None:
    """Send pictures of two streams from several callers at once until a collection is over."""

    def send(i: int) -> dict[str, Any]:
        answer = served.predict(camera(i), stream=("reef", "pier")[i % 2]).json()
        assert answer["drift"] is False
        assert answer["can_alarm"] is False
        return dict(answer["collecting"])

    with ThreadPoolExecutor(4) as callers:
        while not is_over(served.root):
            list(callers.map(send, [next(frames) for _ in range(8)]))


def trainings(served: Served) -> list[psutil.Process]:
    children = psutil.Process(served.process.pid).children()
    return [child for child in children if "--due" in child.cmdline()]


@pytest.mark.slow
def test_two_workers_collect_train_once_and_go_live_without_a_restart(
    root: Path, camera: Camera
) -> None:
    with deepaas_running(root, workers=2) as served:
        assert requests.get(f"{served.url}/healthz", timeout=60).json()["reference"] is False
        send_until_over(served, camera, iter(range(10_000)))
        answers: list[dict[str, Any]] = []

        def live() -> bool:  # answers go on while the training runs
            answers.append(served.predict(camera(20_000 + len(answers)), stream="reef").json())
            return "collecting" not in answers[-1]

        until(live, seconds=120)
        assert answers[-1]["distance"] is not None
        assert answers[-1]["model"] == f"lenswatch@{current_digest(root / 'storage')}"
        assert requests.get(f"{served.url}/healthz", timeout=60).json()["reference"] is True
    references = [path for path in reference_folder(root / "storage").iterdir() if path.is_dir()]
    assert len(references) == 1
    assert "Traceback" not in served.log.read_text()


@pytest.mark.slow
def test_a_node_that_is_killed_goes_on_collecting_and_trains_when_it_runs_again(
    root: Path, camera: Camera
) -> None:
    frames = iter(range(10_000))
    with deepaas_running(root) as served:
        for _ in range(5):
            served.predict(camera(next(frames)), stream="reef")
        os.killpg(served.process.pid, signal.SIGKILL)
        served.process.wait(60)
    before = kept(root)
    assert before
    with deepaas_running(root) as served:
        send_until_over(served, camera, frames)
        assert set(before) <= set(kept(root))
        until(lambda: trainings(served), seconds=60)
        os.killpg(served.process.pid, signal.SIGKILL)  # in the middle of the training
        served.process.wait(60)
    assert current_digest(root / "storage") is None
    with deepaas_running(root) as served:
        until(lambda: current_digest(root / "storage"), seconds=200)
        until(lambda: not is_over(root), seconds=120)
        answer = until(lambda: live_answer(served, camera), seconds=60)
    assert answer["distance"] is not None


def live_answer(served: Served, camera: Camera) -> Any:
    answer = served.predict(camera(20_000), stream="reef").json()
    return None if "collecting" in answer else answer
