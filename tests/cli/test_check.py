"""`lenswatch check`, and what `train` and a running node make of it."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import Camera, camera_pixels, jpeg
from lenswatch.config import Config
from lenswatch.errors import ArtefactError
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.reference.paths import current_digest, reference_folder
from lenswatch.reference.schema import load_schema


@pytest.fixture
def folder(tmp_path: Path, camera: Camera) -> Path:
    """A dozen pictures, of which one cannot be read and one is a copy."""
    path = tmp_path / "clean"
    path.mkdir()
    for i in range(12):
        (path / f"20260601-08{i:02}00.jpg").write_bytes(camera(i))
    (path / "20260601-081200.jpg").write_bytes(camera(3))
    (path / "20260601-081300.jpg").write_bytes(b"no picture")
    return path


def test_the_findings_are_a_table(run: Any, folder: Path) -> None:
    ended = run("check", folder)
    assert ended.exit_code == 0, ended.output
    assert "sizes: 96 x 64 (13)" in ended.stdout
    text = " ".join(ended.stdout.split())
    assert "unreadable" in text
    assert "duplicate" in text
    assert "14 pictures, ordered by time in the name" in ended.stderr


def test_why_a_file_cannot_be_read_is_said_once(run: Any, folder: Path) -> None:
    (folder / "20260601-081400.jpg").symlink_to(folder / "gone.jpg")
    found = json.loads(run("check", "--json", folder).stdout)["findings"]
    says = [each["says"] for each in found if each["kind"] == "unreadable"]
    assert "1 picture cannot be read (No such file or directory)" in says


def test_a_folder_is_no_picture_whatever_its_name(run: Any, folder: Path) -> None:
    (folder / "20260601-081400.jpg").mkdir()
    ended = run("check", folder)
    assert "14 pictures, ordered by time in the name" in ended.stderr


def test_strict_is_an_exit_code(run: Any, folder: Path) -> None:
    ended = run("check", "--strict", folder)
    assert (ended.exit_code, "2 warnings; the report above" in ended.stderr) == (1, True)
    for bad in ("20260601-081200.jpg", "20260601-081300.jpg"):
        (folder / bad).unlink()
    ended = run("check", "--strict", folder)
    assert (ended.exit_code, "12 pictures: nothing to look at" in ended.stdout) == (0, True)


def test_the_report_is_json_and_a_page_with_the_pictures(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    ended = run("check", "--json", "--html", page, folder)
    report = json.loads(ended.stdout)
    assert report["pictures"] == 13
    assert {finding["kind"]: finding["files"] for finding in report["findings"]} == {
        "unreadable": ["20260601-081300.jpg"],
        "duplicate": ["20260601-081200.jpg"],
    }
    html = page.read_text()
    assert "warning: duplicate" in html
    assert html.count("data:image/jpeg;base64,") == 1
    assert "cannot be shown" in html


@pytest.mark.slow
def test_training_tells_what_it_found_and_keeps_the_kind_of_the_pictures(
    trained: Config, run: Any
) -> None:
    clean = trained.image_folder / "clean"
    shutil.copyfile(clean / "0003.jpg", clean / "0060.jpg")
    ended = run("train")
    assert ended.exit_code == 0, ended.output
    assert "1 picture has the content of another, so that it counts more than once" in ended.stderr
    digest = current_digest(trained.storage_path)
    assert digest is not None
    schema = load_schema(trained.storage_path, digest)
    assert schema is not None
    assert schema.to_json() == {"sizes": [[96, 64]], "colours": ["in colour"]}

    node = Node(trained)
    assert "picture_notes" not in node.observe(jpeg(camera_pixels(61)), Request())
    small = Image.fromarray(camera_pixels(62)).convert("L").convert("RGB").resize((192, 128))
    notes = node.observe(_png(small), Request())["picture_notes"]
    assert notes == [
        "the picture has 192 x 128 pixels, while each clean one had 96 x 64",
        "the picture is grey, while each clean one was in colour",
    ]
    (reference_folder(trained.storage_path) / digest / "picture_schema.json").write_text("{}")
    with pytest.raises(ArtefactError, match="not a schema"):
        load_schema(trained.storage_path, digest)
    assert "picture_notes" not in Node(trained).observe(_png(small), Request())


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
