"""Features of pictures as Parquet files, a row for each content."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lenswatch.detect.chart.features import CHANNELS, GRID, THUMB, Measured
from lenswatch.detect.mmd import Entry
from lenswatch.errors import ArtefactError
from lenswatch.files import write_atomically
from lenswatch.node.features import Features
from lenswatch.reference.capture import Reading

__all__ = ["Parts", "to_parquet", "without"]

_CELLS = (len(CHANNELS), *GRID)
_FOLDER = 1000  # parts in one folder
_KEPT = 6  # parts in memory


def to_parquet(rows: Mapping[bytes, Features]) -> bytes:
    """Return a Parquet file of features by the SHA-256 of each content."""
    features = list(rows.values())
    measured = [_measured(each) for each in features]
    columns = {
        "digest": pa.array(rows.keys(), pa.binary(32)),
        "embedding": pa.array([each.embedding for each in features], pa.list_(pa.float32())),
        "mean_kernel": pa.array([each.entry.to_reference for each in features], pa.float64()),
        "nearest_row": pa.array([each.nearest_row for each in features], pa.int64()),
        "cells": pa.array([each.cells.ravel() for each in measured], pa.list_(pa.float32())),
        "thumb": pa.array([each.thumbs.tobytes() for each in measured], pa.binary()),
        "width": pa.array([each.size[0] for each in features], pa.int32()),
        "height": pa.array([each.size[1] for each in features], pa.int32()),
        "colours": pa.array([each.colours for each in features], pa.string()),
        "taken": pa.array([_shown(each.taken) for each in features], pa.string()),
        "notes": pa.array([each.notes for each in features], pa.list_(pa.string())),
        "thumbnail": pa.array([each.thumbnail for each in features], pa.binary()),
    }
    return _written(pa.table(columns))


def without(content: bytes, digests: Iterable[bytes]) -> bytes:
    """Return a Parquet file without the rows of some contents."""
    table = pq.read_table(pa.BufferReader(content))
    known = set(digests)
    return _written(
        table.filter(pa.array([each not in known for each in table["digest"].to_pylist()]))
    )


class Parts:
    """The Parquet files of one variant of features.

    Args:
        folder: Their folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read = functools.lru_cache(_KEPT)(self._columns)

    def write(self, part: int, content: bytes) -> None:
        """Write a part.

        Raises:
            WriteError: It cannot be written.
        """
        write_atomically(self._path(part), content)

    def features(self, part: int, row: int) -> Features:
        """Return the features in a row of a part.

        Raises:
            ArtefactError: The file is missing or damaged.
        """
        columns = self._read(part)
        embedding = columns["embedding"][row]
        taken = columns["taken"][row]
        return Features(
            embedding=embedding,
            entry=Entry(embedding.astype(np.float64), columns["mean_kernel"][row]),
            nearest_row=columns["nearest_row"][row],
            measured=Measured(columns["cells"][row], columns["thumb"][row]),
            size=(columns["width"][row], columns["height"][row]),
            colours=columns["colours"][row],
            taken=None if taken is None else Reading(datetime.fromisoformat(taken), "EXIF time"),
            notes=tuple(columns["notes"][row]),
            thumbnail=columns["thumbnail"][row],
        )

    def _columns(self, part: int) -> dict[str, Any]:
        path = self._path(part)
        try:
            table = pq.read_table(path, memory_map=False)
            count = len(table)
            arrays = ("embedding", "cells", "thumb")
            columns = {
                name: table[name].to_pylist() for name in table.column_names if name not in arrays
            }
            flat = table["embedding"].combine_chunks().flatten().to_numpy()
            cells = table["cells"].combine_chunks().flatten().to_numpy()
            thumbs = b"".join(table["thumb"].to_pylist())
            columns["embedding"] = flat.reshape(count, -1)
            columns["cells"] = cells.reshape(count, *_CELLS)
            columns["thumb"] = np.frombuffer(thumbs, np.uint8).reshape(count, *THUMB)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise ArtefactError(
                f"{path}: cannot be read ({error}); delete the folder {self._folder.parent}: the pictures "
                "are looked at again"
            ) from None
        return columns

    def _path(self, part: int) -> Path:
        return self._folder / f"{part // _FOLDER:04}" / f"{part:07}.parquet"


def _measured(features: Features) -> Measured:
    if features.measured is None:
        raise ValueError("a picture that was not measured")
    return features.measured


def _shown(taken: Reading | None) -> str | None:
    return None if taken is None else taken.shown.isoformat()


def _written(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())
