"""A real Dask cluster: a scheduler and workers, each a process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import requests

from support.ports import free_port

__all__ = ["DaskCluster"]


@dataclass
class DaskCluster:
    """A scheduler at a fixed address, and workers that connect to it."""

    folder: Path
    port: int = field(default_factory=free_port)
    dashboard: int = field(default_factory=free_port)
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start_scheduler(self) -> None:
        self.scheduler = self._start(
            *("scheduler", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--dashboard-address", f"127.0.0.1:{self.dashboard}"),
        )

    def start_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker without a nanny, which would start it again when it is killed."""
        worker = self._start(
            *("worker", self.address, "--no-nanny", "--nthreads", "1", "--no-dashboard"),
            *("--local-directory", str(self.folder), "--host", "127.0.0.1", *options),
        )
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            if process is not None:
                process.kill()
                process.wait()

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{arguments[0]}-{len(self.workers)}.log").open("ab")
        tests = str(Path(__file__).parents[1])  # whose detectors are evaluated
        with log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": tests},
            )

    def tasks(self) -> int:
        """Return the number of tasks that the scheduler knows, by its metrics."""
        text = requests.get(f"http://127.0.0.1:{self.dashboard}/metrics", timeout=5).text
        return sum(
            int(float(line.rsplit(" ", 1)[1]))
            for line in text.splitlines()
            if line.startswith("dask_scheduler_tasks{")
        )

    def until_workers(self, count: int, timeout: float = 60) -> None:
        """Wait until so many workers are connected."""
        from distributed import Client

        end = time.monotonic() + timeout
        with Client(self.address, timeout=timeout, set_as_default=False) as client:
            while len(client.scheduler_info(n_workers=-1)["workers"]) < count:
                assert time.monotonic() < end
                time.sleep(0.1)
