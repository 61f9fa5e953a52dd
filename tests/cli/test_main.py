"""The `lenswatch` command: its list of commands, and the errors of all of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conftest import Camera, write_settings
from lenswatch.cli.main import main
from lenswatch.config import Config
from lenswatch.reference.artefact import load_reference


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train",), "camera_state.clean: 'clean/*' names no picture"),
        (("calibrate",), "there is no reference yet"),
        (("status",), None),
    ],
)
def test_what_is_missing_is_one_clear_line(run: Any, arguments: tuple[Any, ...], says: Any) -> None:
    ended = run(*arguments)
    assert ended.exit_code == (1 if says else 0)
    if says:
        assert ended.output.startswith("lenswatch: ")
        assert len(ended.output.splitlines()) == 1
        assert says in ended.output


WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None
from lenswatch.cli.main import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("torch", ("train",), "node"),
        ("requests", ("up",), "node"),
        ("starlette", ("server",), "server"),
        ("sqlalchemy", ("train",), None),
    ],
)
def test_a_command_says_which_half_is_not_installed(
    tmp_path: Path, module: str, arguments: tuple[Any, ...], extra: Any
) -> None:
    settings = write_settings(tmp_path)
    command = [sys.executable, "-c", WITHOUT, module, *arguments, "--config", str(settings)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    if extra is None:
        assert "names no picture" in ended.stderr
    else:
        assert ended.stderr == (
            f"lenswatch: this command needs {module}, which is not installed here; "
            f"pip install 'lenswatch[{extra}]' installs it\n"
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "occupied", "says"),
    [
        (("calibrate",), "storage/calibration", "Not a directory"),
        (("calibrate", "--plot", "none/runs.png"), None, "No such file or directory"),
        (("explain", "--output", "none/why.png", "one.jpg"), None, "No such file or directory"),
        (("compare", "--html", "/dev/full", "clean", "clean"), None, "No space left on device"),
        (("adopt", "pair"), "storage/reference", "File exists"),
    ],
)
def test_a_file_that_cannot_be_written_is_one_clear_line(
    trained: Config,
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    camera: Camera,
    arguments: tuple[Any, ...],
    occupied: Any,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    reference = load_reference(trained.storage_path)
    (tmp_path / "one.jpg").write_bytes(camera(60))
    (tmp_path / "clean").symlink_to(trained.image_folder / "clean")
    (tmp_path / "pair").symlink_to(trained.storage_path / "reference" / reference.digest)
    if occupied:
        shutil.move(tmp_path / occupied, tmp_path / "moved")
        (tmp_path / "pair").unlink()
        (tmp_path / "pair").symlink_to(tmp_path / "moved" / reference.digest)
        (tmp_path / occupied).write_bytes(b"")
    ended = run(*arguments)
    assert ended.exit_code == 1
    assert isinstance(ended.exception, SystemExit)
    *_, last = ended.output.splitlines()
    assert last.startswith("lenswatch: ")
    assert says in last


BESIDE_A_BAR = """
import logging, sys
from lenswatch.cli.console import show_progress
from lenswatch.cli.main import main
from lenswatch.progress import Step

@main.command()
def work():
    with show_progress() as progress:
        progress(Step("work", 1, 2))
        logging.getLogger("lenswatch").warning("one picture is left out")
        progress(Step("work", 2, 2))

main(["work"])
"""


@pytest.mark.parametrize(("environment", "before"), [({}, "\n"), ({"FORCE_COLOR": "1"}, "\x1b[2K")])
def test_a_warning_is_a_line_of_its_own_beside_a_progress_bar(
    environment: dict[str, Any], before: str
) -> None:
    """With FORCE_COLOR rich draws bars as on a terminal; it erases the bar before the line."""
    shown = subprocess.run(
        [sys.executable, "-c", BESIDE_A_BAR],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    ).stdout
    assert f"{before}lenswatch: one picture is left out\n" in f"\n{shown}"


def test_a_missing_settings_file_is_one_clear_line(tmp_path: Path) -> None:
    ended = CliRunner().invoke(main, ["status", "--config", str(tmp_path / "none.toml")])
    assert ended.exit_code == 1
    assert ended.output.startswith("lenswatch: ")
    assert "--config" in ended.output


def test_every_command_is_in_the_readme() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    missing = [name for name in main.commands if f"lenswatch {name}" not in readme]
    assert missing == []
