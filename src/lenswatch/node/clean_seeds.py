"""Measurements of a calibration's clean pictures, with which the renewal of its baseline begins.

They lie beside the calibration file of the stream, as `<stream>.clean.npz`. The reference's own are in its
folder already.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from lenswatch.config import Config
from lenswatch.detect.arrays import Floats
from lenswatch.detect.chart.features import Measured
from lenswatch.errors import ArtefactError
from lenswatch.files import write_atomically
from lenswatch.node.calibration_file import DEFAULT_STREAM
from lenswatch.reference.artefact import load_lens
from lenswatch.reference.paths import calibration_folder

__all__ = ["days_of", "load_seeds", "save_seeds", "spread_over"]

MOST = 120  # pictures, spread over the footage: 0.6 MB


def days_of(times: Sequence[datetime | None], n: int) -> Floats:
    """Return the capture times (n,) in days, gaps filled in; zeros if most are unknown."""
    known = [i for i, time in enumerate(times) if time is not None]
    if len(known) < max(2, n / 2):
        return np.zeros(n)
    stamps = [time.timestamp() / 86400 for time in times if time is not None]
    return np.asarray(np.interp(np.arange(n), known, np.maximum.accumulate(stamps)))


def spread_over(clean: Measured) -> Measured:
    """Return at most 120 of the pictures, evenly spread."""
    rows = np.unique(np.linspace(0, len(clean) - 1, min(MOST, len(clean))).round().astype(int))
    return Measured(clean.cells[rows], clean.thumbs[rows])


def save_seeds(folder: Path, digest: str, stream: str, clean: Measured) -> None:
    """Write the measurements of a stream's own clean pictures beside its calibration.

    Raises:
        WriteError: The file cannot be written.
    """
    few, buffer = spread_over(clean), io.BytesIO()
    np.savez_compressed(buffer, cells=few.cells.astype(np.float16), thumbs=few.thumbs)
    write_atomically(_file(folder, digest, stream), buffer.getvalue())


def load_seeds(config: Config, digest: str, stream: str, *, own: bool) -> Measured | None:
    """Return the clean pictures of the calibration that a stream uses.

    Args:
        config: The settings.
        digest: The reference.
        stream: Name of the stream whose calibration it is, or "default".
        own: True if it was made from pictures of its own.

    Returns:
        None if they are not kept.

    Raises:
        ArtefactError: The file is damaged.
    """
    if not own:
        lens = load_lens(config.storage_path, digest)
        return None if lens is None else spread_over(lens)
    file = _file(calibration_folder(config.storage_path), digest, stream or DEFAULT_STREAM)
    try:
        with np.load(file, allow_pickle=False) as kept:
            return Measured(kept["cells"].astype(np.float32), kept["thumbs"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ArtefactError(f"{file}: cannot be read ({error}); calibrate again") from None


def _file(folder: Path, digest: str, stream: str) -> Path:
    return folder / digest / f"{stream}.clean.npz"
