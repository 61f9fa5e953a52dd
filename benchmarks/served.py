"""Speed as users meet it, over HTTP, with defaults, tracking and pictures on: `make bench-served`.

DEEPaaS with a module that does nothing, with the tutorial's way, and with ours, in turns in one run. Prints
medians, and writes them to benchmarks/served.json. `--before FOLDER` measures the checkout there, too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean, median, quantiles
from typing import Any

import psutil
import requests
from PIL import Image

from benchmarks.load import form, post_all
from benchmarks.ports import free_port, until_it_answers
from lenswatch.demo import Footage, draw_parallel

SIZES = {"1080p": (1920, 1080), "small": (384, 216)}
CLEAN, LIVE = 120, 100  # pictures to learn from, and to post
SETTLE_SECONDS = 120  # in which what waits must have been delivered
HERE = Path(__file__).parents[1]


@dataclass
class Module:
    """DEEPaaS with one model on a port of its own, and what it needs besides.

    Attributes:
        label: For the results.
        port: Of DEEPaaS.
        name: Of the model.
        processes: DEEPaaS, and the tracking server if there is one.
        latencies: Milliseconds by number of clients.
        cpu: CPU seconds of all processes and number of pictures, by number of clients.
    """

    label: str
    port: int
    name: str
    processes: list[psutil.Process]
    latencies: dict[int, list[float]] = field(default_factory=dict)
    rates: dict[int, list[float]] = field(default_factory=dict)
    cpu: dict[int, list[float]] = field(default_factory=dict)

    def load(self, bodies: Sequence[bytes], clients: int, *, counted: bool = True) -> None:
        """Post pictures, wait until everything is delivered, and note what it took."""
        before, started = self._cpu_seconds(), time.perf_counter()
        path = f"/v2/models/{self.name}/predict/"
        latencies = post_all(self.port, path, bodies, clients)
        rate = len(bodies) / (time.perf_counter() - started)
        self._settle()
        if counted:
            self.latencies.setdefault(clients, []).extend(latencies)
            self.rates.setdefault(clients, []).append(rate)
            used = (self._cpu_seconds() - before) / len(bodies) * 1000
            self.cpu.setdefault(clients, []).append(used)

    def _settle(self) -> None:
        """Wait until the outbox is empty, by the node's metrics; other modules have none."""
        if self.name != "lenswatch":
            return
        deadline = time.monotonic() + SETTLE_SECONDS
        waiting = re.compile(
            r'^lenswatch_node_outbox_(?:jobs\{state="waiting"\}|pictures) (\S+)', re.M
        )
        while time.monotonic() < deadline:
            text = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=30).text
            if not any(map(float, waiting.findall(text))):
                return
            time.sleep(0.5)
        raise TimeoutError(f"{self.label} has not delivered after {SETTLE_SECONDS} s")

    def tree(self) -> list[psutil.Process]:
        """Return all its processes."""
        return [each for root in self.processes for each in (root, *root.children(recursive=True))]

    def _cpu_seconds(self) -> float:
        return sum(sum(each.cpu_times()[:2]) for each in self.tree())

    def results(self) -> dict[str, Any]:
        """Return latencies in ms, CPU seconds per 1,000 pictures (their mean), and memory in MB."""
        found: dict[str, Any] = {}
        for clients, taken in self.latencies.items():
            found[f"{clients} clients"] = {
                "p50_ms": round(median(taken), 2),
                "p99_ms": round(quantiles(taken, n=100)[98], 2),
                "pictures_per_second": round(median(self.rates[clients]), 1),
                "cpu_seconds_per_1000": round(fmean(self.cpu[clients]), 2),
            }
        sizes = [round(each.memory_info().rss / 1e6) for each in self.tree()]
        return found | {"memory_mb": sorted(sizes, reverse=True)}


def draw_pictures(folder: Path) -> dict[str, list[bytes]]:
    """Draw clean pictures into FOLDER/SIZE/storage/images/clean, and return the later ones by size."""
    footage = Footage(CLEAN + LIVE, datetime(2026, 6, 1, 8, tzinfo=UTC), timedelta(minutes=2))
    drawn = sorted(draw_parallel(footage, folder / "drawn"))
    live: dict[str, list[bytes]] = {name: [] for name in SIZES}
    for number, path in enumerate(drawn):
        for name, size in SIZES.items():
            data = _scaled(path, size)
            if number >= CLEAN:
                live[name].append(data)
                continue
            clean = folder / name / "storage" / "images" / "clean"
            clean.mkdir(parents=True, exist_ok=True)
            (clean / path.name).write_bytes(data)
    return live


def _scaled(path: Path, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        picture.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@contextlib.contextmanager
def modules(root: Path, folder: Path, workers: int, before: Path | None) -> Iterator[list[Module]]:
    """All that is compared on one size, running.

    Args:
        root: A folder that holds the modules to compare with, for Python.
        folder: The node's; it is copied for each node.
        workers: Processes of DEEPaaS that judge.
        before: Another checkout.
    """
    with contextlib.ExitStack() as stack:
        made = [
            Module(label, *_deepaas(stack, folder, name, workers, {"PYTHONPATH": f"{root}:{HERE}"}))
            for label, name in (("no-op", "bench-noop"), ("tutorial", "bench-tutorial"))
        ]
        made.append(_node(stack, "ours", folder, workers, {}))
        if before is not None:
            made.append(
                _node(stack, "before", folder, workers, {"PYTHONPATH": str(root / "before")})
            )
        yield made


def _node(
    stack: contextlib.ExitStack, label: str, folder: Path, workers: int, variables: dict[str, str]
) -> Module:
    """Return a node with a tracking server of its own."""
    own = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder.parent)))
    shutil.copytree(folder / "storage", own / "storage")
    port = free_port()
    database = f"sqlite:///{own}/server.db"
    command = ["-m", "lenswatch", "server", "--port", str(port), "--database", database]
    server = _start(stack, [sys.executable, *command], own, variables)
    until_it_answers(server, f"http://127.0.0.1:{port}/healthz")
    (own / "config.toml").write_text(f'[tracking]\nurl = "http://127.0.0.1:{port}"\n')
    variables = variables | {"LENSWATCH_CONFIG": str(own / "config.toml")}
    port, name, processes = _deepaas(stack, own, "lenswatch", workers, variables)
    return Module(label, port, name, [*processes, psutil.Process(server.pid)])


def _deepaas(
    stack: contextlib.ExitStack, folder: Path, name: str, workers: int, variables: dict[str, str]
) -> tuple[int, str, list[psutil.Process]]:
    port = free_port()
    program = str(Path(sys.executable).with_name("deepaas-run"))
    options = ["--listen-ip=127.0.0.1", f"--listen-port={port}", f"--model-name={name}"]
    command = [program, *options, f"--workers={workers}"]
    process = _start(stack, command, folder, variables)
    until_it_answers(process, f"http://127.0.0.1:{port}/v2/models/{name}/")
    return port, name, [psutil.Process(process.pid)]


def _start(
    stack: contextlib.ExitStack, command: list[str], folder: Path, variables: dict[str, str]
) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started."""
    tree = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    for each in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.kill()
    process.wait()


def make_findable(root: Path, before: Path | None) -> None:
    """Write the entry points by which DEEPaaS finds the modules to compare with."""
    folder = root / "benchmark_modules-1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: benchmark-modules\nVersion: 1\n")
    if before is not None:
        shutil.copytree(before / "src" / "lenswatch", root / "before" / "lenswatch")
        shutil.copytree(before / "api", root / "before" / "lenswatch" / "api")
    lines = [f"bench-{name} = benchmarks.modules.{name}" for name in ("noop", "tutorial")]
    (folder / "entry_points.txt").write_text("\n".join(["[deepaas.v2.model]", *lines, ""]))


def measure(
    root: Path, folder: Path, pictures: list[bytes], workers: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Post pictures to each module in turns, and return its figures by label."""
    bodies = [form(each) for each in pictures]
    with modules(root, folder, workers, options.before) as made:
        for each in made:  # fills the windows, and every cache
            each.load(bodies[:20], 1, counted=False)
        for _ in range(options.rounds):
            for clients in (1, 4):
                for each in made:
                    each.load(bodies[20:], clients)
        return {each.label: each.results() for each in made}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--sizes", nargs="*", default=list(SIZES))
    parser.add_argument("--before", type=Path, help="another checkout to measure beside this one")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as work:
        root = Path(work) / "modules"
        make_findable(root, options.before)
        live = draw_pictures(Path(work))
        for name in options.sizes:
            folder = Path(work) / name
            program = str(Path(sys.executable).with_name("lenswatch"))
            (folder / "config.toml").write_text("[encoder]\nepochs = 2\n")  # weights do not matter
            subprocess.run([program, "train"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
            for workers in options.workers:
                found = measure(root, folder, live[name], workers, options)
                results[f"{name}, {workers} workers"] = found
                print(json.dumps({f"{name}, {workers} workers": found}, indent=1), flush=True)
    Path(__file__).with_name("served.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
