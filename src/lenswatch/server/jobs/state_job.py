"""The verdict of one job on its stream.

The letter of a job is its verdict: d drift, also while the node keeps an alarm on; z frozen, w warning,
u unwatched (nothing can alarm), c clean, f failed. A job that has not finished or came late has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lenswatch.server.values import stamps

__all__ = ["READ", "VERDICTS", "Cause", "Seen", "letter_of", "read_job"]

VERDICTS = {"d": "drift", "z": "frozen", "w": "warning", "u": "unwatched", "c": "clean"}
# The parameters that are looked at.
READ = (
    *("captured_at", "alarm", "warning", "can_alarm", "causes", "shed", "error"),
    *("distance", "drift_distance", "warning_distance", "score", "drift_score", "warning_score"),
)
_STATISTICS = (("distance", "drift_distance"), ("score", "drift_score"))
_FROZEN = "frozen"
_MOST_CAUSES = 5
_MOST_CELLS = 64
_CELLS = {(row, column): f"{row},{column}" for row in range(16) for column in range(16)}
_LONGEST_NAME = 60  # characters of a cause


@dataclass(frozen=True, slots=True)
class Cause:
    """A named change, and where the picture shows it.

    Attributes:
        name: As the node calls it.
        cells: Rows and columns of the map of 4 x 5 cells, each as "row,column".
    """

    name: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """One job, as far as it concerns the state of its stream.

    Attributes:
        number: Number of the row.
        arrived: When it arrived, in microseconds.
        captured: When its picture was taken; None if that is not known.
        letter: The verdict; empty for a job that is late or has not finished.
        ratio: The larger value over its drift threshold, of those that can have decided.
        causes: What is wrong, the strongest first.
        model: Which reference judged.
        shed: Jobs before it that the node gave up.
        refused: Whether the node refused the picture before it was judged.
    """

    number: int
    arrived: int
    captured: int | None
    letter: str
    ratio: float | None = None
    causes: tuple[Cause, ...] = ()
    model: str = ""
    shed: int = 0
    refused: bool = False

    @property
    def taken(self) -> int:
        """When its picture was taken, else when it arrived."""
        return self.arrived if self.captured is None else self.captured


def read_job(row: Mapping[Any, Any]) -> Seen:
    """Return what the row of a job says."""
    parameters = row["parameters"]
    arrived = row["created_at"]
    failed = row["job_status"] == "Failed"
    drift = bool(row["drift_detected"])
    causes = _causes(parameters.get("causes"))
    letter = "" if row["late"] else _letter(row, causes)
    return Seen(
        number=row["number"],
        arrived=arrived,
        captured=stamps.capture(parameters.get("captured_at"), arrived),
        letter=letter,
        ratio=_ratio(parameters, drift),
        causes=causes,
        model=row["model"],
        shed=_shed(parameters.get("shed")),
        refused=failed and isinstance(parameters.get("error"), str),
    )


def letter_of(row: Mapping[Any, Any]) -> str:
    """Return the letter of the verdict of a job that may be late; empty while it runs."""
    return _letter(row, _causes(row["parameters"].get("causes")))


def _letter(row: Mapping[Any, Any], causes: tuple[Cause, ...]) -> str:
    if row["job_status"] != "Completed":
        return "f" if row["job_status"] == "Failed" else ""
    parameters = row["parameters"]
    if row["drift_detected"] or parameters.get("alarm") is True:
        return "d"
    if any(cause.name == _FROZEN for cause in causes):
        return "z"
    warning = parameters.get("warning")
    if warning is True:
        return "w"
    if parameters.get("can_alarm") is False:
        return "u"
    if not isinstance(warning, bool):  # another client's job
        value, limit = (_number(parameters.get(n)) for n in ("distance", "warning_distance"))
        if value is not None and limit is not None and value > limit:
            return "w"
    return "c"


def _ratio(parameters: Mapping[str, Any], drift: bool) -> float | None:
    """Return the larger ratio. One above 1 without drift is of a value that does not count."""
    found = []
    for name, threshold in _STATISTICS:
        value, limit = _number(parameters.get(name)), _number(parameters.get(threshold))
        if value is not None and limit is not None and limit > 0:
            ratio = value / limit
            if (drift or ratio <= 1) and abs(ratio) < 1e300:
                found.append(ratio)
    return max(found, default=None)


def _causes(value: Any) -> tuple[Cause, ...]:
    if not isinstance(value, list):
        return ()
    found: dict[str, Cause] = {}
    for cause in value[:_MOST_CAUSES]:
        name = cause.get("name") if isinstance(cause, dict) else None
        if isinstance(name, str) and name and len(name) <= _LONGEST_NAME:
            found.setdefault(name, Cause(name, _cells(cause.get("cells"))))
    return tuple(found.values())


def _cells(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    found = (_CELLS.get(tuple(cell)) for cell in value[:_MOST_CELLS] if _is_pair(cell))
    return tuple([cell for cell in found if cell is not None])


def _is_pair(cell: Any) -> bool:
    return isinstance(cell, list) and len(cell) == 2 and type(cell[0]) is type(cell[1]) is int


def _shed(value: Any) -> int:
    jobs = value.get("jobs") if isinstance(value, dict) else None
    return jobs if type(jobs) is int and 0 < jobs < 2**40 else 0


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
