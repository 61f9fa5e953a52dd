"""`lenswatch up` whose servers die, and servers whose `lenswatch up` dies."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from conftest import Camera, write_settings
from support.ports import free_port
from support.up import READY, up, wait_for_text
from support.waiting import until


@pytest.fixture
def root(trained_root: Path, tmp_path: Path) -> Path:
    """A folder with settings and a reference."""
    shutil.copytree(trained_root / "storage", tmp_path / "storage")
    write_settings(tmp_path)
    return tmp_path


def servers(process: subprocess.Popen[bytes]) -> dict[str, psutil.Process]:
    """The two servers of an `up`, by their name in its messages."""
    found = {}
    for child in psutil.Process(process.pid).children():
        command = " ".join(child.cmdline())
        found["DEEPaaS" if "deepaas-run" in command else "the tracking server"] = child
    return found


def answers(question: Callable[[], requests.Response]) -> Any:
    """The JSON of an answer with status 200, waited for."""

    def ask() -> Any:
        try:
            answer = question()
        except requests.RequestException:
            return None
        return answer.json() if answer.status_code == 200 else None

    return until(ask, seconds=120)


def predict(port: int, picture: bytes, **fields: str) -> requests.Response:
    url = f"http://127.0.0.1:{port}/v2/models/lenswatch/predict/"
    return requests.post(url, files={"input_file": picture}, data=fields, timeout=60)


def recorded(port: int) -> set[str]:
    """The event ids at the tracking server."""
    api = f"http://127.0.0.1:{port}/api/latest/experiment"
    experiments = requests.post(f"{api}/search", json={"name": "lenswatch"}, timeout=60).json()
    found: set[str] = set()
    for experiment in experiments:
        url = f"{api}/{experiment['id']}/drift/search"
        jobs = requests.post(url, json={}, timeout=60).json()
        found |= {job["parameters"]["event_id"] for job in jobs}
    return found


@pytest.mark.slow
def test_killed_servers_are_started_again_and_end_with_a_killed_up(
    root: Path, camera: Camera
) -> None:
    node, server = free_port(), free_port()
    out = root / "out.txt"
    with up(root, node_port=node, server_port=server) as first:
        wait_for_text(out, READY, first)
        assert predict(node, camera(60), event_id="before").status_code == 200
        for name, question in (
            ("DEEPaaS", lambda: predict(node, camera(61), event_id="after")),
            ("the tracking server", lambda: requests.get(f"http://127.0.0.1:{server}/readyz")),
        ):
            killed = servers(first)[name]
            killed.kill()
            wait_for_text(out, f"{name} was killed by SIGKILL", first)
            wait_for_text(out, f"{name} was started again", first)
            answers(question)
            assert servers(first)[name].pid != killed.pid
        until(lambda: recorded(server) == {"before", "after"}, seconds=60)
        family = psutil.Process(first.pid).children(recursive=True)
        first.kill()
        first.wait(60)
    [calibration] = (root / "storage" / "calibration").rglob("default.json")
    whole = calibration.read_bytes()
    calibration.write_bytes(whole[:-20])
    with up(root, node_port=node, server_port=server) as second:  # at once, on the same ports
        wait_for_text(out, READY, second)
        _, alive = psutil.wait_procs(family, timeout=0)
        assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
        assert set(servers(second)) == {"DEEPaaS", "the tracking server"}
        assert f"pictures cannot be judged: {calibration}: truncated" in out.read_text()
        calibration.write_bytes(whole)
        assert predict(node, camera(62)).status_code == 200
        second.send_signal(signal.SIGINT)
        assert second.wait(60) == 0
    assert list((root / "storage" / "run").iterdir()) == []


@pytest.mark.slow
def test_a_second_up_is_told_of_the_first_one_while_that_trains(root: Path) -> None:
    storage = root / "storage"
    shutil.rmtree(storage / "reference")
    settings = write_settings(root)
    settings.write_text(
        settings.read_text().replace("epochs = 4", "epochs = 1000000\npatience = 1000000")
    )
    with up(root, node_port=free_port(), server_port=free_port()) as first:
        until(lambda: list(storage.glob("run/up-*")) or first.poll() is not None)
        command = [sys.executable, "-m", "lenswatch", "up", "--config", str(settings)]
        ports = [f"--port={free_port()}", f"--server-port={free_port()}"]
        second = subprocess.run([*command, *ports], capture_output=True, text=True, timeout=120)
        assert second.returncode != 0
        assert f"already (process {first.pid})" in second.stderr
        assert first.poll() is None
    assert not (storage / "reference" / "current").exists(), "it was still training"
    assert list(storage.glob("run/*")) == []
