"""The clean pictures of a calibration are found again by their content."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenswatch.node.remembered import Found, Remembered
from lenswatch.reference.identity import content_digest


def written(folder: Path, contents: list[bytes]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{i}.jpg" for i in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    return files


def memory(storage: Path, files: list[Path]) -> Remembered:
    found = Remembered.of(storage, files, [content_digest(file.read_bytes()) for file in files])
    read = Remembered.from_json(found.to_json())
    assert read == found
    return found


@given(data=st.data(), n=st.integers(1, 6))
def test_renamed_replaced_and_deleted_pictures_are_told_apart(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, n: int
) -> None:
    root = tmp_path_factory.mktemp("memory")
    contents = [bytes([i + 1]) for i in range(n)]
    files = written(root / "clean", contents)
    remembered = memory(root, files)
    order = data.draw(st.permutations(range(n)))
    fates = data.draw(
        st.lists(st.sampled_from(["kept", "replaced", "deleted"]), min_size=n, max_size=n)
    )
    for file in files:
        file.unlink()
    for place, i in enumerate(order):
        if fates[i] != "deleted":
            (root / "clean" / f"{place}.jpg").write_bytes(
                contents[i] if fates[i] == "kept" else b"another"
            )
    found = remembered.find(root)
    there = [i for i in range(n) if fates[i] == "kept"]
    assert [file.read_bytes() for file in found.files] == [contents[i] for i in there]
    assert found.missing == tuple(f"{i}.jpg" for i in range(n) if i not in there)


def test_pictures_in_several_folders_are_remembered_below_their_common_one(tmp_path: Path) -> None:
    one = written(tmp_path / "clean" / "monday", [b"1", b"2"])
    other = written(tmp_path / "clean" / "tuesday", [b"3"])
    remembered = memory(tmp_path / "storage", [*one, *other])
    assert remembered.path(tmp_path / "storage") == (tmp_path / "clean").resolve()
    assert list(remembered.pictures) == ["monday/0.jpg", "monday/1.jpg", "tuesday/0.jpg"]
    other[0].rename(one[0].with_name("moved.jpg"))
    assert [file.name for file in remembered.find(tmp_path).files] == [
        "0.jpg",
        "1.jpg",
        "moved.jpg",
    ]


def test_a_storage_folder_that_was_moved_still_finds_its_pictures(tmp_path: Path) -> None:
    files = written(tmp_path / "storage" / "images" / "pier", [b"1", b"2"])
    remembered = memory(tmp_path / "storage", files)
    shutil.move(tmp_path / "storage", tmp_path / "elsewhere")
    found = remembered.find(tmp_path / "elsewhere")
    assert [file.parent.name for file in found.files] == ["pier", "pier"]


def test_a_folder_that_is_gone_has_nothing(tmp_path: Path) -> None:
    remembered = memory(tmp_path, written(tmp_path / "clean", [b"1", b"2"]))
    shutil.rmtree(tmp_path / "clean")
    assert remembered.find(tmp_path) == Found((), ("0.jpg", "1.jpg"))


@pytest.mark.parametrize("document", [None, [], {}, {"folder": "a"}, {"folder": 1, "pictures": {}}])
def test_without_pictures_there_is_no_memory(document: Any) -> None:
    assert Remembered.from_json(document) is None
