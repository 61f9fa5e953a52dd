"""Server processes that are started, watched and ended together."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lenswatch.cli.processes import (
    Command,
    await_healthy,
    running,
    stopping_on_signals,
    watch,
)
from lenswatch.errors import ServerError
from support.ports import free_port

SERVE = """
import http.server, sys
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
server.serve_forever()
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


def python(tmp_path: Path, code: Any, *arguments: Any) -> Command:
    return Command("the child", [sys.executable, "-c", code, *arguments], tmp_path / "log")


def test_progress_tells_when_the_servers_answer(tmp_path: Path) -> None:
    port, steps = free_port(), list[Any]()
    with running([python(tmp_path, SERVE, str(port))]) as children:
        await_healthy(children, [f"http://127.0.0.1:{port}/"], steps.append)
        assert children[0].process.poll() is None
    assert steps[0].done == 0
    assert (steps[-1].done, steps[-1].total) == (1, 1)
    assert children[0].process.returncode == -signal.SIGTERM


@pytest.mark.slow
def test_a_server_that_does_not_answer_in_time_is_an_error(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    with (
        running([python(tmp_path, "import time; time.sleep(600)")]) as children,
        pytest.raises(ServerError, match=r"did not answer within 0 s; see .*log"),
    ):
        await_healthy(children, [url], timeout_seconds=0.3)


def test_a_server_that_ends_is_named_with_its_last_words(tmp_path: Path) -> None:
    with (
        running([python(tmp_path, "raise SystemExit('no such secret')")]) as children,
        pytest.raises(ServerError, match=r"the child ended with exit code 1: no such secret"),
    ):
        watch(children)


def test_a_server_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    with running([python(tmp_path, DEAF)], stop_seconds=0.2) as children:
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
