"""The checks of `/healthz`: whether the node can judge pictures and record them.

A check returns a finding within some seconds. It never loads torch, and remembers what is costly to find
out until the files change.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lenswatch.api.workers.pool import WorkerPool, WorkerState

from lenswatch.config import Config
from lenswatch.errors import ArtefactError, StoreError
from lenswatch.node.calibration_seal import FORMAT, check_made_for, read_sealed
from lenswatch.node.store.places import open_database
from lenswatch.node.store.space import space_of
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.writable import check_writable
from lenswatch.outbox.waiting import reasons_of
from lenswatch.reference.light import check_light, have_light
from lenswatch.reference.manifest import verified_manifest
from lenswatch.reference.paths import (
    calibration_folder,
    current_digest,
    reference_folder,
)

__all__ = [
    "Check",
    "Finding",
    "in_thread",
    "node_checks",
    "outbox_finding",
    "workers_finding",
]

PING_SECONDS = 5.0
SHORT_SECONDS = 30.0  # for which a process may start before the want of it is told
BUSY_SECONDS = 4.0  # for which another process may keep node.db locked
_HAS_TORCH = importlib.util.find_spec("torch") is not None
LEAST_FREE_BYTES = 32 * 2**20
LEAST_FREE_SHARE = 0.05  # of a disk that is small
NO_REFERENCE = (
    "none yet; pictures are not judged until `lenswatch train` or the hook train made one"
)


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        reason: Why the node cannot do its work, and what to do; empty if it can.
        warning: What is wrong though it can.
        told: Further values for the reader.
    """

    reason: str = ""
    warning: str = ""
    told: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the finding as a JSON object."""
        said = {"reason": self.reason, "warning": self.warning}
        return {"ok": not self.reason, **{k: v for k, v in said.items() if v}, **self.told}


Check = Callable[[], Awaitable[Finding]]


def node_checks(config: Config, pool: Callable[[], WorkerPool | None]) -> dict[str, Check]:
    """Return all checks of a node by name.

    Args:
        config: The settings.
        pool: Function that returns the worker processes; None when DEEPaaS keeps its own pool.
    """

    async def workers() -> Finding:
        return await _workers(pool())

    return {
        "workers": workers,
        "reference": in_thread(_Unchanged(config, _reference_files, _reference)),
        "calibration": in_thread(_Unchanged(config, _calibration_files, _calibration)),
        "database": in_thread(_Database(config)),
        "space": in_thread(lambda: _space(config)),
    }


def in_thread(find: Callable[[], Finding]) -> Check:
    """Return a check that calls `find` in a thread, which does not hold up the end of the process."""

    async def check() -> Finding:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Finding] = loop.create_future()

        def tell(finding: Finding | None, error: Exception | None) -> None:
            if found.cancelled():
                return
            if error is not None:
                found.set_exception(error)
            elif finding is not None:
                found.set_result(finding)

        def run() -> None:
            try:
                finding, error = find(), None
            except Exception as raised:
                finding, error = None, raised
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(tell, finding, error)

        threading.Thread(target=run, name="health", daemon=True).start()
        return await found

    return check


async def _workers(pool: WorkerPool | None) -> Finding:
    """Ask an idle worker for a sign of life."""
    if pool is None:
        return Finding(
            warning="this version of DEEPaaS keeps its own workers, which are not watched"
        )
    answered = await pool.ping(PING_SECONDS)
    return workers_finding(pool.states(), answered=answered)


def workers_finding(states: Sequence[WorkerState], *, answered: bool) -> Finding:
    """Return the finding on all places of the pool.

    Args:
        states: The state of each place.
        answered: The idle worker that was asked has answered, or there is none to ask.
    """
    busy = [state for state in states if state.busy]
    slow = [state.busy_seconds for state in busy if state.slow]
    told = {
        "wanted": len(states),
        "ready": sum(state.ready for state in states),
        "busy": len(busy),
        "busy_seconds": round(max((state.busy_seconds for state in busy), default=0.0), 1),
        "slow": len(slow),
        "restarts": sum(state.restarts for state in states),
    }
    if not told["ready"]:
        return Finding("no worker process is ready; if this lasts, the log says why", told=told)
    if not answered:
        return Finding(
            f"a worker process did not answer within {PING_SECONDS:g} s; it is replaced", told=told
        )
    short = [state.short_seconds for state in states if state.short_seconds > SHORT_SECONDS]
    warning = ""
    if short:
        warning = (
            f"{len(short)} of {len(states)} worker processes not ready for {max(short):.0f} s; "
            "the log says why"
        )
    if not slow:
        return Finding(warning=warning, told=told)
    judging = [state for state in states if state.ready and (state.timed or not state.busy)]
    if len(slow) == len(judging):
        return Finding(f"no worker process has answered for {min(slow):.0f} s", told=told)
    told_slow = f"a worker process has had one picture for {max(slow):.0f} s, far longer than usual"
    return Finding(warning="; ".join(filter(None, (told_slow, warning))), told=told)


class _Unchanged:
    """A check of files that is made again only when one of them has changed.

    Args:
        config: The settings.
        files: Function that returns the files that count.
        check: The check, of the settings and the digest of the current reference.
    """

    def __init__(
        self,
        config: Config,
        files: Callable[[Config, str], list[Path]],
        check: Callable[[Config, str], Finding],
    ) -> None:
        self._config, self._files, self._check = config, files, check
        self._known: tuple[object, Finding] | None = None

    def __call__(self) -> Finding:
        digest = current_digest(self._config.storage_path)
        if digest is None:
            return Finding(told={"note": NO_REFERENCE})
        stamps = (digest, *map(_stamp, self._files(self._config, digest)))
        if self._known is None or self._known[0] != stamps:
            finding = self._check(self._config, digest)
            self._known = stamps, replace(finding, told={"digest": digest})
        return self._known[1]


def _stamp(path: Path) -> tuple[str, int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(path), status.st_ino, status.st_mtime_ns, status.st_size


def _reference_files(config: Config, digest: str) -> list[Path]:
    return sorted((reference_folder(config.storage_path) / digest).glob("*"))


def _reference(config: Config, digest: str) -> Finding:
    """Compare the files with the digests under which they were saved; torch serves without a light form."""
    try:
        verified_manifest(reference_folder(config.storage_path) / digest, digest)
    except ArtefactError as error:
        return Finding(str(error))
    try:
        if _HAS_TORCH and not have_light(config.storage_path, digest):
            return Finding()
        check_light(config.storage_path, digest)
    except ArtefactError as error:
        return Finding(warning=str(error)) if _HAS_TORCH else Finding(str(error))
    return Finding()


def _calibration_files(config: Config, digest: str) -> list[Path]:
    return sorted((calibration_folder(config.storage_path) / digest).glob("*.json"))


def _calibration(config: Config, digest: str) -> Finding:
    """Read each stream's calibration. A damaged one of a stream's own stops only that stream."""
    damaged = {}
    for file in _calibration_files(config, digest):
        try:
            document = read_sealed(file)
            if document["format"] >= FORMAT:  # thresholds of an earlier version are not used
                check_made_for(digest, document, file)
        except (ArtefactError, FileNotFoundError, KeyError) as error:
            damaged[file.stem] = str(error)
    default = damaged.pop("default", "")
    return Finding(default, "; ".join(damaged.values()))


class _Database:
    """The check that the database can be written. It has connections of its own, which wait a short time.

    Args:
        config: The settings.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._store: NodeStore | None = None

    def __call__(self) -> Finding:
        try:
            if self._store is None:
                self._store = open_database(
                    self._config, busy_timeout=BUSY_SECONDS, keep_outbox=False
                )
            check_writable(self._store)
        except StoreError as error:
            return Finding(str(error))
        return Finding()


def outbox_finding(store: NodeStore | None) -> Finding:
    """Tell how large the outbox is, and what had to go for want of space: the node judges nevertheless.

    Args:
        store: The database of the process; None before it is open.
    """
    if store is None:
        return Finding("node.db is not open yet")
    try:
        space = space_of(store)
    except StoreError as error:
        return Finding(str(error))
    short = space.counts.since is not None
    waiting = reasons_of(store).get("jobs")
    told = {} if waiting is None else waiting.to_json()
    return Finding(warning=space.note if short else "", told={**space.to_json(), **told})


def _space(config: Config) -> Finding:
    """Look for free space in the storage folder, and in the temporary one, which takes the uploads.

    Want of space is a warning: pictures are judged, and recorded in what the outbox gives up. The check of
    the database finds out when nothing can be recorded.
    """
    free, warnings = {}, []
    for path in (config.storage_path, Path(tempfile.gettempdir())):
        try:
            usage = shutil.disk_usage(path)
            files = os.statvfs(path)
        except OSError as error:
            return Finding(f"{path}: {error.strerror}; it must be a folder that can be written")
        least = min(LEAST_FREE_BYTES, int(LEAST_FREE_SHARE * usage.total))
        free[path] = usage.free
        if usage.free < least:
            warnings.append(
                f"{path}: only {usage.free} bytes are free on its disk, and {least} are needed; "
                "free some disk space"
            )
        elif files.f_files and not files.f_favail:
            warnings.append(f"{path}: its disk can hold no more files; delete some")
    told = {"free_bytes": free[config.storage_path]}
    return Finding(warning="; ".join(warnings), told=told)
