"""Output of the commands."""

from __future__ import annotations

import pytest

from lenswatch.cli.console import show_progress
from lenswatch.progress import Step


def test_without_a_terminal_quarters_and_details_are_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with show_progress() as progress:
        for done in range(1, 9):
            progress(Step("reading", done, 8))
        progress(Step("training", 1, 30, "loss 0.5"))
    assert capsys.readouterr().out.splitlines() == [
        "reading: 2/8",
        "reading: 4/8",
        "reading: 6/8",
        "reading: 8/8",
        "training: 1/30 loss 0.5",
    ]


def test_on_a_terminal_there_is_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with show_progress() as progress:
        progress(Step("training", 3, 6, "loss 0.5"))
        progress(Step("training", 6, 6))
    shown = capsys.readouterr().out
    assert "training" in shown
    assert "6/6" in shown
    assert "loss 0.5" in shown
