"""Server processes that are started, watched and ended together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lenswatch.cli.processes import (
    LOG_MAX_BYTES,
    Command,
    RestartLimits,
    _keep_small,
    await_healthy,
    running,
    stopping_on_signals,
    watch,
)
from lenswatch.cli.survivors import RunFolder
from lenswatch.errors import ServerError
from support.ports import free_port

SERVE = """
import http.server, sys
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
server.serve_forever()
"""
START = """
import sys, time
from pathlib import Path
from lenswatch.cli.processes import Command, running
from lenswatch.cli.survivors import RunFolder
folder = Path(sys.argv[1])
command = Command("the child", [sys.executable, "-c", "import time; time.sleep(600)"], folder / "log")
with RunFolder.made(folder, print) as run, running([command], run) as children:
    print(children[0].process.pid, flush=True)
    time.sleep(600)
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    """The folder of this process's servers."""
    with RunFolder.made(tmp_path, print) as run:
        yield run


def python(tmp_path: Path, code: Any, *arguments: Any) -> Command:
    return Command("the child", [sys.executable, "-c", code, *arguments], tmp_path / "log")


def test_progress_tells_when_the_servers_answer(tmp_path: Path, run: RunFolder) -> None:
    port, steps = free_port(), list[Any]()
    with running([python(tmp_path, SERVE, str(port))], run) as children:
        await_healthy(children, [f"http://127.0.0.1:{port}/"], steps.append)
        assert children[0].process.poll() is None
    assert steps[0].done == 0
    assert (steps[-1].done, steps[-1].total) == (1, 1)
    assert children[0].process.returncode == -signal.SIGTERM


@pytest.mark.slow
def test_a_server_that_does_not_answer_in_time_is_an_error(tmp_path: Path, run: RunFolder) -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    with (
        running([python(tmp_path, "import time; time.sleep(600)")], run) as children,
        pytest.raises(ServerError, match=r"did not answer within 0 s; see .*log"),
    ):
        await_healthy(children, [url], timeout_seconds=0.3)


def test_a_server_that_ends_is_started_again_with_pauses_and_given_up_in_the_end(
    tmp_path: Path, run: RunFolder
) -> None:
    said: list[str] = []
    limits = RestartLimits(first_seconds=0.01, longest_seconds=0.02, tries=3)
    with (
        running([python(tmp_path, "raise SystemExit('no such secret')")], run) as children,
        pytest.raises(ServerError, match=r"no such secret .*; it was started 4 times in a row"),
    ):
        watch(children, run, said.append, limits)
    ends = [line for line in said if "ended with exit code 1: no such secret (see " in line]
    assert [line.rpartition("again in ")[2] for line in ends] == ["0.01 s", "0.02 s", "0.02 s"]
    assert sum("the child was started again (process " in line for line in said) == 3


def test_a_server_that_worked_for_long_is_not_given_up(tmp_path: Path, run: RunFolder) -> None:
    class EnoughError(Exception):
        pass

    said: list[str] = []

    def tell(line: str) -> None:
        said.append(line)
        if len(said) == 10:
            raise EnoughError

    limits = RestartLimits(first_seconds=0.01, stable_seconds=0, tries=1)
    with running([python(tmp_path, "")], run) as children, pytest.raises(EnoughError):
        watch(children, run, tell, limits)
    assert [line.rpartition("; ")[2] for line in said[::2]] == ["it is started again in 0.01 s"] * 5


def test_a_log_that_has_grown_is_moved_aside_and_goes_on_at_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"1" * LOG_MAX_BYTES)
        _keep_small(log)
        assert not (tmp_path / "server.log.1").exists()
        writer.write(b"2")
        _keep_small(log)
        writer.write(b"3")
    assert (tmp_path / "server.log.1").stat().st_size == LOG_MAX_BYTES + 1
    assert log.read_bytes() == b"3"


def test_a_server_that_ignores_sigterm_is_killed(tmp_path: Path, run: RunFolder) -> None:
    with running([python(tmp_path, DEAF)], run, stop_seconds=0.2) as children:
        while "ready" not in children[0].command.log.read_text():
            time.sleep(0.01)
    assert children[0].process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_the_block_and_the_handlers_are_restored(number: Any) -> None:
    before, reached = signal.getsignal(number), False
    with stopping_on_signals():
        os.kill(os.getpid(), number)
        time.sleep(5)
        reached = True
    assert not reached
    assert signal.getsignal(number) is before


def test_a_signal_is_not_taken_for_an_error_of_what_runs() -> None:
    reached = False
    with stopping_on_signals():
        with contextlib.suppress(Exception):  # as libraries do while they are imported
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        reached = True
    assert not reached


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_within_a_finaliser_is_not_lost(tmp_path: Path, run: RunFolder) -> None:
    class Finalised:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    reached, code = False, "import time; time.sleep(600)"
    with stopping_on_signals() as check, running([python(tmp_path, code)], run) as children:
        Finalised()
        reached = True
        watch(children, run, print, check=check)
    assert reached


@pytest.mark.skipif(
    sys.platform != "linux", reason="by design: only Linux tells a child of this end"
)
def test_a_server_ends_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", START, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout
        child = psutil.Process(int(starter.stdout.readline()))
        starter.kill()
    _, alive = psutil.wait_procs([child], timeout=60)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
