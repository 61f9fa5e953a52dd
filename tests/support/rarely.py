"""The garbage collector of the test processes, which passes over what exists before the first test.

Six thousand tests and what they import are some millions of objects. A seventh of the time went into
looking at them again and again.
"""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest

from lenswatch.memory import collect_rarely


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    gc.disable()
    try:
        return (yield)
    finally:
        collect_rarely()
        gc.enable()
