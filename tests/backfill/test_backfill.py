"""`lenswatch backfill` on a real cluster, and `lenswatch predict FOLDER` as the oracle."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from backfill.conftest import Run, answers_of, fill
from conftest import Camera
from lenswatch.config import Config
from lenswatch.node.request import open_store
from support.dask_cluster import DaskCluster

pytestmark = pytest.mark.slow


def without_times_of_arrival(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "captured_at"}


def test_a_backfill_gives_the_answers_of_predict_bit_for_bit(
    trained: Config, run: Run, camera: Camera, cluster: DaskCluster, tmp_path: Path
) -> None:
    """Bad pictures, a copy, a wrong clock: all are what they are for `predict`."""
    folder = tmp_path / "archive"
    fill(folder, camera, range(60, 100))
    (folder / "20260601-081000.jpg").write_bytes(b"no picture")
    (folder / "20260601-081130.jpg").write_bytes(b"")
    shutil.copy(folder / "20260601-080500.jpg", folder / "20260601-080530.jpg")
    shutil.copy(folder / "20260601-080600.jpg", folder / "19990101-000000.jpg")
    by_predict = run("predict", "--json", folder)
    windows = window_of(trained)
    forget(trained)
    by_backfill = run("backfill", "--json", "--scheduler", cluster.address, folder)
    assert by_backfill.exit_code == by_predict.exit_code == 1, by_backfill.output
    assert len(answers_of(by_predict)) == 41
    assert answers_of(by_backfill) == answers_of(by_predict)
    assert window_of(trained) == windows
    assert "2 of 43 pictures could not be used" in by_backfill.stderr
    assert "dashboard of the cluster: http" in by_backfill.stderr
    again = run("backfill", "--json", folder)  # all is known, so no cluster is needed
    assert answers_of(again) == []
    assert "43 judged before" in again.stderr


def window_of(config: Config) -> bytes | None:
    store = open_store(config)
    try:
        (summary,) = store.streams()
        return store.window(summary.stream, summary.digest)
    finally:
        store.close()


def forget(config: Config) -> None:
    """Delete what the node has judged."""
    for file in config.storage_path.glob("node.db*"):
        file.unlink()
