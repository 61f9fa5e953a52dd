"""Ctrl-C that is not lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["remembered_interrupts"]


@contextmanager
def remembered_interrupts() -> Iterator[Callable[[], None]]:
    """Remember for the block that Ctrl-C was pressed, and raise it again at its end if it was lost.

    Python prints and forgets an exception that comes while a finaliser runs, as that of a Dask future.

    Yields:
        A function to call from time to time, which raises the KeyboardInterrupt that was lost.
    """
    before, pressed = signal.getsignal(signal.SIGINT), False

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield check
        return

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        before(number, frame)

    signal.signal(signal.SIGINT, remember)
    try:
        yield check
        check()
    finally:
        signal.signal(signal.SIGINT, before)
