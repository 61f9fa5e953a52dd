"""Whatever is given, what is stored and sent is JSON that any parser reads."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenswatch.wire import plain, to_json

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def strictly(text: str) -> Any:
    def never(name: str) -> Any:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=never)


@given(values)
def test_any_value_becomes_json_and_stays_itself_from_then_on(value: Any) -> None:
    once = strictly(to_json(value))
    assert once == plain(value)
    assert strictly(to_json(once)) == once


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1.0, np.inf]]), [[1.0, None]]),
        (float("-inf"), None),
        ((1, {2}), [1, [2]]),
        ({1: "a"}, {"1": "a"}),
        (datetime(2026, 6, 1, 8, tzinfo=UTC), "2026-06-01T08:00:00+00:00"),
        (Path("a/b"), "a/b"),
        (2**80, 2**80),
    ],
)
def test_what_json_lacks_becomes_the_nearest_it_has(value: Any, expected: Any) -> None:
    assert strictly(to_json({"x": value}))["x"] == expected
