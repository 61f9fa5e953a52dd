"""JSON for any value, and the names of streams and events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenswatch.errors import InputError
from lenswatch.wire import check_event_id, check_stream, plain, to_json

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


@pytest.mark.slow
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


@pytest.mark.slow
@given(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True))
def test_a_streams_name_can_be_a_files_name(name: str) -> None:
    check_stream(name)
    check_event_id(name)
    assert Path(f"{name}.json").name == f"{name}.json"


@pytest.mark.parametrize("name", ["", "Reef", ".hidden", "-x", "a/b", "a b", "a\n", "ä", "x" * 65])
def test_a_name_that_cannot_be_used_is_refused_with_the_rule(name: str) -> None:
    with pytest.raises(InputError) as caught:
        check_stream(name)
    assert str(caught.value) == (
        f"stream {name!r}: use 1 to 64 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit"
    )


@pytest.mark.parametrize("event_id", ["", "a/b", "a b", "a\n", "ä", "x" * 65])
def test_an_event_id_that_cannot_be_used_is_refused_with_the_rule(event_id: str) -> None:
    with pytest.raises(InputError, match="use 1 to 64 of A-Z"):
        check_event_id(event_id)
