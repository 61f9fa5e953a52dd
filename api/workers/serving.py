"""The loop of a worker process: a call comes through the pipe, and its answer goes back."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

from lenswatch.memory import keep_freed_memory

__all__ = ["Message", "ping", "serve"]

log = logging.getLogger(__name__)

# Of DEEPaaS in the parent, so that lines of both can be read and searched together.
LOG_FORMAT = "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s [-] %(message)s"
LOG_TIME = "%Y-%m-%d %H:%M:%S"

Message = tuple[Literal["ready", "begun", "answer", "error"], Any]  # from the worker to its parent


def serve(pipe: Connection, warm: Callable[[], object] | None) -> None:
    """Carry out pickled calls until the parent closes the pipe or ends.

    Signals to the whole group are left to the parent, which lets running calls finish.

    Args:
        pipe: The worker's end.
        warm: Called before the first call is taken.
    """
    logging.basicConfig(
        format=LOG_FORMAT, datefmt=LOG_TIME, force=True
    )  # a library may have set its own
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    keep_freed_memory()
    threading.Thread(target=_end_with_the_parent, name="parent", daemon=True).start()
    if warm is not None:
        try:
            warm()
        except Exception:
            log.exception("the worker could not prepare for its first call")
    try:
        _send(pipe, ("ready", None))
        while True:
            call = pipe.recv_bytes()
            _send(pipe, ("begun", None))  # from here on it may have an effect
            _send(pipe, _carry_out(call))
    except (EOFError, OSError):  # the parent has closed its end
        return


def ping() -> None:
    """Do nothing, as a call that shows that a worker answers."""


def _carry_out(call: bytes) -> Message:
    try:
        return "answer", pickle.loads(call)()
    except Exception as error:
        return "error", _portable(error)


def _send(pipe: Connection, message: Message) -> None:
    try:
        data = pickle.dumps(message)
    except Exception as error:
        data = pickle.dumps(("error", _portable(error)))
    pipe.send_bytes(data)


def _portable(error: Exception) -> Exception:
    """Return the error, or its text in another one if it would not arrive in the parent.

    An exception whose `__init__` takes other arguments than `args` can be pickled, but not read again.
    """
    lines = "".join(traceback.format_exception(error))
    try:
        portable: Exception = pickle.loads(pickle.dumps(error))
    except Exception:
        portable = RuntimeError(f"{type(error).__name__}: {error}")
    portable.add_note(f"In the worker process:\n{lines}")
    return portable


def _end_with_the_parent() -> None:
    """End this process, in the middle of a training too, when the parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
