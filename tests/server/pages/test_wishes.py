"""docs/dashboard.md names where each wish of the people on watch is checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WISHES = 20


def wishes() -> list[tuple[str, list[tuple[str, str]]]]:
    """Return each wish with the files and names of its tests."""
    text = (ROOT / "docs" / "dashboard.md").read_text(encoding="utf-8")
    table = text.partition("| wish | checked by |\n| --- | --- |\n")[2]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return [(wish.strip(), re.findall(r"`(tests/\S+?)::(\w+)`", checks)) for wish, checks in rows]


def test_every_wish_has_a_check() -> None:
    found = wishes()
    assert len({wish for wish, _ in found}) == len(found) == WISHES
    assert [wish for wish, checks in found if not checks] == []


@pytest.mark.parametrize(
    ("file", "name"), sorted({check for _, checks in wishes() for check in checks})
)
def test_every_named_test_exists(file: str, name: str) -> None:
    source = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^def {name}\(", source, re.MULTILINE)
