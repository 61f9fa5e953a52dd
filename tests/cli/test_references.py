"""`lenswatch references` and `use`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from conftest import Camera
from lenswatch.config import Config
from lenswatch.reference.artefact import load_reference, save_reference
from lenswatch.reference.paths import current_digest
from support.second_camera import write_frames


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tables from being cut at 80 columns."""
    monkeypatch.setenv("COLUMNS", "160")


def test_going_back_to_the_reference_before(
    trained: Config, run: Any, tmp_path: Path, camera: Camera
) -> None:
    old: Any = load_reference(trained.storage_path)
    wider = dataclasses.replace(old, sigma=2 * old.sigma)
    new = save_reference(trained.storage_path, wider, {"created_at": "2999-01-01T00:00:00Z"})
    write_frames(tmp_path / "clean", [f"{i:03}.jpg" for i in range(30)])
    assert run("calibrate", "--stream", "pier", tmp_path / "clean").exit_code == 0
    (tmp_path / "one.jpg").write_bytes(camera(60))
    run("predict", "--stream", "reef", "--drift-distance", "-2", tmp_path / "one.jpg")
    ended = run("use", old.digest[:6])
    assert ended.exit_code == 0, ended.output
    assert "stream pier: recalibrated from 30 pictures" in ended.output
    assert "stream reef: in alarm; it stays so until clean pictures end it" in ended.output
    assert f"reference {old.digest} is in use" in ended.output
    assert current_digest(trained.storage_path) == old.digest
    shown = [line.split("│") for line in run("references").output.splitlines() if "│" in line]
    cells = {row[2].strip(): [cell.strip() for cell in row[1:-1]] for row in shown}
    assert cells[old.digest][0] == "yes"
    assert cells[old.digest][3:] == ["60", "default, pier"]
    assert cells[new.digest][0] == ""
    assert cells[new.digest][4] == "default, pier"


def test_a_reference_that_is_not_there_is_one_line(trained: Config, run: Any) -> None:
    before = current_digest(trained.storage_path)
    ended = run("use", "zzz")
    assert ended.exit_code == 1
    assert (
        f"lenswatch: 'zzz': there is no such reference; `lenswatch references` lists them: {before}"
        in ended.output
    )
    assert current_digest(trained.storage_path) == before


@pytest.mark.parametrize("digest", ["", " "])
def test_an_empty_digest_is_said_to_be_missing(trained: Config, run: Any, digest: str) -> None:
    before = current_digest(trained.storage_path)
    ended = run("use", digest)
    assert ended.exit_code == 1
    assert f"lenswatch: {digest!r}: a digest is missing; give one" in ended.output
    assert current_digest(trained.storage_path) == before


def test_a_damaged_reference_is_not_used(trained: Config, run: Any) -> None:
    old: Any = load_reference(trained.storage_path)
    wider = dataclasses.replace(old, sigma=2 * old.sigma)
    new = save_reference(trained.storage_path, wider, {}, make_current=False)
    (trained.storage_path / "reference" / new.digest / "bandwidth.json").write_text("{}")
    ended = run("use", new.digest)
    assert ended.exit_code == 1
    assert "bandwidth.json" in ended.output
    assert current_digest(trained.storage_path) == old.digest


def test_without_a_reference_the_list_says_what_to_do(run: Any) -> None:
    assert "no reference yet: lenswatch train" in run("references").output
