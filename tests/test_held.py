"""Files and folders that a process holds while it lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lenswatch.held import hold, is_held, make_held_folder

HOLD = """
import sys, time
from pathlib import Path
from lenswatch.held import make_held_folder
print(make_held_folder(Path(sys.argv[1]), "node-")[0], flush=True)
time.sleep(600)
"""


def test_a_folder_is_held_until_its_holder_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        folder = Path(holder.stdout.readline().strip())
        assert folder.parent == tmp_path
        assert folder.name.startswith("node-")
        assert is_held(folder)
        with pytest.raises(BlockingIOError):
            hold(folder)
        holder.send_signal(signal.SIGKILL)
    assert not is_held(folder)


def test_a_file_is_held_by_a_process_that_inherited_it_until_that_ends(tmp_path: Path) -> None:
    file = tmp_path / "deepaas"
    file.touch()
    descriptor = hold(file)
    child = subprocess.Popen(["sleep", "600"], pass_fds=[descriptor])
    os.close(descriptor)
    assert is_held(file)
    child.kill()
    child.wait()
    assert not is_held(file)


def test_what_is_missing_is_held_by_nobody_and_a_link_is_never_followed(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "missing")
    (tmp_path / "link").symlink_to(tmp_path)
    assert is_held(tmp_path / "link")


def test_a_folder_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        make_held_folder(tmp_path / "missing", "node-")
    assert list(tmp_path.iterdir()) == []
