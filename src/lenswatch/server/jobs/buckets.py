"""Jobs summed up: verdicts with the first and last job of each, values with their extremes.

A `Content` is plain JSON, and sums of contents are contents, so an hour is the sum of its jobs and a day
that of its hours. Each job that it names is a `Mark`: time of capture, number of the job, verdict, value.

    {"verdicts": {"c": [jobs, first, last]}, "values": {"distance": [jobs, sum, least, most]}}
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = [
    "Content",
    "Mark",
    "content_of",
    "jobs_in",
    "last_verdict",
    "marks_of",
    "merged",
    "summed",
]

Content = dict[str, dict[str, list[Any]]]
Mark = list[Any]
_MOST = sys.float_info.max


def content_of(at: int, number: int, verdict: str, values: Mapping[str, float | None]) -> Content:
    """Return the content of one job.

    Args:
        at: Time of capture, in microseconds since 1970.
        number: The job's number.
        verdict: Its letter.
        values: Its values by name; those that are None do not count.
    """
    mark = [at, number, verdict, None]
    known = {name: float(value) for name, value in values.items() if value is not None}
    return {
        "verdicts": {verdict: [1, mark, mark]},
        "values": {n: [1, v, m, m] for n, v in known.items() for m in [[at, number, verdict, v]]},
    }


def merged(one: Content, other: Content) -> Content:
    """Return the sum of two contents."""
    return {
        "verdicts": _union(one["verdicts"], other["verdicts"], _merged_verdicts),
        "values": _union(one["values"], other["values"], _merged_values),
    }


def summed(contents: Iterable[Content]) -> Content:
    """Return the sum of contents."""
    return functools.reduce(merged, contents, {"verdicts": {}, "values": {}})


def jobs_in(content: Content) -> int:
    """Return the number of jobs that were summed up."""
    return sum(jobs for jobs, *_ in content["verdicts"].values())


def marks_of(content: Content, before: str | None) -> list[Mark]:
    """Return the jobs that stand for a content in a chart, in the order of capture.

    They are those with the least and the largest values, and where verdicts change: the first and the last
    job of each verdict, if there are several or another one came before.

    Args:
        content: A content.
        before: The verdict of the job before it.
    """
    marks = [mark for _, _, *extremes in content["values"].values() for mark in extremes]
    verdicts = content["verdicts"]
    if set(verdicts) != {before}:
        marks += [mark for _, *ends in verdicts.values() for mark in ends]
    found: dict[tuple[int, int], Mark] = {}
    for mark in marks:
        known = found.get(_when(mark))
        if known is None or known[3] is None:
            found[_when(mark)] = mark
    return sorted(found.values(), key=_when)


def last_verdict(content: Content) -> str:
    """Return the verdict of a content's last job."""
    return max(content["verdicts"], key=lambda letter: _when(content["verdicts"][letter][2]))


def _when(mark: Mark) -> tuple[int, int]:
    return mark[0], mark[1]


def _union(one: Mapping[str, Any], other: Mapping[str, Any], both: Any) -> dict[str, Any]:
    whole = {**one, **other}
    for name in one.keys() & other.keys():
        whole[name] = both(one[name], other[name])
    return whole


def _merged_verdicts(one: list[Any], other: list[Any]) -> list[Any]:
    return [
        one[0] + other[0],
        min(one[1], other[1], key=_when),
        max(one[2], other[2], key=_when),
    ]


def _merged_values(one: list[Any], other: list[Any]) -> list[Any]:
    return [
        one[0] + other[0],
        max(-_MOST, min(_MOST, one[1] + other[1])),
        min(one[2], other[2], key=lambda mark: (mark[3], mark[0], mark[1])),
        min(one[3], other[3], key=lambda mark: (-mark[3], mark[0], mark[1])),
    ]
