"""Servers that do nothing by themselves: the tests here run the chores."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_chores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lenswatch.server.app.chores", lambda config: ())
