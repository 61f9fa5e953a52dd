"""`lenswatch backfill` on a real cluster, and `lenswatch predict FOLDER` as the oracle."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from backfill.conftest import Run, answers_of, fill
from conftest import Camera
from lenswatch.backfill.running import held_backfill
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
    assert answers_of(again) == answers_of(by_predict)
    assert "43 judged before" in again.stderr


def test_each_folder_is_the_stream_of_a_camera(
    trained: Config, run: Run, camera: Camera, tmp_path: Path
) -> None:
    """The cluster is one of this machine."""
    archive = tmp_path / "archive"
    fill(archive / "North (1)", camera, range(60, 72))
    fill(archive / "south" / "2026", camera, range(70, 86))
    by_predict = [
        answer
        for stream, folder in (("north-1", "North (1)"), ("south", "south/2026"))
        for answer in answers_of(run("predict", "--json", "--stream", stream, archive / folder))
    ]
    forget(trained)
    ended = run("backfill", "--json", "--stream-from-folder", "--workers", "1", archive)
    assert ended.exit_code == 0, ended.output
    assert [answer["stream"] for answer in answers_of(ended)] == ["north-1"] * 12 + ["south"] * 16
    ids = {"event_id": None}  # the pictures of the south have another name below its folder
    assert [each | ids for each in answers_of(ended)] == [each | ids for each in by_predict]
    assert answers_of(ended)[:12] == by_predict[:12]
    assert "28 pictures in 2 streams" in ended.stderr
    (archive / "loose.jpg").write_bytes(camera(60))
    ended = run("backfill", "--json", "--stream-from-folder", archive)
    assert ended.exit_code == 0
    assert "loose.jpg: left out, as all pictures beside it: they are in no camera's" in ended.output
    assert "28 pictures in 2 streams" in ended.stderr
    assert "12 judged before" in ended.stderr
    assert [each | ids for each in answers_of(ended)] == [each | ids for each in by_predict]
    fill(archive / "NORTH 1", camera, range(3))
    ended = run("backfill", "--stream-from-folder", archive)
    assert ended.exit_code == 1
    assert "NORTH 1 and North (1) would both be stream north-1; rename one" in ended.output


def test_a_name_that_is_no_text_is_a_name(
    trained: Config, run: Run, camera: Camera, cluster: DaskCluster, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    for i, name in enumerate((b"20260601-080000.jpg", b"20260601-080100_\xe9.jpg")):
        Path(os.fsdecode(os.fsencode(archive) + b"/" + name)).write_bytes(camera(60 + i))
    by_predict = answers_of(run("predict", "--json", archive))
    forget(trained)
    for _ in range(2):
        ended = run("backfill", "--json", "--scheduler", cluster.address, archive)
        assert ended.exit_code == 0, ended.output
        assert answers_of(ended) == by_predict


def test_what_cannot_be_backfilled_is_told(config: Config, run: Run, tmp_path: Path) -> None:
    """A node without a reference, a source without pictures, a second backfill."""
    ended = run("backfill", tmp_path)
    assert ended.exit_code == 1
    assert "make one with `lenswatch train`" in ended.output


def test_a_second_backfill_is_refused(trained: Config, run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = run("backfill", tmp_path / "empty")
    assert (ended.exit_code, "no picture; check the sources" in ended.output) == (1, True)
    with held_backfill(trained):
        ended = run("backfill", tmp_path / "empty")
    assert ended.exit_code == 1
    assert "another `lenswatch backfill` is running" in ended.output


def test_a_picture_that_cannot_be_read_is_tried_again(
    trained: Config, run: Run, camera: Camera, cluster: DaskCluster, tmp_path: Path
) -> None:
    listed = tmp_path / "list.txt"
    names = [f"20260601-08{i:02}00.jpg" for i in range(3)]
    listed.write_text("\n".join(names))
    for i in (0, 2):
        (tmp_path / names[i]).write_bytes(camera(60 + i))
    first = run("backfill", "--json", "--scheduler", cluster.address, listed)
    assert first.exit_code == 1
    assert f"{names[1]}: cannot be read: No such file" in first.stderr
    assert "1 of 3 pictures could not be used" in first.stderr
    assert len(answers_of(first)) == 2
    (tmp_path / names[1]).write_bytes(camera(61))
    again = run("backfill", "--json", "--scheduler", cluster.address, listed)
    assert again.exit_code == 0, again.output
    (late,) = [each for each in answers_of(again) if each["image_name"] == names[1]]
    assert late["late"]
    assert [each for each in answers_of(again) if each != late] == answers_of(first)
    assert "1 of 3 pictures are older than its newest one" in again.stderr
    assert "2 judged before" in again.stderr


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
