"""Fixtures for backfills: a cluster, and an archive of the small camera."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conftest import Camera, write_settings
from lenswatch.cli.main import main
from support.dask_cluster import DaskCluster

Run = Callable[..., Any]


@pytest.fixture(scope="module")  # processes of Dask are busy even when they have nothing to do
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A cluster of two worker processes."""
    found = DaskCluster(tmp_path_factory.mktemp("dask"))
    try:
        found.start_scheduler()
        for _ in range(2):
            found.start_worker()
        found.until_workers(2)
        yield found
    finally:
        found.stop()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs a command with the small camera's settings and sends nothing."""
    settings = write_settings(tmp_path)

    def command(*arguments: Any, config: Path = settings) -> Any:
        return CliRunner().invoke(
            main, [str(arguments[0]), "--config", str(config), *map(str, arguments[1:])]
        )

    return command


def answers_of(ended: Any) -> list[dict[str, Any]]:
    """The answers that a command printed as JSON."""
    return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]


def fill(folder: Path, camera: Camera, numbers: range, hour: int = 8) -> None:
    """Write pictures whose names tell a time, the last quarter of them blurred."""
    folder.mkdir(parents=True, exist_ok=True)
    blurred = numbers.start + 3 * len(numbers) // 4
    for i in numbers:
        minute = i - numbers.start
        name = f"20260601-{hour + minute // 60:02}{minute % 60:02}00.jpg"
        (folder / name).write_bytes(camera(i, blurred=i >= blurred))
