"""The verdict of a job as one letter, by which all that is kept from jobs tells them apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "CLEAN",
    "DRIFT",
    "FAILED",
    "FROZEN",
    "UNWATCHED",
    "VERDICTS",
    "WARNING",
    "verdict_of",
]

CLEAN, WARNING, DRIFT, UNWATCHED, FAILED, FROZEN = "cwdufz"
VERDICTS = {
    CLEAN: "clean",
    WARNING: "warning",
    DRIFT: "drift",
    UNWATCHED: "unwatched",
    FAILED: "failed",
    FROZEN: "frozen",
}


def verdict_of(job: Mapping[Any, Any]) -> str | None:
    """Return the letter of a job's verdict; None while the job runs.

    An alarm that stays on is drift, whatever the picture shows. Without the parameter `warning` a distance
    above its warning threshold is one.
    """
    if job["job_status"] != "Completed":
        return FAILED if job["job_status"] == "Failed" else None
    found = job["parameters"]
    if _is_frozen(found.get("causes")):
        return FROZEN
    if job["drift_detected"] or found.get("alarm") is True:
        return DRIFT
    if found.get("warning") is True:
        return WARNING
    if found.get("can_alarm") is False:
        return UNWATCHED
    above = "warning" not in found and _is_above(found)
    return WARNING if above else CLEAN


def _is_frozen(causes: Any) -> bool:
    named = causes if isinstance(causes, list) else []
    return any(isinstance(cause, dict) and cause.get("name") == "frozen" for cause in named)


def _is_above(found: Mapping[str, Any]) -> bool:
    distance, threshold = _number(found.get("distance")), _number(found.get("warning_distance"))
    return distance is not None and threshold is not None and distance > threshold


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
