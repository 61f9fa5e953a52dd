"""The full forms of tests whose quick forms always run: LENSWATCH_TEST_FULL=1, `make test-faults`."""

from __future__ import annotations

import os
from typing import TypeVar

__all__ = ["FULL", "at_length"]

FULL = os.environ.get("LENSWATCH_TEST_FULL", "") not in ("", "0")

Amount = TypeVar("Amount", int, float)


def at_length(quick: Amount, full: Amount) -> Amount:
    """Return how often or how long a test tries something: `full` when the full forms were asked for."""
    return full if FULL else quick
