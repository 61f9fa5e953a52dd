"""The order of the test files when several processes share them.

Files with many tests mostly wait, and those with few keep a core busy. Taken in turns, they use the cores all
the time, while xdist's own order, by the number of tests, keeps the busy ones for the end. Files in which no
test is slow come last, so that the processes end at about the same time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

_T = TypeVar("_T")


@pytest.hookimpl(trylast=True)  # of the tests that `-m` leaves
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not hasattr(config, "workerinput"):
        return
    files = defaultdict[Path, list[pytest.Item]](list)
    for item in items:
        files[item.path].append(item)
    by_size = sorted(files.values(), key=lambda tests: (len(tests), tests[0].nodeid))
    mixed = sorted(_from_both_ends(by_size), key=_is_quick)
    items[:] = [item for tests in mixed for item in tests]


def _is_quick(tests: Iterable[pytest.Item]) -> bool:
    return not any(test.get_closest_marker("slow") for test in tests)


def _from_both_ends(values: Sequence[_T]) -> Iterable[_T]:
    """Yield the first value, the last, the second, the last but one, and so on."""
    for i in range((len(values) + 1) // 2):
        yield values[i]
        if i != len(values) - 1 - i:
            yield values[-1 - i]
