"""The garbage collector of the test processes, which passes over what exists before the first test.

Six thousand tests and what they import are some millions of objects. A seventh of the time went into
looking at them again and again.
"""

from __future__ import annotations

from lenswatch.memory import collect_rarely


def pytest_collection_finish() -> None:
    collect_rarely()
