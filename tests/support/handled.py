"""The exceptions that are being handled while a line is written to the log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest


class Handled(logging.Handler):
    """Collects the exceptions that were being handled when a line was written.

    The formatter of DEEPaaS' log repeats such an exception in the line.
    """

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[BaseException | None] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.errors.append(sys.exc_info()[1])


@pytest.fixture
def handled() -> Iterator[Handled]:
    handler = Handled()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)
