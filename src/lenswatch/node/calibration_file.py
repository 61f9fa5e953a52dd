"""The thresholds of a stream, kept in `storage/calibration/<digest>/<stream>.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from lenswatch.detect.chart.fitting import FEWEST
from lenswatch.detect.notes import (
    ALL_EXCLUDED,
    NO_THRESHOLDS,
    capped,
    out_of_reach,
    provisional,
    too_short,
)
from lenswatch.detect.thresholds import Threshold
from lenswatch.errors import ArtefactError
from lenswatch.files import write_atomically
from lenswatch.wire import check_stream

__all__ = ["DEFAULT_STREAM", "FORMAT", "Calibration", "load_calibration", "save_calibration"]

FORMAT = 1
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
        details: Stream, number of clean pictures, and whether they are the stream's own.
    """

    digest: str
    thresholds: Mapping[str, Threshold]
    chart: Mapping[str, Any] | None = None
    created_at: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

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

    def notes(self, voting: Collection[str]) -> tuple[str, ...]:
        """Return notes for users on the statistics that decide, one for each kind of weakness.

        Args:
            voting: The statistics that the verdict uses.
        """
        used = {name: t for name, t in self.thresholds.items() if name in voting}
        found = []
        uncertain = [t for t in used.values() if not t.calibrated]
        if uncertain:
            worst = max(uncertain, key=lambda t: t.more_images)
            found.append(provisional(worst.frames, self.details.get("span", "")))
        shortest = min(used.values(), key=lambda t: t.frames, default=None)
        if shortest is not None and shortest.target_ert > shortest.used_ert:
            found.append(capped(shortest.target_ert, shortest.used_ert, shortest.frames))
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
        lines = []
        for name, what in _NAMES.items():
            threshold = self.thresholds.get(name)
            if threshold is not None:
                suffix = "" if threshold.calibrated else " (provisional)"
                lines.append(
                    f"{what}: drift above {threshold.drift:.4g}, "
                    f"warning above {threshold.warning:.4g}{suffix}"
                )
                lines += [f"  note: {note}" for note in threshold.notes]
        clean = self.details.get("clean_pictures", 0)
        if self.chart is None and clean < FEWEST:
            lines.append(
                f"lens score: none, since it needs {FEWEST} clean pictures and there are {clean}"
            )
        if not any(t.votes for t in self.thresholds.values()):
            lines.append(f"warning: {ALL_EXCLUDED}")
        return lines

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
    document = calibration.to_json()
    text = json.dumps({**document, "sha256": _digest(document)}, indent=1, allow_nan=False)
    write_atomically(file, text.encode())
    return file


def load_calibration(folder: Path, digest: str, stream: str) -> Calibration | None:
    """Return a stream's calibration for the reference `digest`, else that of "default", else None.

    Raises:
        ArtefactError: The file is truncated, was changed, or has another reference or format.
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
    check_stream(stream)
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
            f"{file}: truncated, or not a calibration; calibrate this stream again"
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
