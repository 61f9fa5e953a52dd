from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lenswatch.detect.thresholds import calibrate_scores
from lenswatch.errors import ArtefactError, InputError
from lenswatch.node.calibration_file import (
    Calibration,
    calibrated_streams,
    last_details,
    load_calibration,
    save_calibration,
    streams_of_their_own,
)
from lenswatch.node.calibration_seal import FORMAT, digest_of

DIGEST = "0123456789abcdef"


@pytest.fixture
def calibration() -> Calibration:
    rng = np.random.default_rng(0)
    threshold = calibrate_scores([rng.exponential(size=300)] * 2, ert=200, tail="additive")
    return Calibration(DIGEST, {"mmd": threshold}, created_at="2026-06-01T08:00:00Z")


def thresholds(images: int, **given: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    runs = [rng.exponential(size=images // 2)] * 2
    asked: dict[str, Any] = {"ert": 200, "tail": "additive"} | given
    return {
        "mmd": calibrate_scores(runs, **asked),
        "chart": calibrate_scores(runs, ert=200, tail="multiplicative"),
    }


def test_there_is_nothing_to_say_of_enough_footage() -> None:
    assert Calibration(DIGEST, thresholds(600)).notes(("mmd", "chart")) == ()


def test_a_provisional_calibration_says_once_what_is_missing() -> None:
    details = {"clean_pictures": 230, "span_seconds": 4 * 3600.0}
    (note,) = Calibration(DIGEST, thresholds(220), details=details).notes(("mmd", "chart"))
    assert "they come from 230 clean pictures over 4 hours," in note
    assert "What is missing is time rather than number" in note
    longer = {"clean_pictures": 60, "span_seconds": 3 * 86400.0}
    (note,) = Calibration(DIGEST, thresholds(220), details=longer).notes(("mmd", "chart"))
    assert "from 60 clean pictures over 3 days," in note
    assert "What is missing is time" not in note


def test_a_run_time_beyond_the_footage_is_said_in_the_users_terms() -> None:
    found = Calibration(DIGEST, thresholds(600, ert=1000, ert_factor=2))
    (note,) = found.notes(("mmd",))
    assert "in 1000 pictures was asked for, but there are 600 clean pictures" in note
    assert "aim at one in 600" in note
    assert found.notes(("chart",)) == ()


def test_provisional_thresholds_say_nothing_of_a_usual_run_time() -> None:
    (note,) = Calibration(DIGEST, thresholds(100)).notes(("mmd", "chart"))
    assert "provisional" in note


def test_a_statistic_out_of_reach_is_named() -> None:
    found = Calibration(DIGEST, thresholds(600, reach=1.5))
    (note,) = found.notes(("mmd", "chart"))
    assert note.startswith("The distance is excluded from the verdict")
    assert found.notes(("mmd",))[1] == (
        "Every statistic is excluded from the verdict, so no picture is called drift."
    )
    assert found.notes(("chart",)) == ()


def test_what_was_saved_is_loaded(tmp_path: Path, calibration: Any) -> None:
    file = save_calibration(tmp_path, "harbour", calibration)
    assert file == tmp_path / DIGEST / "harbour.json"
    assert load_calibration(tmp_path, DIGEST, "harbour") == calibration


def test_a_stream_without_its_own_gets_the_default(tmp_path: Path, calibration: Any) -> None:
    assert load_calibration(tmp_path, DIGEST, "harbour") is None
    save_calibration(tmp_path, "default", calibration)
    assert load_calibration(tmp_path, DIGEST, "harbour") == calibration


def test_a_stream_with_its_own_under_another_reference_only_is_not_calibrated(
    tmp_path: Path, calibration: Any
) -> None:
    save_calibration(tmp_path, "harbour", calibration)
    other = dataclasses.replace(calibration, digest="fedcba9876543210")
    save_calibration(tmp_path, "default", other)
    found = load_calibration(tmp_path, other.digest, "harbour")
    assert found is not None
    assert found.thresholds == {}
    (note,) = found.notes(("mmd", "chart"))
    assert note == (
        "Not calibrated under this reference, since its thresholds were made for another reference, so "
        "no picture is called drift. Run `lenswatch calibrate --stream harbour FOLDER` with clean "
        "pictures of this camera."
    )
    assert found.lines() == [note]
    assert load_calibration(tmp_path, other.digest, "pier") == other


def earlier(folder: Path, stream: str, calibration: Calibration) -> None:
    """Save a calibration in the format before this one, whose chart has another layout."""
    file = save_calibration(folder, stream, calibration)
    document = {**calibration.to_json(), "format": FORMAT - 1, "chart": {"layout": "old"}}
    file.write_text(json.dumps({**document, "sha256": digest_of(document)}))


def test_an_earlier_versions_thresholds_of_a_stream_are_not_used(
    tmp_path: Path, calibration: Any
) -> None:
    earlier(tmp_path, "harbour", calibration)
    found = load_calibration(tmp_path, DIGEST, "harbour")
    assert found is not None
    assert "since its thresholds were made by an earlier version of Lenswatch" in found.lines()[0]
    assert calibrated_streams(tmp_path, DIGEST) == []


@pytest.mark.parametrize("own", [True, False])
def test_an_earlier_versions_default_thresholds_are_found_anew_unless_from_a_folder(
    tmp_path: Path, calibration: Any, own: bool
) -> None:
    details = {"stream": "default", "own_pictures": own}
    earlier(tmp_path, "default", dataclasses.replace(calibration, details=details))
    for stream in ("default", "pier"):
        found = load_calibration(tmp_path, DIGEST, stream)
        assert (found is not None) is own
        assert found is None or found.thresholds == {}


def test_a_newer_versions_calibration_is_refused_by_name(tmp_path: Path, calibration: Any) -> None:
    file = save_calibration(tmp_path, "harbour", calibration)
    document = {**calibration.to_json(), "format": FORMAT + 1}
    file.write_text(json.dumps({**document, "sha256": digest_of(document)}))
    with pytest.raises(ArtefactError, match=r"harbour\.json: calibration format"):
        load_calibration(tmp_path, DIGEST, "harbour")


def test_the_last_details_are_those_of_the_newest_calibration(
    tmp_path: Path, calibration: Any
) -> None:
    assert last_details(tmp_path, "harbour") is None
    for digest, day in (("aaaa", 2), ("bbbb", 3), ("cccc", 1)):
        made = dataclasses.replace(
            calibration,
            digest=digest,
            created_at=f"2026-06-0{day}T08:00:00Z",
            details={"stream": "harbour", "day": day},
        )
        save_calibration(tmp_path, "harbour", made)
    (tmp_path / "aaaa" / "pier.json").write_text("rubbish")
    (tmp_path / "aaaa" / "Not a stream.json").write_text("rubbish")
    save_calibration(tmp_path, "default", calibration)
    assert last_details(tmp_path, "harbour") == {"stream": "harbour", "day": 3}
    assert last_details(tmp_path, "pier") == {}
    assert streams_of_their_own(tmp_path) == {"harbour", "pier"}
    assert calibrated_streams(tmp_path, "aaaa") == ["harbour"]


def test_saving_again_replaces_and_leaves_nothing_behind(tmp_path: Path, calibration: Any) -> None:
    save_calibration(tmp_path, "harbour", calibration)
    later = Calibration(DIGEST, calibration.thresholds, created_at="2026-06-02T08:00:00Z")
    save_calibration(tmp_path, "harbour", later)
    assert load_calibration(tmp_path, DIGEST, "harbour") == later
    assert [f.name for f in (tmp_path / DIGEST).iterdir()] == ["harbour.json"]


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, calibration: Any) -> None:
    save_calibration(tmp_path, "harbour", calibration)
    broken = Calibration(DIGEST, calibration.thresholds, details={"share": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        save_calibration(tmp_path, "harbour", broken)
    assert load_calibration(tmp_path, DIGEST, "harbour") == calibration


@pytest.mark.parametrize("keep", [0, 1, 200, -2])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, calibration: Any, keep: int) -> None:
    file = save_calibration(tmp_path, "harbour", calibration)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ArtefactError, match=r"harbour\.json"):
        load_calibration(tmp_path, DIGEST, "harbour")


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path, calibration: Any) -> None:
    file = save_calibration(tmp_path, "reef", calibration)
    file.unlink()
    file.mkdir()
    with pytest.raises(ArtefactError, match=r"reef\.json: cannot be read: Is a directory"):
        load_calibration(tmp_path, DIGEST, "reef")


def test_a_tampered_threshold_is_refused_by_name(tmp_path: Path, calibration: Any) -> None:
    file = save_calibration(tmp_path, "harbour", calibration)
    document = json.loads(file.read_text())
    document["thresholds"]["mmd"]["drift"] = 1e9
    file.write_text(json.dumps(document))
    with pytest.raises(ArtefactError, match=r"harbour\.json: its contents do not match"):
        load_calibration(tmp_path, DIGEST, "harbour")


def test_a_calibration_of_another_reference_is_refused(tmp_path: Path, calibration: Any) -> None:
    file = save_calibration(tmp_path, "harbour", calibration)
    other = tmp_path / "fedcba9876543210"
    other.mkdir()
    file.rename(other / "harbour.json")
    with pytest.raises(ArtefactError, match="made for reference"):
        load_calibration(tmp_path, "fedcba9876543210", "harbour")


@pytest.mark.parametrize("stream", ["../escape", "", "Harbour", "a" * 65])
def test_a_stream_name_that_is_no_slug_is_refused(
    tmp_path: Path, calibration: Any, stream: Any
) -> None:
    with pytest.raises(InputError, match="stream"):
        save_calibration(tmp_path, stream, calibration)
