"""The camera that `lenswatch up` replays: the real demo, or a small one that has been trained already."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from conftest import camera_pixels, jpeg, write_settings
from lenswatch.demo.footage import Footage, draw
from lenswatch.demo.replay import INTERVAL, START, Frames

__all__ = ["DemoCamera", "drawn_demo", "small_demo"]

_LATER, _DIRTY = 12, 24  # pictures of the small demo


@dataclass(frozen=True)
class DemoCamera:
    """A folder for `lenswatch up`, and what its camera sees after the replay, when its lens is clean.

    Attributes:
        root: Folder with config.toml.
        small: True for the small camera.
    """

    root: Path
    small: bool

    def cleaned(self) -> Iterator[Path]:
        """Yield clean pictures, each taken later than the one before."""
        folder = self.root / "cleaned"
        if self.small:
            for i in range(_LATER + _DIRTY, 300):
                yield _picture(folder, i, blurred=False)
            return
        shown = sum(vars(Frames()).values())
        yield from draw(Footage(300, START + shown * INTERVAL, INTERVAL, first=shown), folder)


def small_demo(trained_root: Path, root: Path) -> DemoCamera:
    """The small camera with a reference, and footage that waits for its replay."""
    shutil.copytree(trained_root / "storage", root / "storage")
    write_settings(root)
    images = root / "storage" / "images"
    for i in range(_LATER + _DIRTY):
        dirty = i >= _LATER
        _picture(images / ("dirty" if dirty else "later"), i, blurred=dirty)
    (images / ".to-replay").touch()
    return DemoCamera(root, small=True)


def drawn_demo(root: Path) -> DemoCamera:
    """An empty folder, in which `lenswatch up` draws and trains."""
    (root / "config.toml").write_text("")
    return DemoCamera(root, small=False)


def _picture(folder: Path, number: int, *, blurred: bool) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    taken = datetime(2026, 6, 3, 8, tzinfo=UTC) + number * timedelta(minutes=1)
    file = folder / f"{taken:%Y%m%dT%H%M%SZ}.jpg"
    file.write_bytes(jpeg(camera_pixels(60 + number, blurred=blurred)))
    return file
