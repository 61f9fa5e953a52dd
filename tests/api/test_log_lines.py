"""The lines that code in DEEPaaS' process writes to the log.

The formatter of DEEPaaS' log adds the exception that is being handled to each warning, which then says its
reason twice.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ["api", "src/lenswatch/client", "src/lenswatch/node", "src/lenswatch/outbox"]


def logged_in_handlers(code: str) -> Iterator[int]:
    """Yield the line of each warning or error that is logged in an `except` block."""
    handlers = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ExceptHandler))
    for call in (each for handler in handlers for each in ast.walk(handler)):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("log.warning", "log.error"):
            yield call.lineno


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_warning_is_logged_while_an_exception_is_handled(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    found = [f"{file}:{line}" for file in files for line in logged_in_handlers(file.read_text())]
    assert found == []


def test_a_warning_in_a_handler_is_found() -> None:
    code = "try:\n    work()\nexcept OSError as error:\n    log.warning('%s', error)\n"
    assert list(logged_in_handlers(code)) == [4]
