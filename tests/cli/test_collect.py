"""`lenswatch collect`, and training from what was collected."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from conftest import Camera, small_config
from lenswatch.config import Config
from lenswatch.node.calibration_file import Calibration, save_calibration
from lenswatch.reference.amount import fewest_pictures
from lenswatch.reference.paths import calibration_folder, current_digest
from support.ports import free_port


@pytest.fixture
def footage(tmp_path: Path, camera: Camera) -> Path:
    """A folder with 90 pictures."""
    folder = tmp_path / "footage"
    folder.mkdir()
    for i in range(90):
        (folder / f"{i:04}.jpg").write_bytes(camera(i))
    return folder


def collected(config: Config, stream: str) -> list[Path]:
    return sorted((config.image_folder / "collected" / stream).iterdir())


def test_a_running_collection_is_begun_shown_and_given_up(trained: Config, run: Any) -> None:
    begun = run("collect", "--stream", "reef", "--for", "36 hours", "--pictures", 100)
    assert begun.exit_code == 0, begun.output
    assert "stream reef: collecting at most 100 pictures for 36 hours" in begun.output
    assert "pictures in drift or alarm are not kept" in begun.output
    assert (
        "stream reef: Collecting clean pictures: 0 of at most 100"
        in run("collect", "--status").output
    )
    again = run("collect", "--stream", "reef")
    assert again.exit_code == 1
    assert "collected already" in again.output
    assert "given up" in run("collect", "--stream", "reef", "--stop").output
    assert "no clean pictures are being collected" in run("collect", "--status").output
    nothing = run("collect", "--stream", "reef", "--stop")
    assert nothing.exit_code == 1
    assert "no clean pictures are being collected" in nothing.output


def test_a_stream_without_thresholds_is_said_to_keep_all_pictures(
    run: Any, trained: Config
) -> None:
    folder, digest = calibration_folder(trained.storage_path), current_digest(trained.storage_path)
    save_calibration(folder, "reef", Calibration.missing(str(digest), "reef", "they are gone"))
    begun = run("collect", "--stream", "reef").output
    assert "nothing can alarm at present, so all its pictures count as clean" in begun


@pytest.mark.parametrize("arguments", [(), ("--new-camera",)])
def test_a_stream_that_is_not_judged_meanwhile_is_said_to_be_so(
    run: Any, trained: Config, arguments: tuple[str, ...]
) -> None:
    if not arguments:
        (trained.storage_path / "reference" / "current").unlink()
    assert "nothing can alarm" in run("collect", "--stream", "reef", *arguments).output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--for", "soon"), "'soon': no duration; write a number and a unit"),
        (("--for", "0 days"), "the number is from 0.001 to 9999.999"),
        (("--pictures", "0"), "0 is not in the range"),
        (("--pictures", "5"), "--pictures 5: too few to learn from; give 10 or more"),
        (("--stream", "Not A Slug"), "stream 'Not A Slug'"),
        (("--stop", "."), "exclude each other"),
    ],
)
def test_what_cannot_be_used_is_named(
    run: Any, trained: Config, arguments: tuple[str, ...], says: str
) -> None:
    ended = run("collect", *arguments)
    assert ended.exit_code != 0
    assert says in ended.output


def test_predict_collects_and_finish_trains_with_what_there_is(
    run: Any, tmp_path: Path, footage: Path
) -> None:
    run("collect", "--for", "0.001 seconds")
    judged = run("predict", footage)
    assert judged.exit_code == 0, judged.output
    assert "not judged" in judged.output
    config = small_config(tmp_path)
    kept = len(collected(config, "default"))
    assert kept >= fewest_pictures(Config())
    assert current_digest(config.storage_path) is not None  # it was over, so it trained at the end
    assert f"from {kept} pictures of default" in judged.output
    assert "not judged" not in run("predict", footage).output


def test_finish_ends_a_collection_early(
    run: Any, tmp_path: Path, footage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow, where the training would be logged, is down."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    run("collect", "--for", "10 minutes", "--pictures", 100_000)
    assert "not judged" in run("predict", footage).output
    early = run("collect", "--finish")
    assert early.exit_code == 0, early.output
    assert f"reference {current_digest(small_config(tmp_path).storage_path)} " in early.output
    assert early.output.count("not logged in MLflow") == 1


def calibration_of(config: Config, stream: str) -> bytes:
    folder = calibration_folder(config.storage_path) / str(current_digest(config.storage_path))
    return (folder / f"{stream}.json").read_bytes()


@pytest.mark.parametrize("kept", [0, 1, 9])
def test_a_finish_with_too_few_pictures_changes_nothing(
    trained: Config, run: Any, footage: Path, kept: int
) -> None:
    run("calibrate", "--stream", "reef", footage)
    before = calibration_of(trained, "reef")
    run("collect", "--stream", "reef", "--for", "1 second")
    few = footage.parent / "few"
    few.mkdir()
    for path in sorted(footage.iterdir())[:kept]:
        path.rename(few / path.name)
        run("predict", few / path.name, "--stream", "reef")
    ended = run("collect", "--stream", "reef", "--finish")
    assert ended.exit_code == 1
    if kept == 0:
        assert "0 pictures were kept: nothing to calibrate from" in ended.output
    else:
        assert "too few to learn from; give 10 or more" in ended.output
        assert "nothing was changed" in ended.output
    assert calibration_of(trained, "reef") == before
    assert "stream reef: Collecting" in run("collect", "--status").output


def test_a_finish_without_any_file_that_was_kept_changes_nothing(
    trained: Config, run: Any, footage: Path
) -> None:
    run("calibrate", "--stream", "reef", footage)
    before = calibration_of(trained, "reef")
    run("collect", "--stream", "reef", "--for", "10 minutes", "--pictures", 100_000)
    run("predict", footage, "--stream", "reef")
    assert collected(trained, "reef")
    for path in collected(trained, "reef"):
        path.unlink()
    ended = run("collect", "--stream", "reef", "--finish")
    assert ended.exit_code == 1
    assert "0 clean pictures: nothing to calibrate from" in ended.output
    assert calibration_of(trained, "reef") == before


def test_a_folder_trains_a_node_that_has_no_reference(
    run: Any, tmp_path: Path, footage: Path
) -> None:
    ended = run("collect", "--pictures", 50, footage)
    assert ended.exit_code == 0, ended.output
    config = small_config(tmp_path)
    kept = collected(config, "default")
    assert len(kept) == 50
    assert [path.name[:4] for path in kept][::49] == ["0000", "0089"]
    assert "from 50 clean pictures" in ended.output
    again = run("train")
    assert again.exit_code == 0, again.output
    assert "from 50 clean pictures" in again.output


@pytest.mark.parametrize("has_reference", [True, False])
def test_a_folder_with_too_few_pictures_is_refused_and_nothing_is_copied(
    run: Any, trained: Config, footage: Path, has_reference: bool
) -> None:
    if not has_reference:
        (trained.storage_path / "reference" / "current").unlink()
    for path in sorted(footage.iterdir())[9:]:
        path.unlink()
    ended = run("collect", "--stream", "reef", footage)
    assert ended.exit_code == 1
    assert "9 clean pictures are too few to learn from; give 10 or more" in ended.output
    assert not (trained.image_folder / "collected").exists()


def test_footage_on_a_mount_without_extended_attributes_keeps_its_times(
    trained: Config, run: Any, footage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of rclone 1.60, whose answer is an input/output error."""

    def refused(*_: object, **__: object) -> list[str]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "listxattr", refused, raising=False)
    for i, path in enumerate(sorted(footage.iterdir())):
        os.utime(path, (0, 1_700_000_000 + i))
    ended = run("collect", "--stream", "reef", footage)
    assert ended.exit_code == 0, ended.output
    times = sorted(path.stat().st_mtime for path in collected(trained, "reef"))
    assert times == [1_700_000_000 + i for i in range(len(times))]


def test_a_folder_calibrates_a_stream_where_there_is_a_reference(
    trained: Config, run: Any, footage: Path
) -> None:
    before = current_digest(trained.storage_path)
    ended = run("collect", "--stream", "reef", footage)
    assert ended.exit_code == 0, ended.output
    assert current_digest(trained.storage_path) == before
    assert (calibration_folder(trained.storage_path) / f"{before}/reef.json").exists()
    assert len(collected(trained, "reef")) == 90
    run("collect", "--stream", "reef", footage)
    assert len(collected(trained, "reef")) == 90


def test_training_by_hand_names_the_streams_that_go_on_collecting(
    trained: Config, run: Any
) -> None:
    run("collect", "--stream", "pier", "--new-camera")
    run("collect", "--stream", "reef")
    for command in (("calibrate",), ("train",)):
        said = run(*command).output
        assert "stream pier: goes on collecting" in said
        assert "stream reef: goes on" not in said


def test_footage_below_the_nodes_pictures_is_used_where_it_is(trained: Config, run: Any) -> None:
    ended = run("collect", "--stream", "reef", trained.image_folder / "clean")
    assert ended.exit_code == 0, ended.output
    assert not (trained.image_folder / "collected").exists()
