from pathlib import Path

import pytest

from lenswatch.errors import WriteError
from lenswatch.files import write_atomically


def test_it_creates_missing_folders_and_leaves_only_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "value.json"
    write_atomically(file, b"one")
    write_atomically(file, b"two")
    assert file.read_bytes() == b"two"
    assert [path.name for path in file.parent.iterdir()] == ["value.json"]


def test_everybody_may_read_what_was_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / "value", b"x")
    assert (tmp_path / "value").stat().st_mode & 0o777 == 0o644


def test_a_folder_that_cannot_be_made_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    target = tmp_path / "file" / "below" / "value"
    with pytest.raises(WriteError) as caught:
        write_atomically(target, b"x")
    assert str(caught.value).startswith(f"{target}: cannot be written: Not a directory; ")


def test_a_failure_leaves_the_target_and_no_temporary_file(tmp_path: Path) -> None:
    target = tmp_path / "value"
    (target / "occupied").mkdir(parents=True)  # a file cannot replace a folder
    with pytest.raises(WriteError, match="cannot be written"):
        write_atomically(target, b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["value"]
    assert (target / "occupied").is_dir()
