"""`examples/fish_detector`: another model as a DEEPaaS module that watches its own inputs and outputs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import tomli

from conftest import Camera, small_config, write_settings
from lenswatch.node.request import open_store
from support.ports import free_port
from support.waiting import until_it_answers

EXAMPLE = Path(__file__).parents[2] / "examples" / "fish_detector"


@pytest.fixture
def environment(trained_root: Path, tmp_path: Path) -> dict[str, str]:
    """A trained node's folder, in which the example is installed as pip installs it."""
    shutil.copytree(trained_root / "storage", tmp_path / "storage")
    write_settings(tmp_path)
    site, project = tmp_path / "site", tomli.loads((EXAMPLE / "pyproject.toml").read_text())
    for package in project["tool"]["setuptools"]["packages"]:
        shutil.copytree(EXAMPLE / package, site / package)
    info = site / "fish_detector-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fish-detector\nVersion: 0.1.0\n")
    lines = [
        f"[{group}]\n" + "\n".join(f"{name} = {target}" for name, target in points.items())
        for group, points in project["project"]["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return os.environ | {
        "PYTHONPATH": str(site),
        "DEEPAAS_V2_MODEL": "fish_detector",
        "LENSWATCH_CONFIG": str(tmp_path / "config.toml"),
        "OMP_NUM_THREADS": "1",
    }


@contextlib.contextmanager
def served(root: Path, environment: dict[str, str]) -> Iterator[str]:
    port, log = free_port(), root / "deepaas.log"
    program = str(Path(sys.executable).with_name("deepaas-run"))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "--listen-ip=127.0.0.1", f"--listen-port={port}"],
            cwd=root,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}/v2/models/"
    try:
        until_it_answers(url, process, log)
        yield f"{url}fish_detector/predict/"
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(8)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_the_example_watches_what_it_gets_and_what_it_finds(
    environment: dict[str, str], tmp_path: Path, camera: Camera
) -> None:
    learn = [sys.executable, "-m", "fish_detector.learn", "storage/images/clean"]
    said = subprocess.run(
        learn, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.startswith("60 pictures, ")
    with served(tmp_path, environment) as url:

        def predict(data: bytes) -> dict[str, Any]:
            reply = requests.post(
                url, files={"input_file": ("a.jpg", data)}, data={"stream": "reef"}, timeout=60
            )
            assert reply.status_code == 200, reply.text
            return dict(reply.json())

        clean = [predict(camera(i)) for i in range(60, 64)]
        blurred = [predict(camera(i, blurred=True)) for i in range(64, 86)]
    assert not any(answer["inputs"]["drift"] for answer in clean)
    assert {each["class"] for answer in clean for each in answer["detections"]} >= {"large fish"}
    assert blurred[-1]["inputs"]["alarm"] is True
    assert blurred[-1]["outputs"]["alarm"] is True
    assert blurred[-1]["outputs"]["stream"] == "reef.outputs"
    with contextlib.closing(open_store(small_config(tmp_path))) as store:
        streams = {each.stream: each.images for each in store.streams()}
    assert streams == {"reef": 26, "reef.outputs": 26}
