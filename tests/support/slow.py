"""The mark `slow`, which `make test-fast` leaves out.

It is written at tests that take longer than about a third of a second. This adds it to the tests that need
PostgreSQL, a browser, or a server in a process of its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

STARTS_A_SERVER = {"deepaas", "serve", "shared"}  # fixtures
END_TO_END = Path(__file__).parents[1] / "e2e"


@pytest.hookimpl(tryfirst=True)  # before `-m` is applied
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        on_postgresql = "postgresql" in item.name.partition("[")[2]
        starts_a_server = STARTS_A_SERVER & set(getattr(item, "fixturenames", ()))
        if on_postgresql or starts_a_server or END_TO_END in item.path.parents:
            item.add_marker("slow")
