"""Functions that worker processes of a pool carry out in tests."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


class Unportable(Exception):  # noqa: N818
    """An exception that can be pickled and not read again."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")


def pid() -> int:
    return os.getpid()


def note_pid(file: Path) -> None:
    with file.open("a") as notes:
        notes.write(f"{os.getpid()}\n")


def fail(message: str) -> None:
    raise ValueError(message)


def fail_unportably() -> None:
    raise Unportable(7, "seven")


def unpicklable() -> Any:
    return lambda: None


def die(by: int) -> None:
    os.kill(os.getpid(), by)
    time.sleep(60)


def leave() -> None:
    sys.exit("enough")


def take_no_call() -> None:
    """Let this process hang where it waits for its next call."""

    def hang(*_: Any) -> bytes:
        signal.pause()
        raise EOFError

    setattr(Connection, "recv_bytes", hang)  # noqa: B010 - mypy takes no other function there


def begin_and_wait(begun: Path, go_on: Path) -> int:
    """Tell that the call runs, and return when `go_on` exists."""
    begun.touch()
    while not go_on.exists():
        time.sleep(0.01)
    return os.getpid()


def die_while(file: Path) -> None:
    """Be killed, as a preparation that needs too much memory, while a file exists."""
    if file.exists():
        os.kill(os.getpid(), signal.SIGKILL)


def not_prepared() -> None:
    raise OSError("no such disk")


def answer_and_die(value: int, seconds: float) -> int:
    """Return `value` after some seconds, and be killed after as many more."""
    time.sleep(seconds)
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return value


def echo(value: int) -> int:
    return value
