"""Strict mode (LENSWATCH_TEST_STRICT=1): a test that would be skipped fails instead.

A machine without a browser or a database skips many tests, and nobody notices. A test that is skipped on
every machine has a reason that starts with BY_DESIGN. Any other reason is taken for a missing tool.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TypeVar

import pytest

__all__ = ["BY_DESIGN"]

BY_DESIGN = "by design: "
VARIABLE = "LENSWATCH_TEST_STRICT"
STRICT = os.environ.get(VARIABLE, "") not in ("", "0")

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Check the report of a test, or of its set-up or tear-down."""
    return checked((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Check the report of a file, which may be skipped as a whole."""
    return checked((yield))


def checked(report: Report) -> Report:
    """Return the report, as a failure if strict mode does not allow its skip."""
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        assert isinstance(report.longrepr, tuple)
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(BY_DESIGN):
            report.outcome = "failed"
            report.longrepr = f"skipped, which {VARIABLE} does not allow: {reason}"
    return report
