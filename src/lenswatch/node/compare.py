"""Two references on the same pictures: what each would have said, without recording anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lenswatch.config import Config
from lenswatch.detect.chart.features import measure, view
from lenswatch.errors import ArtefactError, ImageError
from lenswatch.node.calibration_file import load_calibration
from lenswatch.node.clean_footage import embed_picture
from lenswatch.node.judge import Judge
from lenswatch.node.request import Request
from lenswatch.node.stream import StreamState
from lenswatch.progress import Progress, Step, no_progress
from lenswatch.reference.artefact import Reference
from lenswatch.reference.paths import calibration_folder
from lenswatch.reference.pictures import read_picture, read_picture_file

__all__ = ["Judging", "Said", "verdicts"]


@dataclass(frozen=True)
class Said:
    """The verdict of one reference on one picture.

    Attributes:
        path: The picture.
        drift: It is drift.
        warning: It is worth a warning.
        alarm: The stream is in alarm.
        distance: The distance; None until the window is full.
        score: The lens score; None without a lens chart.
    """

    path: Path
    drift: bool
    warning: bool
    alarm: bool
    distance: float | None
    score: float | None

    @property
    def word(self) -> str:
        """The verdict in one word."""
        return "drift" if self.drift else "warning" if self.warning else "clean"


class Judging:
    """A new stream that one reference judges, of which nothing is recorded.

    Args:
        config: The settings.
        reference: The reference, which must be calibrated.
        stream: The camera whose thresholds are used.

    Raises:
        ArtefactError: There are no thresholds under this reference.
    """

    def __init__(self, config: Config, reference: Reference, stream: str = "default") -> None:
        folder = calibration_folder(config.storage_path)
        calibration = load_calibration(folder, reference.digest, stream)
        if calibration is None:
            raise ArtefactError(
                f"reference {reference.digest}: has no thresholds; `lenswatch use {reference.digest}` "
                "finds them, and makes it the one in use"
            )
        self._judge = Judge.of(calibration, config.alarm)
        self._fitted = reference.detector(config.detector.window_size)
        self._config, self._reference = config, reference
        self._request = Request(stream=stream)
        self._state = StreamState(self._fitted.warm())

    def judge(self, source: bytes | Path) -> dict[str, Any]:
        """Return the verdict on the stream's next picture, a file or its bytes.

        Raises:
            ImageError: It cannot be read; the stream stays as it was.
        """
        transform, fitted = self._reference.transform, self._fitted
        read: Any = read_picture_file if isinstance(source, Path) else read_picture
        picture = read(source, transform.resize, self._config.upload, transform.sample_bits)
        pixels = picture.pixels(transform.resize)
        entry = fitted.entry(embed_picture(self._reference, pixels))
        window = self._state.window.push(entry, fitted.window_size)
        state = replace(self._state, window=window, pictures=self._state.pictures + 1)
        measured = None if self._judge.chart is None else measure(view(pixels))
        state = self._judge.update_chart(state, measured)
        self._state, answer = self._judge.judge(fitted, state, self._request)
        return answer


def verdicts(
    config: Config,
    reference: Reference,
    pictures: Sequence[Path],
    stream: str = "default",
    progress: Progress = no_progress,
) -> list[Said]:
    """Judge pictures as those of a new stream, and return what is said of each that can be read.

    Args:
        config: The settings.
        reference: The reference, which must be calibrated.
        pictures: The files, in time order.
        stream: The camera whose thresholds are used.
        progress: Called after each picture.

    Raises:
        ArtefactError: There are no thresholds under this reference.
    """
    judging = Judging(config, reference, stream)
    said = list[Said]()
    for done, path in enumerate(pictures, 1):
        progress(Step(reference.digest, done, len(pictures)))
        try:
            answer = judging.judge(path)
        except ImageError:
            continue
        keys = ("drift", "warning", "alarm", "distance", "score")
        said.append(Said(path, *(answer[key] for key in keys)))
    return said
