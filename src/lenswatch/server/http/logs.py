"""Structured logs: one JSON object a line, on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO, cast

import structlog

__all__ = ["ForeignLog", "make_log"]


class _StandardError:
    """Standard error at the time of writing, which tests replace."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def make_log(level: str) -> Any:
    """Return a logger that writes events of at least `level` ("debug", "info", "warning")."""
    return structlog.wrap_logger(
        structlog.PrintLogger(cast(TextIO, _StandardError())),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
    )


class ForeignLog(logging.Handler):
    """A handler that writes what a library logs as JSON too."""

    def __init__(self, log: Any) -> None:
        super().__init__()
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        level = self.log.error if record.levelno >= logging.ERROR else self.log.warning
        level("library", logger=record.name, message=record.getMessage(), exc_info=record.exc_info)
