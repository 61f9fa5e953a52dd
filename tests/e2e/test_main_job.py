"""The main job: a picture is posted to DEEPaaS, and its drift job appears on the dashboard."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from playwright.sync_api import Page

from conftest import Camera, Served, camera_pixels, deepaas_running, write_settings
from support.tracking_server import Server
from support.waiting import until


@pytest.fixture(scope="module")
def node(
    server: Server, trained_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A node that sends to the tracking server."""
    root = tmp_path_factory.mktemp("node")
    shutil.copytree(trained_root / "storage", root / "storage")
    write_settings(root, server.root)
    with deepaas_running(root) as served:
        yield served


def experiment_of(server: Server) -> str | None:
    found = server.session.post(
        f"{server.root}/api/v1/experiment/search", json={"name": "lenswatch"}, timeout=60
    ).json()
    return found[0]["id"] if found else None


def test_a_posted_picture_appears_on_the_open_dashboard(
    node: Served, server: Server, page: Page, camera: Camera
) -> None:
    first = node.predict(camera(60), name="first.jpg", stream="reef").json()
    experiment = until(lambda: experiment_of(server))
    page.goto(f"{server.root}/experiment/{experiment}")
    page.get_by_text("reef").first.wait_for()
    waits = []
    for i in range(3):
        name = f"seen-{i}.jpg"
        node.predict(camera(61 + i), name=name, stream="reef").raise_for_status()
        posted = time.monotonic()
        page.get_by_text(name).first.wait_for()
        waits.append(time.monotonic() - posted)
    assert min(waits) < 2  # the others may have found the machine busy
    assert first["model"] in page.content()


def test_the_picture_and_a_failed_job_arrive_too(
    node: Served, server: Server, camera: Camera
) -> None:
    node.predict(camera(70), stream="arrive", event_id="arrive-1").raise_for_status()
    assert node.predict(b"rubbish", stream="arrive", event_id="arrive-2").status_code == 422
    experiment = until(lambda: experiment_of(server))
    url = f"{server.root}/api/latest/experiment/{experiment}/drift"

    def arrived() -> list[dict[str, Any]]:
        query = {"parameters.stream": "arrive"}
        found = server.session.post(f"{url}/search", json=query, timeout=60).json()
        return found if len(found) == 2 else []

    by_event = {job["parameters"]["event_id"]: job for job in until(arrived)}
    assert by_event["arrive-1"]["job_status"] == "Completed"
    assert by_event["arrive-2"]["job_status"] == "Failed"
    assert "not a picture" in by_event["arrive-2"]["parameters"]["error"]
    image = f"{url}/{by_event['arrive-1']['id']}/image"
    until(lambda: requests.get(image, timeout=60).status_code == 200)


def test_the_clean_picture_that_a_job_names_is_on_the_server(
    node: Served, server: Server, camera: Camera
) -> None:
    answer = node.predict(camera(17), stream="arrive", event_id="arrive-3").json()
    named = answer["nearest_clean"]
    assert answer["model"] == f"lenswatch@{named['reference']}"
    experiment = until(lambda: experiment_of(server))
    url = f"{server.root}/api/latest/experiment/{experiment}/reference/{named['reference']}"

    def listed() -> list[dict[str, Any]]:
        found = requests.get(url, timeout=60).json()["pictures"]
        return found if len(found) == 60 else []

    assert named["name"] in {picture["name"] for picture in until(listed)}
    picture = requests.get(f"{url}/picture/{named['name']}", timeout=60)
    with Image.open(io.BytesIO(picture.content)) as image:
        shown = np.asarray(image).astype(int)
    assert np.abs(shown - camera_pixels(17)).mean() < 4  # frame 17 is a clean picture itself
