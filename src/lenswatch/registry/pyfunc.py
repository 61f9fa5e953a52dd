"""A reference as an MLflow model: pictures in, verdicts out.

MLflow calls `_load_pyfunc` with the folder that `push` has logged. Nothing in it is pickled.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lenswatch.config import AlarmConfig, Config, DetectorConfig, StorageConfig, TrackingConfig
from lenswatch.config.conversion import convert
from lenswatch.errors import InputError
from lenswatch.node.compare import Judging
from lenswatch.node.transfer import import_reference
from lenswatch.reference.artefact import load_reference

__all__ = ["ANSWER", "REFERENCE", "SETTINGS", "LensModel"]

REFERENCE, SETTINGS = "reference.zip", "settings.json"  # files of the logged folder
ANSWER = ("drift", "warning", "alarm", "distance", "score")  # columns of the answer


class LensModel:
    """A reference that judges the rows of a table as the pictures of a new stream, in their order.

    Args:
        folder: Holds the exported reference, and the settings that it is judged with.
    """

    def __init__(self, folder: Path) -> None:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        storage = tempfile.mkdtemp(prefix="lenswatch-model-")
        weakref.finalize(self, shutil.rmtree, storage, ignore_errors=True)
        self._config = Config(
            detector=convert(DetectorConfig, settings["detector"], "detector"),
            alarm=convert(AlarmConfig, settings["alarm"], "alarm"),
            storage=StorageConfig(path=storage),
            tracking=TrackingConfig(url=""),
        )
        taken = import_reference(self._config.storage_path, folder / REFERENCE)
        self._reference = load_reference(self._config.storage_path, taken.digest)

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return the verdicts on pictures.

        Args:
            model_input: Column `image`: the bytes of a picture's file in each row, in time order.
            params: `stream`: the camera whose thresholds are used; "default" without it.

        Returns:
            A row for each picture: the columns of `ANSWER`. `distance` is NaN until the window is full.

        Raises:
            InputError: A picture cannot be read; the message names its row.
        """
        judging = Judging(self._config, self._reference, (params or {}).get("stream", "default"))
        rows = []
        for number, image in enumerate(model_input["image"]):
            try:
                answer = judging.judge(bytes(image))
            except InputError as error:
                raise InputError(f"row {number}: {error}") from None
            rows.append({key: answer[key] for key in ANSWER})
        return _table(rows)


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    kinds: dict[str, type] = {"distance": np.float64, "score": np.float64}
    kinds = dict.fromkeys(ANSWER, bool) | kinds
    return pd.DataFrame(rows, columns=list(ANSWER)).astype(kinds)


def _load_pyfunc(path: str) -> LensModel:
    """Return the model; MLflow looks for this name."""
    return LensModel(Path(path))
