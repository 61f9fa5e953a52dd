"""Fixtures for the tests of the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conftest import write_settings
from lenswatch.cli.main import main


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Return a function that runs a command with the small camera's settings and sends nothing."""
    settings = write_settings(tmp_path)

    def command(*arguments: Any, needs_config: bool = True) -> Any:
        extra = ["--config", str(settings)] if needs_config else []
        return CliRunner().invoke(main, [arguments[0], *extra, *map(str, arguments[1:])])

    return command
