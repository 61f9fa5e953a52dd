"""`storage/calibration/<digest>/<stream>.json`: the thresholds of a stream, replaced atomically."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from lenswatch.detect import notes as calibration_notes
from lenswatch.detect.thresholds import Threshold
from lenswatch.errors import ArtefactError, InputError
from lenswatch.files import write_atomically
from lenswatch.wire import STREAM

__all__ = ["DEFAULT_STREAM", "FORMAT", "Calibration", "load_calibration", "save_calibration"]

FORMAT = 1
_CALLED = {"mmd": "distance", "chart": "lens score"}
DEFAULT_STREAM = "default"  # what a stream without clean footage of its own is judged by


@dataclass(frozen=True)
class Calibration:
    """What a stream is judged by.

    Attributes:
        digest: of the reference it belongs to.
        thresholds: by statistic, "mmd" and "chart".
        chart: the lens chart's fitted parameters as JSON, None when it was not fitted.
        created_at: UTC, ISO 8601.
        details: how it was made: number and time span of the clean images and the like.
    """

    digest: str
    thresholds: Mapping[str, Threshold]
    chart: Mapping[str, Any] | None = None
    created_at: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return {
            "format": FORMAT,
            "digest": self.digest,
            "created_at": self.created_at,
            "thresholds": {name: t.to_json() for name, t in self.thresholds.items()},
            "chart": None if self.chart is None else dict(self.chart),
            "details": dict(self.details),
        }

    def notes(self, voting: Collection[str]) -> tuple[str, ...]:
        """What a user should know of the statistics that vote, a sentence for each kind of trouble."""
        used = {name: t for name, t in self.thresholds.items() if name in voting}
        found = []
        uncertain = [t for t in used.values() if not t.calibrated]
        if uncertain:
            worst = max(uncertain, key=lambda t: t.more_images)
            found.append(calibration_notes.provisional(worst.frames, worst.more_images))
        shortest = min(used.values(), key=lambda t: t.frames, default=None)
        if shortest is not None and shortest.target_ert > shortest.frames:
            asked, scored = shortest.target_ert, shortest.frames
            found.append(calibration_notes.too_short(asked, scored, extended=not uncertain))
        for name, t in used.items():
            if not t.votes and t.reach is not None:
                what = f"The {_CALLED[name]}"
                found.append(calibration_notes.out_of_reach(what, t.drift, t.reach))
        if not any(t.votes for t in used.values()):
            found.append(calibration_notes.NOTHING_VOTES)
        return tuple(found)

    def lines(self) -> list[str]:
        """What a user should know: the thresholds of each statistic, and what they are worth."""
        said = []
        for name, what in _CALLED.items():
            threshold = self.thresholds.get(name)
            if threshold is not None:
                provisional = "" if threshold.calibrated else " (provisional)"
                said.append(
                    f"{what}: drift above {threshold.drift:.4g}, "
                    f"warning above {threshold.warning:.4g}{provisional}"
                )
                said += [f"  note: {note}" for note in threshold.notes]
        return said

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            digest=document["digest"],
            thresholds={n: Threshold.from_json(t) for n, t in document["thresholds"].items()},
            chart=document["chart"],
            created_at=document["created_at"],
            details=document["details"],
        )


def save_calibration(folder: Path, stream: str, calibration: Calibration) -> Path:
    """Write `<folder>/<digest>/<stream>.json`, whole or not at all, and return its path.

    Raises:
        InputError: a stream name that is no slug.
        WriteError: the file or its folder cannot be written.
    """
    file = _file(folder, calibration.digest, stream)
    document = calibration.to_json()
    text = json.dumps({**document, "sha256": _digest(document)}, indent=1, allow_nan=False)
    write_atomically(file, text.encode())
    return file


def load_calibration(folder: Path, digest: str, stream: str) -> Calibration | None:
    """The calibration of a stream for the reference `digest`, else that of "default", else None.

    Raises:
        ArtefactError: a file that is truncated, tampered with, or of another reference or format.
    """
    for name in (stream, DEFAULT_STREAM):
        file = _file(folder, digest, name)
        try:
            raw = file.read_bytes()
        except FileNotFoundError:
            continue
        return _parse(file, raw, digest)
    return None


def _file(folder: Path, digest: str, stream: str) -> Path:
    if not STREAM.match(stream):
        raise InputError(
            f"stream {stream!r}: use up to 64 of a-z, 0-9, '.', '_', '-', a letter or digit first"
        )
    return folder / digest / f"{stream}.json"


def _digest(document: Mapping[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _parse(file: Path, raw: bytes, digest: str) -> Calibration:
    try:
        document = json.loads(raw)
        claimed = document.pop("sha256")
        whole = claimed == _digest(document)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ArtefactError(
            f"{file}: truncated or no calibration; calibrate this stream again"
        ) from None
    if not whole:
        raise ArtefactError(
            f"{file}: its contents do not match its digest; calibrate this stream again"
        )
    if document["format"] != FORMAT:
        raise ArtefactError(
            f"{file}: calibration format {document['format']!r}, expected {FORMAT}; calibrate again"
        )
    if document["digest"] != digest:
        raise ArtefactError(
            f"{file}: made for reference {document['digest']}, not {digest}; calibrate again"
        )
    try:
        return Calibration.from_json(document)
    except ArtefactError as error:
        raise ArtefactError(f"{file}: {error}") from None
