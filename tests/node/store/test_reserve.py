"""Space in reserve: given back piece by piece, and made whole when there is space."""

from __future__ import annotations

from pathlib import Path

import pytest

from lenswatch.node.store import reserve as reserve_module
from lenswatch.node.store.reserve import PIECES, Reserve

MIB = 2**20


@pytest.fixture
def reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reserve:
    monkeypatch.setattr(reserve_module, "LARGEST_BYTES", 4 * MIB)
    monkeypatch.setattr(reserve_module, "RESTORE_EVERY_SECONDS", 0.0)
    return Reserve(tmp_path / "node.db-reserve")


def test_it_takes_up_its_space(reserve: Reserve) -> None:
    assert reserve.held == 0
    assert reserve.restore()
    assert reserve.held == reserve.size == 4 * MIB
    assert reserve.path.stat().st_blocks * 512 >= 4 * MIB, "a hole would reserve nothing"


def test_it_is_given_back_in_pieces_down_to_what_has_to_stay(reserve: Reserve) -> None:
    reserve.restore()
    assert [reserve.release(leaving=2) for _ in range(4)] == [True, True, False, False]
    assert reserve.held == 2 * MIB
    assert [reserve.release() for _ in range(3)] == [True, True, False]
    assert not reserve.path.exists()
    assert reserve.restore()
    assert reserve.held == 4 * MIB


def test_what_one_process_gave_back_another_restores(reserve: Reserve) -> None:
    reserve.restore()
    other = Reserve(reserve.path)
    for _ in range(PIECES):
        other.release()
    assert reserve.held == 0
    assert reserve.restore()
    assert other.held == reserve.size


def test_it_leaves_as_much_as_it_takes(reserve: Reserve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserve_module, "free_bytes", lambda folder: 6 * MIB)
    assert not reserve.restore()
    assert reserve.held == 0
    monkeypatch.setattr(reserve_module, "free_bytes", lambda folder: 8 * MIB)
    assert reserve.restore()


def test_on_a_small_disk_it_is_a_part_of_it(
    reserve: Reserve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserve_module, "total_bytes", lambda folder: 8 * MIB)
    assert reserve.size == MIB


def test_it_is_tried_now_and_then_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Path] = []

    def free_bytes(folder: Path) -> int:
        looked.append(folder)
        return 0

    monkeypatch.setattr(reserve_module, "free_bytes", free_bytes)
    reserve = Reserve(tmp_path / "node.db-reserve")
    for _ in range(100):
        assert not reserve.restore()
    assert len(looked) == 1


def test_a_folder_that_is_gone_reserves_nothing(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "gone" / "node.db-reserve")
    assert not reserve.restore()
    assert not reserve.release()
