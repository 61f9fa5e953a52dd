"""A second small camera, beside that of conftest: another scene, darker, and in files of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from conftest import camera_pixels, jpeg
from lenswatch.config import Config
from lenswatch.reference.paths import current_digest, reference_folder


def second_camera(i: int) -> bytes:
    """Return frame `i` of the second camera as a JPEG."""
    return jpeg((camera_pixels(i + 500)[::-1, ::-1] * 0.5 + 20).astype(np.uint8))


def write_frames(folder: Path, names: Iterable[str], frame: Any = second_camera) -> list[Path]:
    """Write frames 0, 1, 2, ... of a camera under these names; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in names]
    for i, file in enumerate(files):
        file.write_bytes(frame(i))
    return files


def list_names_only(config: Config) -> None:
    """Turn the reference into one of an earlier version, whose manifest lists names without digests."""
    folder = reference_folder(config.storage_path) / str(current_digest(config.storage_path))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["pictures"] = [Path(picture["path"]).name for picture in manifest["pictures"]]
    (folder / "manifest.json").write_text(json.dumps(manifest))
