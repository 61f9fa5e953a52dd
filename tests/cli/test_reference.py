"""`lenswatch reference`: a reference goes to another machine, whole or not at all."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from conftest import camera_pixels, small_config, write_settings
from lenswatch.cli.main import main
from lenswatch.config import Config
from lenswatch.node.calibration_file import load_calibration
from lenswatch.reference.artefact import load_reference
from lenswatch.reference.autoencoder import TorchEncoder
from lenswatch.reference.light import LIGHT, have_light
from lenswatch.reference.onnx_encoder import OnnxEncoder
from lenswatch.reference.paths import calibration_folder, current_digest, reference_folder
from lenswatch.reference.schema import PictureSchema, load_schema, save_schema

SCHEMA = PictureSchema.of([((96, 64), "in colour")])


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Return a function that runs a command of `lenswatch reference`."""
    settings = write_settings(tmp_path)

    def command(name: str, *arguments: Any) -> Any:
        line = ["reference", name, "--config", str(settings), *map(str, arguments)]
        return CliRunner().invoke(main, line)

    return command


def current(config: Config) -> str:
    return str(current_digest(config.storage_path))


@pytest.fixture
def exported(trained: Config, run: Any, tmp_path: Path) -> Path:
    """The file of a reference that is then no longer here."""
    file = tmp_path / "reference.zip"
    save_schema(trained.storage_path, current(trained), SCHEMA)
    ended = run("export", current(trained)[:6], file)
    assert ended.exit_code == 0, ended.output
    shutil.rmtree(trained.storage_path)
    return file


def test_a_reference_serves_on_another_machine_as_where_it_was_trained(
    trained_root: Path, exported: Path, run: Any, tmp_path: Path
) -> None:
    before, here = small_config(trained_root), small_config(tmp_path)
    ended = run("import", exported)
    assert ended.exit_code == 0, ended.output
    assert "calibrated streams: default" in ended.output
    assert "it is in use" in ended.output
    there, taken = load_reference(before.storage_path), load_reference(here.storage_path)
    assert isinstance(taken.encoder, OnnxEncoder)
    assert taken.digest == there.digest
    assert taken.pictures == there.pictures
    assert load_schema(here.storage_path, taken.digest) == SCHEMA
    assert np.array_equal(taken.encoder(camera_pixels(61)), there.encoder(camera_pixels(61)))
    folders = [calibration_folder(each.storage_path) for each in (before, here)]
    assert load_calibration(folders[0], taken.digest, "default") == load_calibration(
        folders[1], taken.digest, "default"
    )


def test_a_reference_that_is_there_stays_and_gets_what_it_lacks(
    exported: Path, run: Any, tmp_path: Path
) -> None:
    here = small_config(tmp_path)
    assert run("import", exported).exit_code == 0
    folder = reference_folder(here.storage_path) / current(here)
    (folder / LIGHT).unlink()
    manifest = (folder / "manifest.json").stat()
    calibration = calibration_folder(here.storage_path) / folder.name / "default.json"
    calibration.write_text("the one of this machine")
    ended = run("import", exported)
    assert "was here already" in ended.output
    assert have_light(here.storage_path, folder.name)
    assert (folder / "manifest.json").stat() == manifest
    assert calibration.read_text() == "the one of this machine"


def test_the_reference_in_use_stays_in_use(
    trained_root: Path, exported: Path, run: Any, tmp_path: Path
) -> None:
    pointer = reference_folder(small_config(tmp_path).storage_path) / "current"
    pointer.parent.mkdir(parents=True)
    pointer.write_text("0123456789abcdef")
    ended = run("import", exported)
    assert "in use is 0123456789abcdef still; lenswatch use" in ended.output
    assert pointer.read_text() == "0123456789abcdef"


def damaged(file: Path, **changes: bytes | None) -> None:
    """Replace, add or remove (None) members of an archive."""
    with zipfile.ZipFile(file) as archive:
        files: dict[str, bytes | None] = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (files | changes).items():
            if content is not None:
                archive.writestr(name, content)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"reference/bandwidth.json": b'{"sigma": 9}'}, "bandwidth.json: is not the file"),
        ({"reference/clean_lens.npz": b""}, "clean_lens.npz: is not the file"),
        ({"reference/light.zip": b""}, "light.zip: cannot be used"),
        ({"reference/autoencoder.pth": None}, "autoencoder.pth: cannot be read"),
        ({"reference/manifest.json": None}, "it holds no manifest"),
        ({"reference/manifest.json": b"{}"}, "lists no files"),
        ({"reference/more": b""}, "more: is no file of the reference"),
        ({"calibration/default.json": b"{}"}, "default.json: truncated"),
        ({"reference/../../escaped": b""}, "it holds 'reference/../../escaped'"),
        ({"/escaped": b""}, "it holds '/escaped'"),
        ({"calibration/UP.json": b""}, "it holds 'calibration/UP.json'"),
    ],
)
def test_nothing_is_taken_of_a_damaged_file(
    exported: Path, run: Any, tmp_path: Path, changes: dict[str, bytes | None], reason: str
) -> None:
    damaged(exported, **changes)
    ended = run("import", exported)
    assert ended.exit_code == 1
    assert f"lenswatch: {exported}: " in ended.output
    assert reason in ended.output
    assert list(reference_folder(small_config(tmp_path).storage_path).iterdir()) == []
    assert not calibration_folder(small_config(tmp_path).storage_path).exists()


def test_a_compressed_or_cut_file_is_refused(exported: Path, run: Any, tmp_path: Path) -> None:
    whole = exported.read_bytes()
    exported.write_bytes(whole[: len(whole) // 2])
    assert "is no exported reference, or is cut off" in run("import", exported).output
    with zipfile.ZipFile(exported, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("reference/manifest.json", b"0" * 10**6)
    assert "it holds 'reference/manifest.json'" in run("import", exported).output


def test_a_damaged_reference_is_not_exported(trained: Config, run: Any, tmp_path: Path) -> None:
    folder = reference_folder(trained.storage_path) / current(trained)
    (folder / "bandwidth.json").write_text("{}")
    ended = run("export", folder.name, tmp_path / "reference.zip")
    assert ended.exit_code == 1
    assert "bandwidth.json" in ended.output
    assert not (tmp_path / "reference.zip").exists()


def test_a_file_that_cannot_be_written_is_one_line(
    trained: Config, run: Any, tmp_path: Path
) -> None:
    ended = run("export", current(trained), tmp_path / "nowhere" / "reference.zip")
    assert ended.exit_code == 1
    assert "reference.zip: cannot be written" in ended.output


@pytest.mark.parametrize("pictures", [True, False])
def test_an_old_reference_gets_its_light_form(trained: Config, run: Any, pictures: bool) -> None:
    (reference_folder(trained.storage_path) / current(trained) / LIGHT).unlink()
    assert isinstance(load_reference(trained.storage_path).encoder, TorchEncoder)
    references = ["references", "--config", str(trained.root / "config.toml")]
    assert "lenswatch reference light" in CliRunner().invoke(main, references).output
    if not pictures:
        shutil.rmtree(trained.image_folder)
    ended = run("light")
    assert ended.exit_code == 0, ended.output
    said = "60 clean pictures" if pictures else "8 pictures of noise, as clean ones are not here"
    assert said in " ".join(ended.output.split())
    assert "lenswatch reference light" not in CliRunner().invoke(main, references).output
    assert isinstance(load_reference(trained.storage_path).encoder, OnnxEncoder)
