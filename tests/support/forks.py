"""Forked processes of tests, and threads that are busy meanwhile."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS = 120.0  # that a child may take, on a machine that has other things to do


def forked(work: Callable[[], object]) -> int:
    """Do `work` in a forked process, and return its id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(1)


def ended(child: int) -> int | None:
    """Return how a child ended; None if it had to be killed."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None


@contextmanager
def busy(*works: Callable[[], object]) -> Iterator[None]:
    """Do works again and again in a thread each."""
    stopping = threading.Event()

    def run(work: Callable[[], object]) -> None:
        while not stopping.is_set():
            work()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
