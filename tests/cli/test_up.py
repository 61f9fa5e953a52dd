"""`lenswatch up`: one command from nothing to the dashboard, and back to nothing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from click.testing import CliRunner

from conftest import Camera, Served, write_settings
from lenswatch.cli.main import main
from lenswatch.cli.ports import _command
from lenswatch.cli.up import _prepare
from lenswatch.config import Config
from lenswatch.demo.replay import Frames, replay, replay_pictures
from lenswatch.reference.paths import current_digest
from support.ports import free_port
from support.up import up, wait_for_text


@pytest.fixture
def ready(trained_root: Path, tmp_path: Path) -> Any:
    """A folder whose storage has a reference."""
    shutil.copytree(trained_root / "storage", tmp_path / "storage")
    write_settings(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_and_a_signal_ends_all_of_it(ready: Any, camera: Camera, number: Any) -> None:
    node_port, server_port = free_port(), free_port()
    with up(ready, node_port=node_port, server_port=server_port) as process:
        wait_for_text(ready / "out.txt", "Press Ctrl-C to stop", process)
        said = (ready / "out.txt").read_text()
        assert f"http://127.0.0.1:{server_port}/" in said
        assert f"http://127.0.0.1:{node_port}/api" in said
        assert "curl -F input_file=@" in said
        assert f"Logs         {ready / 'storage' / 'logs'}" in said
        assert "replay" not in said
        url = f"http://127.0.0.1:{node_port}/v2/models/lenswatch/predict/"
        assert requests.post(url, files={"input_file": camera(60)}, timeout=60).status_code == 200
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 3
        process.send_signal(number)
        assert process.wait(60) == 0
    _, alive = psutil.wait_procs(family, timeout=60)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.slow
def test_with_collect_nothing_is_drawn_and_the_node_collects(
    tmp_path: Path, camera: Camera
) -> None:
    settings = write_settings(tmp_path)
    settings.write_text(settings.read_text() + '[camera]\ncollect = "3 days"\n')
    node_port = free_port()
    with up(tmp_path, node_port=node_port, server_port=free_port()) as process:
        wait_for_text(tmp_path / "out.txt", "Press Ctrl-C to stop", process)
        assert "collects clean pictures for 3 days" in (tmp_path / "out.txt").read_text()
        url = f"http://127.0.0.1:{node_port}/v2/models/lenswatch/predict/"
        answer = requests.post(url, files={"input_file": camera(60)}, timeout=60).json()
        assert answer["collecting"]["kept"] == 1
    assert [path.parent.name for path in tmp_path.rglob("*.jpg")] == ["default"]


def test_a_busy_port_is_one_clear_line(ready: Any) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with up(ready, node_port=port, server_port=free_port()) as process:
            assert process.wait(60) == 1
    said = (ready / "out.txt").read_text().splitlines()
    assert said == [
        f"lenswatch: port {port} on 127.0.0.1 cannot be used (Address already in use); it is used by process "
        f"{os.getpid()} ({_command(os.getpid())}); stop what listens there, or choose others with --port and "
        "--server-port"
    ]


@pytest.mark.slow
def test_a_setting_of_the_server_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    settings = write_settings(tmp_path)
    settings.write_text(settings.read_text() + '[server.auth]\nmode = "oidc"\n')
    with up(tmp_path, node_port=free_port(), server_port=free_port()) as process:
        assert process.wait(60) == 1
    said = (tmp_path / "out.txt").read_text()
    assert 'server.auth.mode = "oidc" needs server.auth.issuers' in said
    assert "drawing" not in said


@pytest.mark.slow
def test_a_new_installation_draws_trains_and_replays(config: Config, deepaas: Served) -> None:
    """Do what a first `make up` does before it serves, with fewer pictures."""
    _prepare(config, Frames(clean=40, later=2, dirty=3))
    pictures = replay_pictures(config.image_folder)
    assert len(pictures) == 5
    assert current_digest(config.storage_path)
    steps: list[Any] = []
    replay(pictures, deepaas.predict_url, steps.append)
    assert [(step.done, step.total) for step in steps] == [(i, 5) for i in range(1, 6)]
    with requests.Session() as session:
        health = session.get(f"{deepaas.url}/healthz", timeout=60).json()
    assert health["status"] == "ok"


def test_a_stop_without_effect_is_noticed_while_pictures_are_drawn(config: Config) -> None:
    class StopError(BaseException):
        pass

    def check() -> None:
        raise StopError

    with pytest.raises(StopError):
        _prepare(config, Frames(clean=40, later=2, dirty=3), check)


@pytest.mark.slow
def test_pictures_that_are_there_are_never_drawn_over(ready: Any, config: Config) -> None:
    shutil.rmtree(ready / "storage" / "reference")
    before = sorted(Path(config.image_folder).rglob("*.jpg"))
    _prepare(config)
    assert sorted(Path(config.image_folder).rglob("*.jpg")) == before
    assert not (config.image_folder / ".to-replay").exists()


@pytest.mark.parametrize("option", ["--port", "--server-port"])
def test_a_port_that_cannot_be_is_refused(option: str) -> None:
    ended = CliRunner().invoke(main, ["up", option, "99999"])
    assert ended.exit_code == 2
    assert "1<=x<=65535" in ended.output
