"""Servers that outlived the `lenswatch up` that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lenswatch.cli.survivors import RunFolder, end_survivors
from lenswatch.errors import ServerError
from support.waiting import until

OBEDIENT = "import time; print('up', flush=True); time.sleep(600)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + OBEDIENT


@contextmanager
def server(run: RunFolder, code: str, name: str = "DEEPaaS") -> Iterator[subprocess.Popen[str]]:
    """A process that holds its file of a run, as a server does."""
    with run.held_file(name) as held:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=[held],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    with process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def left(tmp_path: Path) -> RunFolder:
    """The folder of an `up` that was killed."""
    folder = tmp_path / "run" / "up-1-killed"
    folder.mkdir(parents=True)
    return RunFolder(folder)


@pytest.mark.parametrize(("code", "by"), [(OBEDIENT, signal.SIGTERM), (DEAF, signal.SIGKILL)])
def test_a_survivor_is_named_and_ended(tmp_path: Path, left: RunFolder, code: str, by: int) -> None:
    said: list[str] = []
    with server(left, code) as process:
        left.write("DEEPaaS", process.pid)
        end_survivors(tmp_path, said.append, stop_seconds=0.2)
        assert process.wait(60) == -by
    assert said == [
        f"DEEPaaS (process {process.pid}) of an earlier `lenswatch up`, which was killed, still runs: "
        "ending it"
    ]
    assert not left.path.exists()


def test_an_up_that_runs_is_named_and_its_servers_are_left_alone(tmp_path: Path) -> None:
    said: list[str] = []
    with RunFolder.made(tmp_path, print) as run, server(run, OBEDIENT) as process:
        run.write("DEEPaaS", process.pid)
        with pytest.raises(ServerError, match=rf"already \(process {os.getpid()}\); end it first"):
            end_survivors(tmp_path, said.append, stop_seconds=0)
        assert process.poll() is None
        assert run.path.exists()
    assert said == []
    assert not run.path.exists()


def test_a_process_that_got_the_number_of_an_ended_server_is_left_alone(
    tmp_path: Path, left: RunFolder
) -> None:
    said: list[str] = []
    with server(left, OBEDIENT) as ended:
        pass
    with subprocess.Popen(["sleep", "600"]) as stranger:
        left.write("DEEPaaS", stranger.pid)
        end_survivors(tmp_path, said.append, stop_seconds=0)
        assert stranger.poll() is None
        stranger.kill()
    assert ended.returncode is not None
    assert said == []
    assert not left.path.exists()


def test_a_survivor_whose_number_is_not_known_is_an_error(tmp_path: Path, left: RunFolder) -> None:
    with (
        server(left, OBEDIENT) as process,
        pytest.raises(ServerError, match=r"DEEPaaS does not say which process it is"),
    ):
        end_survivors(tmp_path, lambda _: None, stop_seconds=0)
    assert process.returncode == -signal.SIGKILL  # by the test, and not before


def test_a_survivor_that_ends_while_it_is_waited_for_gets_no_signal(
    tmp_path: Path, left: RunFolder
) -> None:
    with server(left, DEAF) as process:
        left.write("DEEPaaS", process.pid)

        def tell(_: str) -> None:
            os.kill(process.pid, signal.SIGKILL)
            until(lambda: process.poll() is not None)

        end_survivors(tmp_path, tell, stop_seconds=60)
    assert not left.path.exists()
