"""A node on AI4OS' terms: its local disk is lost, and it goes on from the archive."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from conftest import Camera, deepaas_running, write_settings
from lenswatch.config import Config, load_config
from lenswatch.node.archive import archive, restore
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from support.ports import free_port


@pytest.mark.slow
def test_a_new_container_goes_on_where_the_last_one_ended(
    trained: Config, tmp_path: Path, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = tmp_path / "remote"
    monkeypatch.setenv("LENSWATCH_STORAGE_ARCHIVE", str(remote))
    config = load_config(write_settings(tmp_path, f"http://127.0.0.1:{free_port()}"))
    node = Node(config)
    first = [node.observe(camera(60 + i), Request(stream="reef")) for i in range(3)][-1]
    archive(config)
    node.store.close()
    shutil.rmtree(tmp_path / "storage")
    with deepaas_running(tmp_path) as served:
        answer = served.predict(camera(63), stream="reef").json()
        again = served.predict(camera(60), stream="reef", event_id=first["event_id"]).json()
        log = served.log.read_text()
    assert answer["window"]["filled"] == 4
    assert answer["model"] == first["model"]
    assert again == first
    assert "was empty, and was filled from" in log
    shutil.rmtree(tmp_path / "storage")
    restore(config)  # what the node copied when it ended
    assert Node(config).store.answer(answer["event_id"]) is not None
