"""Fixtures for the tests of the commands."""

import pytest
from click.testing import CliRunner

from conftest import write_settings
from lenswatch.cli.main import main


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a command with the small camera's settings and sends nothing."""
    settings = write_settings(tmp_path)

    def command(*arguments, needs_config=True):
        extra = ["--config", str(settings)] if needs_config else []
        return CliRunner().invoke(main, [arguments[0], *extra, *map(str, arguments[1:])])

    return command
