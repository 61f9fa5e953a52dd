"""A node on a small machine: `lenswatch[edge]`, without torch, SciPy and Frouros."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from conftest import Camera, Served, deepaas_running, small_config, write_settings
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.node.transfer import export_reference
from lenswatch.reference.paths import current_digest
from support.edge import edge_environment
from support.tracking_server import Server
from support.waiting import until

pytestmark = pytest.mark.slow

ABSENT = """
import importlib.util
for name in ("torch", "torchvision", "scipy", "frouros", "onnx", "matplotlib", "pandas"):
    assert importlib.util.find_spec(name) is None, name
"""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs after `pip install 'lenswatch[edge]'`."""
    return edge_environment(tmp_path_factory.mktemp("edge") / "venv")


def lenswatch(edge: Path, root: Path, *arguments: object) -> str:
    command = [str(edge / "python"), "-m", "lenswatch", *map(str, arguments)]
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def root(
    edge: Path, server: Server, trained_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a node whose reference was trained elsewhere and imported."""
    root = tmp_path_factory.mktemp("node")
    write_settings(root, server.root)
    storage = trained_root / "storage"
    export_reference(storage, str(current_digest(storage)), root / "reference.zip")
    assert "it is in use" in lenswatch(edge, root, "reference", "import", "reference.zip")
    return root


@pytest.fixture(scope="module")
def node(edge: Path, root: Path) -> Iterator[Served]:
    with deepaas_running(root, programs=edge) as served:
        yield served


def test_what_is_heavy_is_not_installed(edge: Path) -> None:
    subprocess.run([str(edge / "python"), "-c", ABSENT], check=True)


def test_it_judges_as_a_node_with_torch_and_delivers(
    node: Served, server: Server, trained_root: Path, tmp_path: Path, camera: Camera
) -> None:
    shutil.copytree(trained_root / "storage", tmp_path / "storage")
    other = Node(small_config(tmp_path))
    for i in range(14):
        data = camera(60 + i, blurred=i > 9)
        found = node.predict(data, event_id=f"edge-{i}").json()
        expected = other.observe(data, Request(event_id=f"edge-{i}"))
        if expected["distance"] is not None:
            assert found["distance"] == pytest.approx(expected["distance"], abs=1e-6)
        assert found["score"] == pytest.approx(expected["score"], abs=1e-6)
        assert (found["drift"], found["model"]) == (expected["drift"], expected["model"])
        assert found["nearest"] == expected["nearest"]
    assert found["drift"]

    def arrived() -> list[dict[str, Any]]:
        try:
            jobs = server.jobs_of("lenswatch")
        except (KeyError, IndexError):
            return []
        return jobs if len(jobs) == 14 else []

    jobs = until(arrived)
    assert {job["parameters"]["event_id"] for job in jobs} == {f"edge-{i}" for i in range(14)}
    assert sum(job["drift_detected"] for job in jobs) >= 1


def test_it_is_light(node: Served, camera: Camera) -> None:
    node.predict(camera(60)).raise_for_status()
    parent = psutil.Process(node.process.pid)
    sizes = [each.memory_info().rss / 1e6 for each in (parent, *parent.children(recursive=True))]
    assert sizes[0] < 90  # DEEPaaS alone takes 52
    assert max(sizes) < 170
    assert sum(sizes) < 240


def test_the_commands_of_a_node_work(edge: Path, root: Path, camera: Camera, node: Served) -> None:
    folder = root / "pictures"
    folder.mkdir()
    for i in range(24):
        (folder / f"{i:02}.jpg").write_bytes(camera(i))
    assert "24 clean pictures" in lenswatch(edge, root, "calibrate", "--stream", "pier", folder)
    assert "clean" in lenswatch(edge, root, "predict", "--stream", "pier", folder / "00.jpg")
    assert "stream quay, under reference" in lenswatch(
        edge, root, "collect", "--stream", "quay", folder
    )
    assert lenswatch(edge, root, "predict", "--stream", "shore", folder).count(".jpg") == 24
    assert "default" in lenswatch(edge, root, "status")
    assert "yes" in lenswatch(edge, root, "references")


def test_training_says_what_to_install(edge: Path, root: Path, tmp_path: Path) -> None:
    command = [str(edge / "python"), "-m", "lenswatch", "train"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'lenswatch[node]'" in done.stderr


def test_the_training_hook_says_where_to_train(node: Served, camera: Camera) -> None:
    clean = node.root / "storage" / "images" / "clean"
    clean.mkdir(parents=True)
    for i in range(40):
        (clean / f"{i:02}.jpg").write_bytes(camera(i))
    url = f"{node.url}/v2/models/lenswatch/train/"
    started = requests.post(url, params={"epochs": 1}, timeout=60).json()

    def ended() -> Any:
        found = requests.get(f"{url}{started['uuid']}", timeout=60).json()
        return None if found["status"] == "running" else found

    training = until(ended)
    assert training["status"] == "error"
    assert "training needs torch, which is not installed here" in str(training)
    assert "lenswatch reference import" in str(training)
