"""The stored state of a stream: this version's, earlier ones', and that of another reference."""

from __future__ import annotations

import dataclasses
import json
import struct
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lenswatch.detect.chart.chart import ChartState
from lenswatch.detect.chart.scene import SceneState
from lenswatch.detect.mmd import Window
from lenswatch.detect.verdict import Alarm
from lenswatch.errors import StoreError
from lenswatch.node.clock import Newest
from lenswatch.node.stream import StreamState

FINITE = {"allow_nan": False, "allow_infinity": False}
NEWEST = Newest(datetime(2026, 6, 1, 8, 0, tzinfo=UTC))


def window(m: int, fill: float = 0.5) -> Window:
    return Window(np.full((m, 3), fill), np.full(m, fill))


CHART = ChartState(
    "0123456789abcdef",
    np.ones((2, 8, 8, 10), np.float32),
    np.zeros(42),
    SceneState(),
    None,
    np.zeros(42),
    alone=False,
)


def equal(one: StreamState, other: StreamState) -> bool:
    return one.to_bytes() == other.to_bytes()


@given(
    rows=arrays(np.float64, st.tuples(st.integers(0, 12), st.just(4)), elements=FINITE),
    raised=st.booleans(),
    quiet=st.integers(0, 11),
    pictures=st.integers(0, 10**6),
    newest=st.none() | st.builds(Newest, st.datetimes(timezones=st.just(UTC)), st.booleans()),
)
def test_a_state_is_read_as_it_was_written(
    rows: Any, raised: bool, quiet: int, pictures: int, newest: Newest | None
) -> None:
    state = StreamState(
        Window(rows[:, :3], rows[:, 3]), CHART, Alarm(raised, quiet), pictures, newest
    )
    back = StreamState.from_bytes(state.to_bytes())
    assert (back.alarm, back.pictures, back.newest) == (state.alarm, pictures, newest)
    assert np.array_equal(back.window.embeddings, state.window.embeddings)
    assert equal(back, state)


def format_1(state: StreamState, chart: bytes = b"") -> bytes:
    """Return a state as versions before the number of pictures wrote it."""
    rows = state.window.to_bytes()
    header = struct.pack("<4sBIQ", b"LWS1", state.alarm.raised, state.alarm.quiet, len(rows))
    return header + rows + chart


@pytest.mark.parametrize("chart", [b"", CHART.to_bytes(), b"of another layout"])
@given(raised=st.booleans(), quiet=st.integers(0, 11), m=st.integers(0, 12))
def test_an_earlier_versions_alarm_and_window_are_kept(
    chart: bytes, raised: bool, quiet: int, m: int
) -> None:
    old = StreamState(window(m), alarm=Alarm(raised, quiet))
    assert equal(StreamState.from_bytes(format_1(old, chart)), old)


@pytest.mark.parametrize("layout", ["another", "no JSON"])
def test_a_chart_of_another_layout_starts_anew_and_the_alarm_stays(layout: str) -> None:
    state = StreamState(window(12), None, Alarm(True, 3), 40, NEWEST)
    head = json.dumps({"chart": "x", "arrays": {"cells": ["<f4", 2]}})
    chart = f"{head}\n".encode() + bytes(8) if layout == "another" else b"\xff\x00"
    back = StreamState.from_bytes(state.to_bytes() + chart)
    assert equal(back, dataclasses.replace(state, pictures=0))


@pytest.mark.parametrize(
    "data", [b"", b"LWS1", b"LWS2\n", b"LWS2\n{}\n", b"LWS3\n{}\n", b"rubbish", b"LWS2\n[]\n"]
)
def test_a_damaged_state_says_how_to_clear_it(data: bytes) -> None:
    with pytest.raises(StoreError, match="lenswatch reset"):
        StreamState.from_bytes(data)


@given(raised=st.booleans(), quiet=st.integers(0, 11))
def test_under_another_reference_only_the_alarm_and_the_time_go_on(
    raised: bool, quiet: int
) -> None:
    state = StreamState(window(12), CHART, Alarm(raised, quiet), 40, NEWEST)
    started = state.restarted(window(5, 0.1))
    assert equal(started, StreamState(window(5, 0.1), None, Alarm(raised), 0, NEWEST))
