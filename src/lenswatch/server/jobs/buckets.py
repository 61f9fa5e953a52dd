"""Jobs summed up: verdicts with the first and last job of each, values with their extremes.

A `Content` is plain JSON, and sums of contents are contents, so an hour is the sum of its jobs and a day
that of its hours. Each job that it names is a mark: time of capture, number of the job, verdict, value.

    {"verdicts": {"c": [jobs, first, last]}, "values": {"distance": [jobs, sum, least, most]}}
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "Content",
    "Point",
    "content_of",
    "ends_of",
    "jobs_in",
    "last_verdict",
    "merged",
    "points_of",
    "summed",
]

Content = dict[str, dict[str, list[Any]]]
_MOST = sys.float_info.max


@dataclass(frozen=True, slots=True)
class Point:
    """A job that stands for others in a chart.

    Attributes:
        at: Time of capture, in microseconds since 1970.
        number: The job's number. If the job is gone, another one may have it.
        verdict: The job's letter.
        values: Those of its values for which it stands.
    """

    at: int
    number: int
    verdict: str
    values: dict[str, float] = field(default_factory=dict)


def content_of(jobs: Iterable[Sequence[Any]], names: Sequence[str]) -> Content:
    """Return the sum of jobs.

    Args:
        jobs: Time of capture, number, verdict and values of each; a value that is None does not count.
        names: The names of the values.
    """
    ordered = sorted(jobs, key=_when)
    verdicts: dict[str, list[Any]] = {}
    for letter in dict.fromkeys(job[2] for job in ordered):
        own = [job for job in ordered if job[2] == letter]
        verdicts[letter] = [len(own), [*own[0][:3], None], [*own[-1][:3], None]]
    values: dict[str, list[Any]] = {}
    for place, name in enumerate(names, 3):
        marks = [[*job[:3], float(job[place])] for job in ordered if job[place] is not None]
        if marks:
            total = _bounded(sum(mark[3] for mark in marks))
            values[name] = [len(marks), total, min(marks, key=_least), min(marks, key=_most)]
    return {"verdicts": verdicts, "values": values}


def merged(one: Content, other: Content) -> Content:
    """Return the sum of two contents."""
    return summed((one, other))


def summed(contents: Iterable[Content]) -> Content:
    """Return the sum of contents."""
    verdicts: dict[str, list[Any]] = {}
    values: dict[str, list[Any]] = {}
    for content in contents:
        for letter, part in content["verdicts"].items():
            known = verdicts.get(letter)
            if known is None:
                verdicts[letter] = [*part]
            else:
                _add_verdicts(known, part)
        for name, part in content["values"].items():
            known = values.get(name)
            if known is None:
                values[name] = [*part]
            else:
                _add_values(known, part)
    return {"verdicts": verdicts, "values": values}


def jobs_in(content: Content) -> int:
    """Return the number of jobs that were summed up."""
    return sum(jobs for jobs, *_ in content["verdicts"].values())


def ends_of(content: Content) -> tuple[int, int]:
    """Return the times of capture of the first and of the last job."""
    marks = [mark[0] for _, *ends in content["verdicts"].values() for mark in ends]
    return min(marks), max(marks)


def points_of(content: Content, before: str | None) -> list[Point]:
    """Return the jobs that stand for a content in a chart, in the order of capture.

    They are those with the least and the largest values, and where verdicts change: the first and the last
    job of each verdict, if there are several or another one came before.

    Args:
        content: A content.
        before: The verdict of the job before it; None if there is none.
    """
    found: dict[tuple[int, int], Point] = {}
    if set(content["verdicts"]) != {before}:
        for _, *ends in content["verdicts"].values():
            for mark in ends:
                found.setdefault(_when(mark), Point(*mark[:3]))
    for name, (_, _, *extremes) in content["values"].items():
        for mark in extremes:
            found.setdefault(_when(mark), Point(*mark[:3])).values[name] = mark[3]
    return [found[when] for when in sorted(found)]


def last_verdict(content: Content) -> str:
    """Return the verdict of a content's last job."""
    return max(content["verdicts"], key=lambda letter: _when(content["verdicts"][letter][2]))


def _when(mark: Sequence[Any]) -> tuple[int, int]:
    return mark[0], mark[1]


def _least(mark: Sequence[Any]) -> tuple[float, int, int]:
    return mark[3], mark[0], mark[1]


def _most(mark: Sequence[Any]) -> tuple[float, int, int]:
    return -mark[3], mark[0], mark[1]


def _bounded(total: float) -> float:
    return max(-_MOST, min(_MOST, total))


def _add_verdicts(total: list[Any], part: list[Any]) -> None:
    _, first, last = part
    total[0] += part[0]
    if first[0] <= total[1][0] and first[:2] < total[1][:2]:
        total[1] = first
    if last[0] >= total[2][0] and last[:2] > total[2][:2]:
        total[2] = last


def _add_values(total: list[Any], part: list[Any]) -> None:
    _, _, least, most = part
    total[0] += part[0]
    total[1] = _bounded(total[1] + part[1])
    if least[3] <= total[2][3] and _least(least) < _least(total[2]):
        total[2] = least
    if most[3] >= total[3][3] and _most(most) < _most(total[3]):
        total[3] = most
