"""The folders of running `lenswatch up`, by which the next one finds servers that outlived theirs.

Each `up` has a folder `storage/run/up-...`, which it holds, and in it a file for each server, which the
server holds from its start to its end. So nobody mistakes another process for one of ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lenswatch.errors import ServerError
from lenswatch.held import hold, is_held, make_held_folder

__all__ = ["RunFolder", "end_survivors"]

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 7.0  # a little more than DEEPaaS needs to end


@dataclass(frozen=True)
class RunFolder:
    """The folder of a running `up`.

    Attributes:
        path: The folder, in `storage/run`.
    """

    path: Path

    @classmethod
    @contextmanager
    def made(cls, storage: Path, tell: Callable[[str], None]) -> Iterator[RunFolder]:
        """End the servers of each `up` that was killed, make the folder, and delete it with the block.

        Raises:
            ServerError: A server cannot be ended, or another `up` runs on this storage folder.
        """
        parent = _parent(storage)
        parent.mkdir(parents=True, exist_ok=True)
        with _alone(parent):  # of two that start together, one finds the other's folder
            end_survivors(storage, tell)
            path, descriptor = make_held_folder(parent, f"up-{os.getpid()}-")
        try:
            yield cls(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(descriptor)

    @contextmanager
    def held_file(self, name: str) -> Iterator[int]:
        """Yield the descriptor of the server's file, for the server to inherit within the block."""
        file = self.path / name
        file.unlink(missing_ok=True)
        file.touch()
        descriptor = hold(file)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def write(self, name: str, process: int) -> None:
        """Write down the number of the server's process."""
        (self.path / name).write_text(json.dumps({"process": process}))


def end_survivors(
    storage: Path, tell: Callable[[str], None], stop_seconds: float = PATIENCE_SECONDS
) -> None:
    """End the servers of each `up` that was killed: wait, then SIGTERM, then SIGKILL.

    Args:
        storage: The storage folder.
        tell: Called with a line for the user about each server.
        stop_seconds: Time to wait before SIGKILL, and on Linux before SIGTERM.

    Raises:
        ServerError: One cannot be ended, or another `up` runs on this storage folder.
    """
    made = sorted(_parent(storage).glob("up-*"))
    folders = [folder for folder in made if not is_held(folder)]
    if running := [folder for folder in made if folder not in folders]:
        process = running[0].name.split("-")[1]
        raise ServerError(
            f"`lenswatch up` runs on {storage} already (process {process}); end it first, or set "
            "another storage.path"
        )
    servers = [file for folder in folders for file in folder.iterdir() if is_held(file)]
    for file in servers:
        tell(f"{_name(file)} of an earlier `lenswatch up`, which was killed, still runs: ending it")
    if sys.platform == "linux":  # which has told them that their `up` was killed
        servers = _held_after(servers, stop_seconds)
    for file in servers:
        _signal(os.kill, _require_process(file), signal.SIGTERM)
    servers = _held_after(servers, stop_seconds)
    for file in servers:
        _signal(os.killpg, _require_process(file), signal.SIGKILL)  # each leads a group
    if stuck := _held_after(servers, stop_seconds):
        raise ServerError(f"{_name(stuck[0])} cannot be ended; end it, then start again")
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _parent(storage: Path) -> Path:
    return storage / "run"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process is in this block for the folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _held_after(files: list[Path], seconds: float) -> list[Path]:
    """Wait until nobody holds the files, at most some seconds, and return those that are still held."""
    deadline = time.monotonic() + seconds
    while files := [file for file in files if is_held(file)]:
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_SECONDS)  # no event tells when a process that is no child of ours ends
    return files


def _signal(send: Callable[[int, int], None], process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        send(process, number)


def _require_process(file: Path) -> int:
    process = _process(file)
    if process is None:
        raise ServerError(
            f"a server of an earlier `lenswatch up` still runs, and {file} does not say which process it is; "
            "find it with `ps` and end it"
        )
    return process


def _process(file: Path) -> int | None:
    try:
        return int(json.loads(file.read_text())["process"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _name(file: Path) -> str:
    process = _process(file)
    return file.name if process is None else f"{file.name} (process {process})"
