"""A reference taken into use: every stream calibrated under it, then the reference made current.

A running node sees the new reference when its calibrations are there, never before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lenswatch.config import Config
from lenswatch.errors import ArtefactError, BlindKernelError, InputError, StoreError
from lenswatch.node.calibrate import calibrate_stream
from lenswatch.node.calibration_file import (
    DEFAULT_STREAM,
    Calibration,
    last_details,
    load_calibration,
    save_calibration,
    streams_of_their_own,
)
from lenswatch.node.remembered import Found, Remembered
from lenswatch.node.request import open_store
from lenswatch.node.store.places import has_database
from lenswatch.node.stream import StreamState
from lenswatch.progress import Progress, no_progress
from lenswatch.reference.artefact import Reference, shadow_reference, use_reference
from lenswatch.reference.paths import calibration_folder

__all__ = ["TakenUp", "alarm_lines", "take_up"]

_NAMED = 3  # missing pictures that a line names
_Problem = (InputError, BlindKernelError, ArtefactError)


@dataclass(frozen=True)
class TakenUp:
    """The outcome of taking a reference into use.

    Attributes:
        default: Calibration of the streams that have none of their own.
        lines: A line for each stream that has had its own calibration, on how it is calibrated now.
    """

    default: Calibration
    lines: tuple[str, ...]


def take_up(
    config: Config,
    reference: Reference,
    progress: Progress = no_progress,
    *,
    again: bool = True,
    shadow: bool = False,
) -> TakenUp:
    """Calibrate all streams under a saved reference, and make it the current one.

    A stream that was calibrated under any reference is calibrated with the same clean pictures. Where they
    are gone, it is recorded as not calibrated, and no other stream is affected.

    Args:
        config: The settings.
        reference: The reference, saved in `config.storage_path`.
        progress: Called after each picture that was read.
        again: Replace calibrations that exist under this reference, too.
        shadow: Put it in shadow beside the current one instead.

    Raises:
        WriteError: A file cannot be written; the reference in use is unchanged.
    """
    work = _Work(config, reference, progress, again)
    default, lines = work.default()
    folder = calibration_folder(config.storage_path)
    lines += [
        f"stream {name}: {work.stream(name)}" for name in sorted(streams_of_their_own(folder))
    ]
    put = shadow_reference if shadow else use_reference
    put(config.storage_path, reference.digest)
    return TakenUp(default, tuple(lines))


@dataclass(frozen=True)
class _Work:
    config: Config
    reference: Reference
    progress: Progress
    again: bool

    @property
    def folder(self) -> Path:
        return calibration_folder(self.config.storage_path)

    def default(self) -> tuple[Calibration, list[str]]:
        """Calibrate the default stream, with the reference's own pictures where others are gone."""
        kept = self._kept(DEFAULT_STREAM)
        if kept is not None and not self.again:
            return kept, []
        details, lines = last_details(self.folder, DEFAULT_STREAM) or {}, []
        if details.get("own_pictures") or "footage" in details:
            found, said = self._from_memory(DEFAULT_STREAM, details)
            if found is not None:
                return found, [f"stream default: {said}"]
            lines = [f"stream default: calibrated from the reference's own pictures, since {said}"]
        try:
            calibration = calibrate_stream(self.config, self.reference)
        except _Problem as error:
            return Calibration.missing(self.reference.digest, DEFAULT_STREAM, _line(error)), lines
        return self._with_footage(DEFAULT_STREAM, calibration, details.get("footage")), lines

    def stream(self, name: str) -> str:
        """Calibrate a stream, or record that it is not calibrated; return what to say of it."""
        kept = self._kept(name)
        if kept is not None and not self.again:
            return "calibrated under this reference before"
        details = last_details(self.folder, name) or {}
        calibration, said = self._from_memory(name, details)
        if calibration is not None:
            return said
        if kept is not None:
            return f"keeps its thresholds of {kept.created_at}, since {said}"
        missing = Calibration.missing(self.reference.digest, name, said, details)
        save_calibration(self.folder, name, missing)
        return (
            f"not calibrated under the new reference, since {said}; "
            f"run `lenswatch calibrate --stream {name} FOLDER`"
        )

    def _kept(self, name: str) -> Calibration | None:
        """Return the usable calibration that a stream has under this reference already."""
        if not (self.folder / self.reference.digest / f"{name}.json").exists():
            return None
        try:
            found = load_calibration(self.folder, self.reference.digest, name)
        except ArtefactError:
            return None
        return found if found is not None and found.thresholds else None

    def _from_memory(self, name: str, details: Mapping[str, Any]) -> tuple[Calibration | None, str]:
        """Calibrate a stream as before. Return None and a clause that says why, if that is impossible."""
        remembered = Remembered.from_json(details.get("footage"))
        if remembered is None and details.get("own_pictures") is not False:
            return None, "an earlier version did not remember its clean pictures"
        try:
            if remembered is None:
                calibration = calibrate_stream(self.config, self.reference, name)
                return calibration, "recalibrated from the reference's own pictures"
            return self._from_pictures(name, remembered)
        except _Problem as error:
            return None, _line(error)

    def _from_pictures(self, name: str, remembered: Remembered) -> tuple[Calibration | None, str]:
        folder = remembered.path(self.config.storage_path)
        found = remembered.find(self.config.storage_path)
        if len(found.files) < len(found.missing):
            return None, f"{_missing(found)} in {folder}"
        calibration = calibrate_stream(
            self.config, self.reference, name, found.files, self.progress
        )
        said = f"recalibrated from {calibration.details['clean_pictures']} pictures in {folder}"
        if not found.missing:
            return calibration, said
        calibration = self._with_footage(name, calibration, remembered.to_json())
        return calibration, f"{said}; {_missing(found)}"

    def _with_footage(self, name: str, calibration: Calibration, footage: Any) -> Calibration:
        """Remember pictures that are not there now, since they may be back the next time."""
        if footage is None:
            return calibration
        calibration = dataclasses.replace(
            calibration, details={**calibration.details, "footage": footage}
        )
        save_calibration(self.folder, name, calibration)
        return calibration


def alarm_lines(config: Config) -> list[str]:
    """Return a line for each stream in alarm."""
    if not has_database(config):
        return []
    store, raised = open_store(config), []
    for name in sorted({each.stream for each in store.streams()}):
        with store.begin() as transaction:
            stored = transaction.newest_window(name)
        try:
            if stored is not None and StreamState.from_bytes(stored[1]).alarm.raised:
                raised.append(f"stream {name}: in alarm; it stays so until clean pictures end it")
        except StoreError as error:
            raised.append(f"stream {name}: {error}")
    store.close()
    return raised


def _line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(":")


def _missing(found: Found) -> str:
    named = ", ".join(found.missing[:_NAMED])
    more = ", ..." if len(found.missing) > _NAMED else ""
    count, total = len(found.missing), len(found.files) + len(found.missing)
    verb = "is" if count == 1 else "are"
    return f"{count} of its {total} clean pictures {verb} missing ({named}{more})"
