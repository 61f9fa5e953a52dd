"""The verdict of a job as one letter, by which charts and roll-ups tell jobs apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lenswatch.server.jobs import state_job

__all__ = ["VERDICTS", "verdict_of"]

VERDICTS = state_job.VERDICTS | {"f": "failed"}


def verdict_of(job: Mapping[Any, Any]) -> str | None:
    """Return the letter of a job's verdict, also of one that is late; None while the job runs."""
    return state_job.letter_of(job) or None
