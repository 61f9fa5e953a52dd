"""The parts of this project that AI4OS, the platform of the DriftWatch tutorial, reads."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import tomli
import yaml
from lenswatch.api import get_metadata

ROOT = Path(__file__).parents[1]
METADATA = ROOT / "ai4-metadata.yml"


@pytest.mark.slow
def test_the_platforms_validator_accepts_the_metadata() -> None:
    (command,) = entry_points(group="console_scripts", name="ai4-metadata")
    module, function = command.value.split(":")
    program = f"import sys; from {module} import {function}; sys.exit({function}())"
    ended = subprocess.run(
        [sys.executable, "-c", program, "validate", "--metadata-version", "2.3.0", str(METADATA)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "is valid for version 2.3.0" in " ".join(ended.stdout.split())


def test_the_metadata_has_the_version_that_it_is_checked_by() -> None:
    assert yaml.safe_load(METADATA.read_text())["metadata_version"] == "2.3.0"


def test_the_module_names_its_author_and_an_address_as_the_package_does() -> None:
    told = get_metadata()
    [author] = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]["authors"]
    assert (told["author"], told["author-email"]) == (author["name"], author["email"])
