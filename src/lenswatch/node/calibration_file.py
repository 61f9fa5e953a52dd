"""The thresholds of a stream, kept in `storage/calibration/<digest>/<stream>.json`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from lenswatch.detect.chart.fitting import FEWEST
from lenswatch.detect.notes import (
    ALL_EXCLUDED,
    NO_THRESHOLDS,
    capped,
    not_calibrated,
    out_of_reach,
    provisional,
    too_short,
)
from lenswatch.detect.thresholds import Threshold
from lenswatch.durations import in_words
from lenswatch.errors import ArtefactError
from lenswatch.files import write_atomically
from lenswatch.node.calibration_seal import FORMAT, check_made_for, read_sealed, sealed
from lenswatch.wire import STREAM, check_stream

__all__ = [
    "DEFAULT_STREAM",
    "Calibration",
    "calibrated_streams",
    "last_details",
    "load_calibration",
    "save_calibration",
    "streams_of_their_own",
    "uses_default",
]

_DAY = 86400.0  # seconds
OTHER_REFERENCE = "its thresholds were made for another reference"
EARLIER_FORMAT = "its thresholds were made by an earlier version of Lenswatch"
_NAMES = {"mmd": "distance", "chart": "lens score"}
DEFAULT_STREAM = "default"  # its calibration applies to streams that have none of their own


@dataclass(frozen=True)
class Calibration:
    """Thresholds and fitted lens chart of a stream under one reference.

    Attributes:
        digest: Digest of the reference.
        thresholds: Thresholds by statistic: "mmd", "chart", "slow".
        chart: Fitted parameters of the lens chart as JSON; None without one.
        created_at: Time in UTC, ISO 8601.
        details: `stream`; `clean_pictures`, their number; `own_pictures`, whether a folder was given;
            `reference_pictures`, how many of them the reference was trained on; `footage`, the pictures
            to calibrate with again (`Remembered`); `not_calibrated`, the reason why there are no
            thresholds.
    """

    digest: str
    thresholds: Mapping[str, Threshold]
    chart: Mapping[str, Any] | None = None
    created_at: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def missing(
        cls, digest: str, stream: str, reason: str, details: Mapping[str, Any] | None = None
    ) -> Self:
        """Return a calibration without thresholds, under which no picture is called drift.

        Args:
            digest: Digest of the reference.
            stream: The stream, which had thresholds of its own under another reference.
            reason: Clause that says why it has none now.
            details: The details of its last calibration, which are kept.
        """
        kept = dict(details or {}) | {"stream": stream, "not_calibrated": reason}
        created_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return cls(digest, {}, created_at=created_at, details=kept)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that `from_json` reads."""
        return {
            "format": FORMAT,
            "digest": self.digest,
            "created_at": self.created_at,
            "thresholds": {name: t.to_json() for name, t in self.thresholds.items()},
            "chart": None if self.chart is None else dict(self.chart),
            "details": dict(self.details),
        }

    def can_alarm(self, voting: Collection[str]) -> bool:
        """Return True when a statistic that decides has a threshold that it can exceed.

        Args:
            voting: The statistics that the verdict uses.
        """
        return any(t.votes for name, t in self.thresholds.items() if name in voting)

    def basis(self, voting: Collection[str]) -> dict[str, Any] | None:
        """Return what the thresholds that decide were learnt from, and how rarely they alarm by chance.

        Args:
            voting: The statistics that the verdict uses.

        Returns:
            `pictures`, the number of clean ones; `expected_run_time`, the mean number of clean pictures
            between two false alarms that the thresholds aim at; `span_seconds` of the footage, if its
            times are known. None if no threshold decides.
        """
        used = [t for name, t in self.thresholds.items() if name in voting and t.votes]
        if not used:
            return None
        pictures = self.details.get("clean_pictures", min(t.frames for t in used))
        found = {"pictures": pictures, "expected_run_time": min(t.used_ert for t in used)}
        span = self.details.get("span_seconds")
        return found if span is None else found | {"span_seconds": span}

    def notes(self, voting: Collection[str]) -> tuple[str, ...]:
        """Return notes for users on the statistics that decide, one for each kind of weakness.

        Args:
            voting: The statistics that the verdict uses.
        """
        reason = self.details.get("not_calibrated")
        if reason is not None:
            return (not_calibrated(self.details["stream"], reason),)
        used = {name: t for name, t in self.thresholds.items() if name in voting}
        found = []
        uncertain = [t for t in used.values() if not t.calibrated]
        if uncertain:
            fewest = min(t.frames for t in uncertain)
            clean = self.details.get("clean_pictures", fewest)
            span = self.details.get("span_seconds")
            words = "" if span is None else in_words(span)
            found.append(provisional(clean, words, for_days=bool(span and span >= _DAY)))
        shortest = min(used.values(), key=lambda t: t.frames, default=None)
        if shortest is not None and shortest.target_ert > shortest.used_ert:
            clean = self.details.get("clean_pictures", shortest.frames)
            found.append(capped(shortest.target_ert, shortest.used_ert, clean))
        elif shortest is not None and not uncertain and shortest.target_ert > shortest.frames:
            found.append(too_short(shortest.target_ert, shortest.frames))
        for name, t in used.items():
            if not t.votes and t.reach is not None:
                what = f"The {_NAMES[name]}"
                found.append(out_of_reach(what, t.drift, t.reach))
        if not used:
            found.append(NO_THRESHOLDS)
        elif not self.can_alarm(voting):
            found.append(ALL_EXCLUDED)
        return tuple(found)

    def lines(self) -> list[str]:
        """Return the thresholds and notes as lines for the terminal."""
        reason = self.details.get("not_calibrated")
        if reason is not None:
            return [not_calibrated(self.details["stream"], reason)]
        lines = []
        for name, what in _NAMES.items():
            threshold = self.thresholds.get(name)
            if threshold is not None:
                suffix = "" if threshold.calibrated else " (provisional)"
                lines.append(
                    f"{what}: drift above {threshold.drift:.4g}, "
                    f"warning above {threshold.warning:.4g}{suffix}"
                )
        clean = self.details.get("clean_pictures", 0)
        if self.chart is None and clean < FEWEST:
            lines.append(
                f"lens score: none, since it needs {FEWEST} clean pictures and there are {clean}"
            )
        if self.chart is not None and "mmd" not in self.thresholds:
            lines.append(f"distance: none, since {clean} clean pictures are too few for it")
        return lines + [f"note: {note}" for note in self.notes(tuple(_NAMES))]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Return the calibration that `to_json` wrote."""
        return cls(
            digest=document["digest"],
            thresholds={n: Threshold.from_json(t) for n, t in document["thresholds"].items()},
            chart=document["chart"],
            created_at=document["created_at"],
            details=document["details"],
        )


def save_calibration(folder: Path, stream: str, calibration: Calibration) -> Path:
    """Write `<folder>/<digest>/<stream>.json` atomically, and return its path.

    Raises:
        InputError: The stream's name is invalid.
        WriteError: The file or its folder cannot be written.
    """
    file = _file(folder, calibration.digest, stream)
    write_atomically(file, sealed(calibration.to_json()))
    return file


def load_calibration(folder: Path, digest: str, stream: str) -> Calibration | None:
    """Return the calibration of a stream under the reference `digest`.

    A stream that has none of its own uses that of "default". One that has its own under another
    reference only is not calibrated: neither those thresholds nor another camera's fit it.

    Returns:
        None when the thresholds are to be found from the reference's own pictures.

    Raises:
        ArtefactError: The file is truncated, was changed, or has another reference or a newer format.
    """
    for name in dict.fromkeys((stream, DEFAULT_STREAM)):
        file = _file(folder, digest, name)
        try:
            document = read_sealed(file)
        except FileNotFoundError:
            if name != DEFAULT_STREAM and _elsewhere(folder, digest, name):
                return Calibration.missing(digest, name, OTHER_REFERENCE)
            continue
        if document["format"] < FORMAT:
            if name != DEFAULT_STREAM or document["details"].get("own_pictures"):
                return Calibration.missing(digest, name, EARLIER_FORMAT)
            continue
        return _parse(file, document, digest)
    return None


def uses_default(folder: Path, digest: str, stream: str) -> bool:
    """Return True if a stream has no calibration under any reference, so that it uses that of "default"."""
    return not (_file(folder, digest, stream).exists() or _elsewhere(folder, digest, stream))


def streams_of_their_own(folder: Path) -> set[str]:
    """Return the streams, apart from "default", that have a calibration under any reference."""
    names = {file.stem for file in folder.glob("*/*.json")}
    return {name for name in names - {DEFAULT_STREAM} if STREAM.match(name)}


def calibrated_streams(folder: Path, digest: str) -> list[str]:
    """Return the streams, "default" too, that have thresholds of their own under a reference."""
    found = []
    for file in sorted((folder / digest).glob("*.json")):
        with contextlib.suppress(ArtefactError, OSError):
            document = read_sealed(file)
            if document["thresholds"] and document["format"] == FORMAT:
                found.append(file.stem)
    return found


def last_details(folder: Path, stream: str) -> Mapping[str, Any] | None:
    """Return the details of a stream's newest calibration under any reference.

    Returns:
        None if there is none; nothing in it if the newest is damaged.
    """
    newest: tuple[str, float] = ("", 0.0)
    found: Mapping[str, Any] | None = None
    for file in folder.glob(f"*/{stream}.json"):
        try:
            document, modified = read_sealed(file), file.stat().st_mtime
        except (ArtefactError, OSError):
            document, modified = {"created_at": "", "details": {}}, 0.0
        age = (str(document["created_at"]), modified)
        if found is None or age >= newest:
            newest, found = age, document["details"]
    return found


def _elsewhere(folder: Path, digest: str, stream: str) -> bool:
    return any(file.parent.name != digest for file in folder.glob(f"*/{stream}.json"))


def _file(folder: Path, digest: str, stream: str) -> Path:
    check_stream(stream)
    return folder / digest / f"{stream}.json"


def _parse(file: Path, document: Mapping[str, Any], digest: str) -> Calibration:
    check_made_for(digest, document, file)
    try:
        return Calibration.from_json(document)
    except ArtefactError as error:
        raise ArtefactError(f"{file}: {error}") from None
