"""Measurements of the pictures that renew a baseline, packed for `node.db`: about 5 KB each."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from lenswatch.detect.chart.baseline import Kept
from lenswatch.detect.chart.features import CHANNELS, GRID, THUMB, Measured
from lenswatch.errors import StoreError
from lenswatch.node.store.baselines import KeptRow

__all__ = ["SECONDS_A_DAY", "kept_of", "pack", "unpack"]

SECONDS_A_DAY = 86400.0
_CELLS = (len(CHANNELS), *GRID)
_BYTES = 2 * int(np.prod(_CELLS))
_LEVEL = 6  # of zlib: 0.2 ms


def pack(measured: Measured) -> bytes:
    """Return the measurements of one picture, the cells with half precision."""
    cells = measured.cells.astype(np.float16).tobytes()
    return zlib.compress(cells + np.ascontiguousarray(measured.thumbs).tobytes(), _LEVEL)


def unpack(packed: Sequence[bytes]) -> Measured:
    """Return the measurements of pictures.

    Raises:
        StoreError: the bytes are damaged.
    """
    cells, thumbs = [], []
    try:
        for each in packed:
            data = zlib.decompress(each)
            cells.append(np.frombuffer(data[:_BYTES], np.float16).reshape(_CELLS))
            thumbs.append(np.frombuffer(data[_BYTES:], np.uint8).reshape(THUMB))
    except (zlib.error, ValueError) as error:
        raise StoreError(f"a kept picture in node.db cannot be read ({error})") from None
    if not packed:
        return Measured(np.empty((0, *_CELLS), np.float32), np.empty((0, *THUMB), np.uint8))
    return Measured(np.stack(cells).astype(np.float32), np.stack(thumbs))


def kept_of(rows: Sequence[KeptRow]) -> Kept:
    """Return kept pictures in time order.

    Raises:
        StoreError: one is damaged.
    """
    measured = unpack([row.data for row in rows])
    days = np.array([row.at / SECONDS_A_DAY for row in rows])
    return Kept(measured, days, np.array([row.quiet for row in rows], bool))
