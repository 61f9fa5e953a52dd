"""`lenswatch keys`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner

from conftest import write_settings
from lenswatch.cli.main import main


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    settings = str(write_settings(tmp_path))

    def keys(*arguments: Any) -> Any:
        return CliRunner().invoke(
            main, ["keys", arguments[0], "--config", settings, *arguments[1:]]
        )

    assert "no key yet: lenswatch keys create" in keys("list").output
    made = keys("create", "buoy-7", "--level", "Read")
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    listed = keys("list").output
    assert "buoy-7" in listed
    assert secret not in listed
    assert "revoked: buoy-7" in keys("revoke", "buoy-7").output
    again = keys("revoke", "nobody")
    assert again.exit_code == 1
    assert again.output.startswith("lenswatch: ")
