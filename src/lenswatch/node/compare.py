"""Two references on the same pictures: what each would have said, without recording anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
from lenswatch.reference.pictures import read_picture_file

__all__ = ["Said", "verdicts"]


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
    folder = calibration_folder(config.storage_path)
    calibration = load_calibration(folder, reference.digest, stream)
    if calibration is None:
        raise ArtefactError(
            f"reference {reference.digest}: has no thresholds; `lenswatch use {reference.digest}` finds "
            "them, and makes it the one in use"
        )
    judge = Judge.of(calibration, config.alarm)
    fitted = reference.detector(config.detector.window_size)
    transform, request = reference.transform, Request(stream=stream)
    state, said = StreamState(fitted.warm()), list[Said]()
    for done, path in enumerate(pictures, 1):
        progress(Step(reference.digest, done, len(pictures)))
        try:
            picture = read_picture_file(
                path, transform.resize, config.upload, transform.sample_bits
            )
        except ImageError:
            continue
        pixels = picture.pixels(transform.resize)
        entry = fitted.entry(embed_picture(reference, pixels))
        state = StreamState(
            state.window.push(entry, fitted.window_size),
            state.chart,
            state.alarm,
            state.pictures + 1,
            state.newest,
            state.since_drift,
        )
        measured = None if judge.chart is None else measure(view(pixels))
        state = judge.update_chart(state, measured)
        state, answer = judge.judge(fitted, state, request)
        keys = ("drift", "warning", "alarm", "distance", "score")
        said.append(Said(path, *(answer[key] for key in keys)))
    return said
