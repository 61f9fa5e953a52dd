"""`deepaas-cli predict`, which runs the module's `predict` in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Camera, small_config, write_settings
from lenswatch.node.request import open_store
from lenswatch.reference.paths import current_digest
from support.ports import free_port
from support.tracking_server import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A tracking server with nothing in it."""
    folder = tmp_path / "server"
    folder.mkdir()
    server = Server(folder)
    yield server
    server.stop()


@pytest.fixture
def root(trained_root: Path, tmp_path: Path) -> Path:
    """A folder with a reference and a picture; its settings are still to be written."""
    shutil.copytree(trained_root / "storage", tmp_path / "storage")
    return tmp_path


def deepaas_cli(root: Path, picture: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return command(root, "predict", "--input_file", str(picture), "--stream", "cli", *options)


def command(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("deepaas-cli"))
    return subprocess.run(
        [program, *arguments],
        env=os.environ | {"LENSWATCH_CONFIG": str(root / "config.toml"), "OMP_NUM_THREADS": "1"},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def jobs(server: Server) -> list[dict[str, Any]]:
    experiments = server.session.post(
        f"{server.root}/api/latest/experiment/search", json={"name": "lenswatch"}, timeout=60
    ).json()
    [experiment] = experiments
    found = server.session.post(
        f"{server.root}/api/latest/experiment/{experiment['id']}/drift/search", json={}, timeout=60
    )
    return list(found.json())


@pytest.mark.slow
def test_a_verdict_and_a_refusal_are_at_the_tracking_server_when_the_command_ends(
    root: Path, server: Server, camera: Camera
) -> None:
    write_settings(root, server.root)
    good, bad = root / "good.jpg", root / "bad.jpg"
    good.write_bytes(camera(60))
    bad.write_bytes(b"no picture")
    ended = deepaas_cli(root, good)
    assert ended.returncode == 0, ended.stderr
    assert "waits in the outbox" not in ended.stderr
    assert deepaas_cli(root, bad).returncode != 0
    found = {job["parameters"]["image_name"]: job["job_status"] for job in jobs(server)}
    assert found == {"good.jpg": "Completed", "bad.jpg": "Failed"}


@pytest.mark.slow
def test_without_the_server_it_says_that_the_job_waits(root: Path, camera: Camera) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    write_settings(root, url)
    picture = root / "good.jpg"
    picture.write_bytes(camera(60))
    ended = deepaas_cli(root, picture)
    assert ended.returncode == 0, ended.stderr
    assert f"1 drift job waits in the outbox for {url}" in ended.stderr + ended.stdout


@pytest.mark.slow
def test_every_argument_of_predict_arrives_as_it_was_meant(root: Path, camera: Camera) -> None:
    """`deepaas-cli` reads numbers and hands on all else as text, without any check."""
    write_settings(root, f"http://127.0.0.1:{free_port()}")
    (root / "one.jpg").write_bytes(camera(60))
    options = ("--captured_at", "20230728T083036Z", "--event_id", "e1")
    distances = ("--drift_distance", "-2", "--warning_distance", "-3")
    assert deepaas_cli(root, root / "one.jpg", *options, *distances).returncode == 0
    with open_store(small_config(root)).read() as connection:
        [text] = connection.exec_driver_sql("SELECT job FROM outbox").scalars().all()
    job = json.loads(text)
    parameters = job["parameters"]
    assert parameters["captured_at"] == "2023-07-28T08:30:36.000Z"
    assert (parameters["event_id"], parameters["drift_distance"]) == ("e1", -2)
    assert job["drift_detected"] is True


@pytest.mark.slow
def test_an_argument_of_training_that_cannot_be_used_changes_nothing(root: Path) -> None:
    write_settings(root)
    before = current_digest(root / "storage")
    ended = command(root, "train", "--learning_rate", "0")
    assert ended.returncode != 0
    assert "InputError: learning_rate: 0.0: give a number above 0, such as 0.001." in ended.stdout
    assert current_digest(root / "storage") == before
