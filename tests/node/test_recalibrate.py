"""A new reference: streams keep thresholds of their own, or have none until they are calibrated."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conftest import Camera
from lenswatch.config import Config
from lenswatch.node import calibration_file, calibration_seal
from lenswatch.node.calibrate import calibrate_stream
from lenswatch.node.calibration_file import (
    Calibration,
    calibrated_streams,
    load_calibration,
    save_calibration,
)
from lenswatch.node.explain import explain
from lenswatch.node.observe import Node
from lenswatch.node.recalibrate import take_up
from lenswatch.node.request import Request
from lenswatch.progress import Step
from lenswatch.reference.artefact import Reference, load_reference, save_reference
from lenswatch.reference.paths import calibration_folder, current_digest
from support.second_camera import second_camera, write_frames


def trained_again(config: Config, factor: float = 2.0) -> Reference:
    """Save another reference, as training does, without making it current."""
    old = load_reference(config.storage_path)
    wider = dataclasses.replace(old, sigma=old.sigma * factor)
    return save_reference(config.storage_path, wider, {}, make_current=False)


def own(config: Config, stream: str, folder: Path, count: int = 30) -> Calibration:
    """Calibrate a stream from pictures of the second camera."""
    files = write_frames(folder, [f"{i:03}.jpg" for i in range(count)])
    return calibrate_stream(config, load_reference(config.storage_path), stream, files)


def found(config: Config, stream: str) -> Calibration:
    """Return the calibration in force."""
    return found_under(config, str(current_digest(config.storage_path)), stream)


def found_under(config: Config, digest: str, stream: str = "pier") -> Calibration:
    calibration = load_calibration(calibration_folder(config.storage_path), digest, stream)
    assert calibration is not None
    return calibration


def test_a_stream_is_calibrated_again_with_the_pictures_it_had(
    trained: Config, tmp_path: Path
) -> None:
    own(trained, "pier", tmp_path / "clean")
    (tmp_path / "clean" / "003.jpg").rename(tmp_path / "clean" / "renamed.jpg")
    write_frames(tmp_path / "clean", ["new.jpg"], lambda _: second_camera(900))
    new = trained_again(trained)
    taken_up = take_up(trained, new)
    assert taken_up.lines == (
        f"stream pier: recalibrated from 30 pictures in {(tmp_path / 'clean').resolve()}",
    )
    assert current_digest(trained.storage_path) == new.digest
    pier = found(trained, "pier")
    assert pier.digest == new.digest
    assert pier.details["clean_pictures"] == 30
    assert pier.thresholds != found(trained, "else").thresholds


def test_a_stream_without_thresholds_of_its_own_goes_on_with_the_default_ones(
    trained: Config,
) -> None:
    taken_up = take_up(trained, trained_again(trained))
    assert taken_up.lines == ()
    assert found(trained, "reef") == taken_up.default
    assert taken_up.default.thresholds


def test_a_stream_whose_pictures_are_gone_is_judged_by_no_threshold(
    trained: Config, tmp_path: Path, camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    own(trained, "pier", tmp_path / "clean")
    own(trained, "quay", tmp_path / "other")
    shutil.rmtree(tmp_path / "clean")
    lost, kept = take_up(trained, trained_again(trained)).lines
    reason = (
        "30 of its 30 clean pictures are missing (000.jpg, 001.jpg, 002.jpg, ...) in "
        f"{(tmp_path / 'clean').resolve()}"
    )
    assert lost == (
        f"stream pier: not calibrated under the new reference, since {reason}; "
        "run `lenswatch calibrate --stream pier FOLDER`"
    )
    assert kept.startswith("stream quay: recalibrated from 30 pictures")
    node = Node(trained)
    for i in range(14):
        answer = node.observe(camera(i, blurred=True), Request(stream="pier"))
        assert (answer["drift"], answer["calibrated"]) == (False, False)
        assert (answer["drift_distance"], answer["drift_score"]) == (None, None)
    (note,) = answer["calibration_notes"]
    assert "lenswatch calibrate --stream pier FOLDER" in note
    assert reason in note
    assert caplog.text.count(f"stream pier: {note}") == 1
    assert node.observe(camera(20), Request(stream="quay"))["drift_score"] is not None


def test_an_explanation_says_that_a_stream_is_not_calibrated(
    trained: Config, tmp_path: Path, camera: Camera
) -> None:
    own(trained, "pier", tmp_path / "clean")
    shutil.rmtree(tmp_path / "clean")
    take_up(trained, trained_again(trained))
    (tmp_path / "one.jpg").write_bytes(camera(60, blurred=True))
    explained = explain(trained, tmp_path / "one.jpg", "pier")
    assert explained.causes == ()
    assert "lenswatch calibrate --stream pier FOLDER" in explained.notes[0]
    assert explain(trained, tmp_path / "one.jpg", "reef").notes == ()


def test_pictures_are_remembered_across_a_training_at_which_they_were_away(
    trained: Config, tmp_path: Path
) -> None:
    own(trained, "pier", tmp_path / "clean")
    (tmp_path / "clean").rename(tmp_path / "unmounted")
    (line,) = take_up(trained, trained_again(trained, 2)).lines
    assert "not calibrated" in line
    (tmp_path / "unmounted").rename(tmp_path / "clean")
    (line,) = take_up(trained, trained_again(trained, 3)).lines
    assert line.startswith("stream pier: recalibrated from 30 pictures")
    assert found(trained, "pier").thresholds


def test_a_few_missing_pictures_are_named_and_remembered(trained: Config, tmp_path: Path) -> None:
    own(trained, "pier", tmp_path / "clean")
    (tmp_path / "clean" / "003.jpg").rename(tmp_path / "003.jpg")
    (line,) = take_up(trained, trained_again(trained, 2)).lines
    assert "recalibrated from 29 pictures" in line
    assert line.endswith("; 1 of its 30 clean pictures is missing (003.jpg)")
    (tmp_path / "003.jpg").rename(tmp_path / "clean" / "003.jpg")
    (line,) = take_up(trained, trained_again(trained, 3)).lines
    assert "recalibrated from 30 pictures" in line


def test_pictures_that_an_earlier_version_did_not_remember_leave_the_stream_uncalibrated(
    trained: Config, tmp_path: Path
) -> None:
    calibration = own(trained, "pier", tmp_path / "clean")
    details = {k: v for k, v in calibration.details.items() if k != "footage"}
    folder = calibration_folder(trained.storage_path)
    save_calibration(folder, "pier", dataclasses.replace(calibration, details=details))
    (line,) = take_up(trained, trained_again(trained)).lines
    assert "an earlier version did not remember its clean pictures" in line
    assert found(trained, "pier").thresholds == {}


def test_a_reference_taken_up_by_other_means_leaves_the_stream_uncalibrated(
    trained: Config, tmp_path: Path, camera: Camera
) -> None:
    """For example by an earlier version's training."""
    own(trained, "pier", tmp_path / "clean")
    node = Node(trained)
    assert node.observe(camera(60), Request(stream="pier"))["drift_score"] is not None
    new = trained_again(trained)
    (trained.storage_path / "reference" / "current").write_text(new.digest)
    answer = node.observe(camera(61), Request(stream="pier"))
    assert (answer["drift_score"], answer["calibrated"]) == (None, False)
    assert "lenswatch calibrate --stream pier" in answer["calibration_notes"][0]
    assert node.observe(camera(61), Request(stream="reef"))["drift_distance"] is not None
    calibrate_stream(trained, new, "pier", sorted((tmp_path / "clean").iterdir()))
    assert node.observe(camera(62), Request(stream="pier"))["drift_score"] is not None


def test_a_stream_that_chose_the_references_own_pictures_gets_them_again(trained: Config) -> None:
    calibrate_stream(trained, load_reference(trained.storage_path), "pier")
    (line,) = take_up(trained, trained_again(trained)).lines
    assert line == "stream pier: recalibrated from the reference's own pictures"
    assert found(trained, "pier").thresholds == found(trained, "else").thresholds


def test_default_thresholds_from_a_folder_are_found_again(trained: Config, tmp_path: Path) -> None:
    own(trained, "default", tmp_path / "clean")
    taken_up = take_up(trained, trained_again(trained, 2))
    assert taken_up.lines[0].startswith("stream default: recalibrated from 30 pictures in ")
    assert taken_up.default.details["own_pictures"] is True
    (tmp_path / "clean").rename(tmp_path / "unmounted")
    taken_up = take_up(trained, trained_again(trained, 3))
    assert taken_up.lines[0].startswith(
        "stream default: calibrated from the reference's own pictures, since 30 of its 30"
    )
    assert taken_up.default.details["own_pictures"] is False
    (tmp_path / "unmounted").rename(tmp_path / "clean")
    taken_up = take_up(trained, trained_again(trained, 4))
    assert taken_up.default.details["own_pictures"] is True


def test_one_stream_that_fails_does_not_stop_the_others(trained: Config, tmp_path: Path) -> None:
    for name in ("dock", "pier", "quay"):
        own(trained, name, tmp_path / name)
    folder = calibration_folder(trained.storage_path)
    few = found(trained, "pier")
    footage = few.details["footage"]
    footage["pictures"] = dict(list(footage["pictures"].items())[:3])
    save_calibration(folder, "pier", few)
    broken = next((folder / few.digest).glob("dock.json"))
    broken.write_text(broken.read_text()[:-20])
    dock, pier, quay = take_up(trained, trained_again(trained)).lines
    assert "stream dock: not calibrated under the new reference" in dock
    assert (
        "stream pier: not calibrated under the new reference, since 3 clean pictures are too few"
        in pier
    )
    assert quay.startswith("stream quay: recalibrated from 30 pictures")
    assert calibrated_streams(folder, str(current_digest(trained.storage_path))) == [
        "default",
        "quay",
    ]


def test_the_old_reference_is_in_use_until_all_streams_are_calibrated(
    trained: Config, tmp_path: Path
) -> None:
    own(trained, "pier", tmp_path / "clean")
    before, seen = current_digest(trained.storage_path), set()

    def look(_step: Step) -> None:
        seen.add(current_digest(trained.storage_path))

    new = trained_again(trained)
    take_up(trained, new, look)
    assert seen == {before}
    assert current_digest(trained.storage_path) == new.digest != before


def test_a_node_that_judges_meanwhile_never_lacks_thresholds(
    trained: Config, tmp_path: Path, camera: Camera
) -> None:
    old = own(trained, "pier", tmp_path / "clean")
    new = trained_again(trained)
    node, answers, ended = Node(trained), list[Any](), threading.Event()

    def judge() -> None:
        while not ended.is_set():
            answers.append(node.observe(camera(len(answers)), Request(stream="pier")))
        answers.append(node.observe(camera(0), Request(stream="pier")))

    with ThreadPoolExecutor(1) as pool:
        judging = pool.submit(judge)
        try:
            take_up(trained, new)
        finally:
            ended.set()
        judging.result()
    assert answers[-1]["model"] == new.model
    thresholds = {answer["model"]: answer["drift_score"] for answer in answers}
    own_thresholds = {
        f"lenswatch@{found.digest}": found.thresholds["chart"].drift
        for found in (old, found_under(trained, new.digest))
    }
    assert thresholds.items() <= own_thresholds.items()


def test_training_the_same_again_keeps_thresholds_whose_pictures_are_gone(
    trained: Config, tmp_path: Path
) -> None:
    before = own(trained, "pier", tmp_path / "clean")
    shutil.rmtree(tmp_path / "clean")
    (line,) = take_up(trained, load_reference(trained.storage_path)).lines
    assert line.startswith(f"stream pier: keeps its thresholds of {before.created_at}, since 30 of")
    assert found(trained, "pier") == before


def test_a_reference_used_again_keeps_what_was_calibrated_under_it(
    trained: Config, tmp_path: Path
) -> None:
    old = load_reference(trained.storage_path)
    before = own(trained, "pier", tmp_path / "clean")
    take_up(trained, trained_again(trained))
    own(trained, "quay", tmp_path / "other")
    lines = take_up(trained, old, again=False).lines
    assert lines[0] == "stream pier: calibrated under this reference before"
    assert lines[1].startswith("stream quay: recalibrated from 30 pictures")
    assert found(trained, "pier") == before


def test_a_calibration_of_an_earlier_format_is_made_again_with_its_pictures(
    trained: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = own(trained, "pier", tmp_path / "clean")
    later = calibration_seal.FORMAT + 1
    for module in (calibration_file, calibration_seal):
        monkeypatch.setattr(module, "FORMAT", later)
    assert found(trained, "pier").thresholds == {}
    reference = load_reference(trained.storage_path)
    (line,) = take_up(trained, reference, again=False).lines
    assert line.startswith("stream pier: recalibrated from 30 pictures")
    assert found(trained, "pier").thresholds == before.thresholds
    assert found(trained, "else").thresholds


def test_too_few_embeddings_for_thresholds_do_not_keep_a_reference_from_use(
    trained: Config,
) -> None:
    old: Any = load_reference(trained.storage_path)
    few = dataclasses.replace(old, embeddings=old.embeddings[:14], pictures=(), lens=None)
    saved = save_reference(trained.storage_path, few, {}, make_current=False)
    taken_up = take_up(trained, saved)
    assert taken_up.default.thresholds == {}
    assert "Not calibrated" in taken_up.default.lines()[0]
    assert current_digest(trained.storage_path) == saved.digest
