"""The footage from which a job's thresholds were learnt, and how often they alarm by chance, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from lenswatch.server.pages.asking import as_dict
from lenswatch.server.pages.look import duration
from lenswatch.server.pages.words import counted, is_number

__all__ = ["Learnt", "learnt_from"]


@dataclass(frozen=True)
class Learnt:
    """Words on a calibration.

    Attributes:
        footage: "Calibrated on 360 clean pictures over 48 h."
        chance: "1 in 200 clean pictures".
        every: "one in 27 h" at the camera's usual interval; "" if that is not known.
    """

    footage: str
    chance: str
    every: str


def learnt_from(parameters: Mapping[str, Any], interval_seconds: Any) -> Learnt | None:
    """Return what a job says of its calibration; None if it says nothing.

    Args:
        parameters: The job's.
        interval_seconds: Usual time between two pictures of its camera; None if not known.

    >>> found = learnt_from({"calibration": {"pictures": 360, "expected_run_time": 200}}, 480)
    >>> found.footage, found.chance, found.every
    ('Calibrated on 360 clean pictures.', '1 in 200 clean pictures', 'one in 26 h 40 min')
    """
    told = as_dict(parameters.get("calibration"))
    pictures, run_time = told.get("pictures"), told.get("expected_run_time")
    if not _is_positive(run_time) or not _is_positive(pictures):
        return None
    span = told.get("span_seconds")
    over = f" over {duration(span)}" if _is_positive(span) else ""
    every = f"one in {duration(run_time * interval_seconds)}" if interval_seconds else ""
    return Learnt(
        f"Calibrated on {counted(round(pictures), 'clean picture')}{over}.",
        f"1 in {max(1, round(run_time)):,} clean pictures",
        every,
    )


def _is_positive(value: Any) -> TypeGuard[float]:
    """Return whether `value` is a number that can be of pictures or seconds."""
    return is_number(value) and 0 < value < 1e12
