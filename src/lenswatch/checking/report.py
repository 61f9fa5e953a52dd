"""The report on a folder of clean pictures: what should be looked at before they are learnt from."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lenswatch.checking.alike import equal_groups, near_copies, unlike_all
from lenswatch.checking.changes import changes
from lenswatch.checking.facts import Facts, Unreadable, look_at
from lenswatch.config import Config
from lenswatch.detect.arrays import Pixels
from lenswatch.progress import Progress, no_progress
from lenswatch.reference.order import Ordered
from lenswatch.reference.schema import PictureSchema

__all__ = ["Finding", "Report", "check"]

GAP = 10  # times the usual time between two pictures is a gap
LISTED = 10  # files that a line names


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: Name for programs, such as "unreadable".
        level: "warning": look at it before training; "note": good to know.
        says: Sentence for people.
        files: The files it is about, below the folder.
    """

    kind: str
    level: Literal["warning", "note"]
    says: str
    files: tuple[str, ...] = ()

    def line(self) -> str:
        """Return the finding as one line."""
        more = f" and {len(self.files) - LISTED} more" if len(self.files) > LISTED else ""
        named = f": {', '.join(self.files[:LISTED])}{more}" if self.files else ""
        return f"{self.says}{named}"


@dataclass(frozen=True)
class Report:
    """All findings on a folder.

    Attributes:
        folder: The folder.
        pictures: Number of pictures that can be read.
        order: How they are ordered, in words.
        counts: Number of pictures of each format and size, and of those in colour.
        findings: What was found, warnings first.
        schema: The kind of the pictures.
    """

    folder: Path
    pictures: int
    order: str
    counts: dict[str, dict[str, int]]
    findings: tuple[Finding, ...]
    schema: PictureSchema

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that should be looked at before training."""
        return tuple(finding for finding in self.findings if finding.level == "warning")

    @property
    def before_training(self) -> tuple[Finding, ...]:
        """The warnings that training does not give itself."""
        return tuple(each for each in self.warnings if each.kind not in ("order", "unreadable"))

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "folder": str(self.folder),
            "pictures": self.pictures,
            "order": self.order,
            "counts": self.counts,
            "findings": [
                {"kind": f.kind, "level": f.level, "says": f.says, "files": list(f.files)}
                for f in self.findings
            ],
            "schema": self.schema.to_json(),
        }


def check(
    folder: Path, ordered: Ordered, config: Config, progress: Progress = no_progress
) -> Report:
    """Check pictures that are meant to be clean.

    Args:
        folder: The folder that names are given below.
        ordered: The pictures, in time order.
        config: The settings with which they would be read.
        progress: Called after each picture.
    """
    facts, unreadable = look_at(ordered.pictures, config, progress)
    work = _Work(folder, ordered, facts)
    findings = [
        *work.unreadable(unreadable),
        *work.kinds(),
        *work.copies(),
        *work.times(),
        *work.content(),
    ]
    counts = {
        "formats": Counter(fact.kind.lstrip(".") for fact in facts),
        "sizes": Counter(_size(fact) for fact in facts),
        "colours": Counter(fact.colours for fact in facts),
    }
    return Report(
        folder,
        len(facts),
        ordered.told(),
        {name: dict(count.most_common()) for name, count in counts.items()},
        tuple(sorted(findings, key=lambda finding: finding.level != "warning")),
        PictureSchema.of((fact.size, fact.colours) for fact in facts),
    )


@dataclass(frozen=True)
class _Work:
    folder: Path
    ordered: Ordered
    facts: list[Facts]

    def names(self, positions: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.name(self.facts[i].path) for i in positions)

    def name(self, path: Path) -> str:
        return (
            path.relative_to(self.folder).as_posix()
            if path.is_relative_to(self.folder)
            else str(path)
        )

    def unreadable(self, files: Sequence[Unreadable]) -> Iterator[Finding]:
        """Name all files that cannot be read, by the reason."""
        by_reason: dict[str, list[str]] = {}
        for each in files:
            reason = each.reason.removeprefix("cannot be read: ")
            by_reason.setdefault(reason, []).append(self.name(each.path))
        for reason, names in by_reason.items():
            says = f"{_pictures(len(names))} cannot be read ({reason})"
            yield Finding("unreadable", "warning", says, tuple(names))

    def kinds(self) -> Iterator[Finding]:
        """Name the pictures whose format, size or colours are not those of most others."""
        for kind, of in (
            ("format", lambda fact: fact.kind.lstrip(".")),
            ("size", _size),
            ("kind of colours", lambda fact: fact.colours),
        ):
            values = [of(fact) for fact in self.facts]
            common = Counter(values).most_common()
            if len(common) < 2:
                continue
            usual, number = common[0]
            others = [i for i, value in enumerate(values) if value != usual]
            said = ", ".join(f"{value} ({count})" for value, count in common[1:4])
            says = f"the pictures have more than one {kind}: {usual} ({number}), and {said}"
            yield Finding(kind.split()[-1], "warning", says, self.names(others))

    def copies(self) -> Iterator[Finding]:
        """Name files with the same content, and other files of one exposure."""
        equal = equal_groups([fact.digest for fact in self.facts])
        if equal:
            again = [i for group in equal for i in group[1:]]
            says = f"{_have(len(again))} the content of another, so that it counts more than once"
            yield Finding("duplicate", "warning", says, self.names(again))
        same = {i for group in equal for i in group}
        pairs = [p for p in near_copies(_thumbs(self.facts)) if not same.issuperset(p)]
        if pairs:
            said = "such as {} and {}".format(*self.names(pairs[0]))
            says = f"{_show(len(pairs))} a moment that another shows already, {said}"
            yield Finding("near duplicate", "warning", says, self.names([b for _, b in pairs]))

    def times(self) -> Iterator[Finding]:
        """Say what is wrong with names and times, and where time is missing."""
        for note in self.ordered.notes:
            yield Finding("order", "warning", note)
        if self.ordered.by is None and not self.ordered.notes and self.facts:
            says = "nothing tells when the pictures were taken, so that their names are the order"
            yield Finding("order", "note", says)
        names = [path.name for path in self.ordered.pictures]
        if sorted(names) != names and self.ordered.by is None:
            i = next(i for i, pair in enumerate(itertools.pairwise(names)) if pair[0] > pair[1])
            says = (
                f"the numbers in the names are not padded: other programs sort {names[i + 1]} before "
                f"{names[i]}"
            )
            yield Finding("unpadded", "note", says)
        yield from self._gaps()

    def _gaps(self) -> Iterator[Finding]:
        known = [time for time in self.ordered.times if time is not None]
        between = [b - a for a, b in itertools.pairwise(known)]
        positive = sorted(each for each in between if each > timedelta(0))
        if len(positive) < 3:
            return
        usual = positive[len(positive) // 2]
        gaps = [i for i, each in enumerate(between) if each > GAP * usual]
        if gaps:
            longest = max(gaps, key=lambda i: between[i])
            says = (
                f"{len(gaps)} gap{'s' * (len(gaps) > 1)} between pictures that are usually {usual} apart; "
                f"the longest is {between[longest]} from {known[longest]:%Y-%m-%d %H:%M} UTC"
            )
            yield Finding("gap", "note", says)

    def content(self) -> Iterator[Finding]:
        """Name changes for good, and pictures that are like no other."""
        thumbs = _thumbs(self.facts)
        luma = np.array([fact.luma for fact in self.facts], np.float32)
        for change in changes(thumbs, luma):
            first = self.names([change.at])
            if change.what == "view":
                says = (
                    f"the view changes at picture {change.at + 1} and stays so: the scene before and after "
                    f"correlate by {change.size:.2f}; train on one view only"
                )
            else:
                says = (
                    f"the exposure changes by {change.size:+.0f} of 255 grey levels at picture "
                    f"{change.at + 1} and stays so"
                )
            yield Finding(change.what, "warning", says, first)
        unlike = unlike_all(thumbs)
        if unlike:
            says = (
                f"{_are(len(unlike))} far more unlike all others than these are unlike each other"
            )
            yield Finding("unlike", "warning", says, self.names(unlike))


def _thumbs(facts: Sequence[Facts]) -> Pixels:
    return np.stack([fact.thumb for fact in facts]) if facts else np.empty((0, 64, 80), np.uint8)


def _size(fact: Facts) -> str:
    return f"{fact.size[0]} x {fact.size[1]}"


def _pictures(number: int) -> str:
    return "1 picture" if number == 1 else f"{number} pictures"


def _have(number: int) -> str:
    return "1 picture has" if number == 1 else f"{number} pictures have"


def _show(number: int) -> str:
    return "1 picture shows" if number == 1 else f"{number} pictures show"


def _are(number: int) -> str:
    return "1 picture is" if number == 1 else f"{number} pictures are"
