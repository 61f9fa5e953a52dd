"""The garbage collector of the test processes, which passes over what exists before the first test.

Six thousand tests and what they import are some millions of objects. A tenth of the time went into looking at
them again and again. It looks at new objects as often as always, so that a file that was left open is
noticed in the test that opened it.
"""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
