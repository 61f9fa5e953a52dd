"""The page's part of what it shares with node and server."""

from __future__ import annotations

import re
from datetime import datetime
from importlib import resources

from lenswatch.wire import CLOCK_ERROR, EARLIEST_CAPTURE


def test_the_page_judges_times_of_capture_by_the_same_limits() -> None:
    script = resources.files("lenswatch.server.pages") / "static" / "record.js"
    text = script.read_text("utf-8")
    earliest = re.search(r'EARLIEST_CAPTURE = Date\.parse\("(.*)"\)', text)
    minutes = re.search(r"CLOCK_ERROR_MS = (\d+) \* 60 \* 1000;", text)
    assert earliest
    assert minutes
    assert datetime.fromisoformat(earliest[1]) == EARLIEST_CAPTURE
    assert int(minutes[1]) * 60 == CLOCK_ERROR.total_seconds()
