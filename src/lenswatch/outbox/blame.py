"""The kinds of errors in delivery: about one job, or about the server and us."""

from __future__ import annotations

from lenswatch.errors import TrackingUnavailable

__all__ = ["REFUSALS", "may_be_the_jobs_fault", "reason_of"]

REFUSALS = frozenset({400, 413, 415, 422})  # about the job; other statuses are about us
# Whoever gives these means all of us, or asks to come back.
ABOUT_US = frozenset({401, 407, 408, 425, 429, 503, 507, 511})


def may_be_the_jobs_fault(unavailable: TrackingUnavailable) -> bool:
    """Return True when another job may be accepted where this one was not.

    So it may be when the server received the job and then failed or did not answer, and when something in
    between rejected it: a firewall that dislikes a word, a gateway with a limit of its own.
    """
    if unavailable.status == 0:
        return unavailable.reached
    return unavailable.status not in ABOUT_US and not unavailable.retry_after


def reason_of(error: Exception) -> str:
    """Return what was wrong in one line, without the address of the request if that is known."""
    return " ".join((getattr(error, "reason", "") or str(error)).split())
