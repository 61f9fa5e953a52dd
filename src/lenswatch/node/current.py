"""The reference and the calibrations in force, re-read from the storage folder when they are replaced."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

from lenswatch.config import Config
from lenswatch.detect.mmd import FittedMMD
from lenswatch.errors import ArtefactError, InputError
from lenswatch.node.calibrate import fit_calibration
from lenswatch.node.calibration_file import (
    DEFAULT_STREAM,
    Calibration,
    load_calibration,
    save_calibration,
    uses_default,
)
from lenswatch.node.judge import Judge
from lenswatch.node.starting import DEMO_NOTE, is_demo
from lenswatch.reference.artefact import Reference, load_reference
from lenswatch.reference.paths import CURRENT, calibration_folder, current_digest, reference_folder
from lenswatch.reference.schema import PictureSchema, load_schema

__all__ = ["Current", "FittedReference"]

log = logging.getLogger(__name__)


class FittedReference(NamedTuple):
    """A reference and the MMD detector fitted to it."""

    reference: Reference
    fitted: FittedMMD


class Current:
    """The current reference, its detector and the calibrations of one storage folder.

    A new reference or calibration is picked up without a restart. Any number of threads may share one.

    Args:
        config: The settings.
        keep_calibrations: Save the thresholds of a reference that has none; without it nothing is written.
        pointer: The file that names the reference, of `reference.paths`.

    Attributes:
        schema: The kind of the clean pictures of the reference, if it is known.
        told: The part of each answer on the reference, if there is something to say.

    Raises:
        ArtefactError: There is no reference yet, or it is damaged. So do the methods.
    """

    def __init__(
        self, config: Config, *, keep_calibrations: bool = True, pointer: str = CURRENT
    ) -> None:
        self._config = config
        self._keep_calibrations = keep_calibrations
        self._pointer = reference_folder(config.storage_path) / pointer
        self._judges: dict[tuple[str, str], tuple[object, Judge]] = {}  # by digest and stream
        self._logged: dict[str, object] = {}  # each stream's calibration whose notes were logged
        self._stamp = _stamp(self._pointer)
        self._fitted_reference = self._load(current_digest(config.storage_path, pointer))

    def fitted_reference(self) -> FittedReference:
        """Return the current reference and its detector, loaded again if it was replaced."""
        stamp = _stamp(self._pointer)
        if stamp != self._stamp:
            digest = current_digest(self._config.storage_path, self._pointer.name)
            if digest is not None and digest != self._fitted_reference.reference.digest:
                self._fitted_reference = self._load(digest)
                self._judges.clear()
            self._stamp = stamp
        return self._fitted_reference

    def judge_of(self, reference: Reference, stream: str) -> Judge:
        """Return the judge of a stream, made again when its calibration was replaced."""
        folder = calibration_folder(self._config.storage_path)
        stamp = _stamp(folder / reference.digest)  # replacing a file in it changes its time
        kept = self._judges.get((reference.digest, stream))
        if kept is None or kept[0] != stamp:
            # Thousands of streams may share the judge of "default": it takes time to read, and memory.
            name = DEFAULT_STREAM if uses_default(folder, reference.digest, stream) else stream
            kept = self._judges.get((reference.digest, name))
            if kept is None or kept[0] != stamp:
                kept = self._judges[reference.digest, name] = self._read(folder, reference, name)
            self._judges[reference.digest, stream] = kept
            self._log_notes(stream, kept[1])
        return kept[1]

    def _read(self, folder: Path, reference: Reference, stream: str) -> tuple[object, Judge]:
        """Return the judge of a stream that has a calibration, with the state of the folder."""
        stamp = _stamp(folder / reference.digest)
        found = load_calibration(folder, reference.digest, stream)
        if found is None:
            found = self._calibrate(reference)
            stamp = _stamp(folder / reference.digest)
        return stamp, Judge.of(found, self._config.alarm)

    def _load(self, digest: str | None) -> FittedReference:
        reference = load_reference(self._config.storage_path, digest)
        self.schema = self._load_schema(reference.digest)
        demo = is_demo(self._config.storage_path, reference.digest)
        self.told = {"reference_note": DEMO_NOTE} if demo else {}
        fitted = reference.detector(self._config.detector.window_size)
        samples = self._config.detector.reference_samples
        if 0 < samples < len(reference.embeddings):
            fitted = fitted.reduced(samples)
        if fitted.reduction is not None:
            log.info(
                "%d of %d clean embeddings stand for all; a distance is off by %.2g at most",
                len(fitted.reduction.samples),
                len(reference.embeddings),
                2 * fitted.reduction.bound,
            )
        return FittedReference(reference, fitted)

    def _load_schema(self, digest: str) -> PictureSchema | None:
        try:
            return load_schema(self._config.storage_path, digest)
        except ArtefactError as error:
            said = str(error)
        log.warning("%s; pictures are judged without it", said)
        return None

    def _calibrate(self, reference: Reference) -> Calibration:
        """Return thresholds from the reference's own pictures, or none if they are too few."""
        try:
            calibration = fit_calibration(self._config, reference)
        except InputError as error:
            calibration, said = None, str(error)
        if calibration is None:
            log.warning(
                "no thresholds could be found (%s); until `lenswatch calibrate` succeeds, "
                "set alarm.drift_distance or send drift_distance",
                said,
            )
            return Calibration(reference.digest, {})
        if self._keep_calibrations:
            folder = calibration_folder(self._config.storage_path)
            save_calibration(folder, DEFAULT_STREAM, calibration)
        return calibration

    def _log_notes(self, stream: str, judge: Judge) -> None:
        """Log the notes on a calibration, once for each calibration of a stream."""
        logged = (judge.calibration.digest, judge.calibration.created_at, judge.notes)
        if judge.notes and self._logged.get(stream) != logged:
            log.warning("stream %s: %s", stream, " ".join(judge.notes))
        self._logged[stream] = logged


def _stamp(path: Path) -> tuple[int, int]:
    """Return a value that changes when the file, or a file in the folder, is replaced."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns
