"""Uploads are kept in memory while the disk of the temporary folder is full."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lenswatch.api import spare, worker
from lenswatch.api.spare import SpareFolder
from lenswatch.api.temporary import PREFIX

from support.waiting import until


@pytest.fixture
def usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder whose disk is full as long as it holds a file of the name "full"."""
    folder, before = tmp_path / "usual", tempfile.tempdir
    folder.mkdir()

    def free_bytes(path: Path) -> int:
        return 0 if (path / "full").exists() else 10**9

    monkeypatch.setattr(spare, "free_bytes", free_bytes)
    tempfile.tempdir = str(folder)
    yield folder
    tempfile.tempdir = before


def test_uploads_go_to_memory_while_the_disk_is_full(
    usual: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    folder = SpareFolder(memory)
    folder.choose()
    assert tempfile.gettempdir() == str(usual)
    (usual / "full").touch()
    for _ in range(3):
        folder.choose()
        handle, upload = tempfile.mkstemp()
        os.close(handle)
        assert Path(upload).parent.parent == memory
        assert Path(upload).parent.name.startswith(PREFIX)
        assert worker._is_temporary(Path(upload)), "the worker deletes it"
    (usual / "full").unlink()
    folder.choose()
    assert tempfile.gettempdir() == str(usual)
    assert [record.message.split(str(usual))[1][:8] for record in caplog.records] == [
        " is full",
        " has spa",
    ]


def test_without_space_in_memory_nothing_changes(usual: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    for path in (usual, memory):
        (path / "full").touch()
    folder = SpareFolder(memory)
    folder.choose()
    assert tempfile.gettempdir() == str(usual)
    SpareFolder(tmp_path / "missing").choose()
    assert tempfile.gettempdir() == str(usual)


def test_what_a_killed_node_left_in_memory_is_deleted(usual: Path, tmp_path: Path) -> None:
    left = tmp_path / f"{PREFIX}1-gone"
    left.mkdir()
    (left / "tmpabcdefgh").write_bytes(b"upload")
    SpareFolder(tmp_path)
    until(lambda: not left.exists(), 5)
