"""Names of the fields that a request may have."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lenswatch.api.schemas import check_names, predict_fields

from lenswatch.errors import InputError

with warnings.catch_warnings():  # marshmallow's, of the class that deepaas-cli needs
    warnings.simplefilter("ignore")
    KNOWN = list(predict_fields())


@given(st.lists(st.sampled_from([*KNOWN, "accept"]) | st.text(max_size=200), max_size=8))
def test_only_known_fields_that_are_given_once_pass(names: Any) -> None:
    counts = Counter(name for name in names if name != "accept")
    faulty = [name for name, count in counts.items() if name not in KNOWN or count > 1]
    if not faulty:
        check_names(names, KNOWN)
        return
    with pytest.raises(InputError) as caught:
        check_names(names, KNOWN)
    assert any(repr(name[:100]) in str(caught.value) for name in faulty)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("steam", "stream"),
        ("Stream", "stream"),
        ("event", "event_id"),
        ("eventid", "event_id"),
        ("captured", "captured_at"),
        ("drift-distance", "drift_distance"),
        ("inputfile", "input_file"),
    ],
)
def test_a_misspelt_field_gets_the_nearest_name(name: str, nearest: str) -> None:
    with pytest.raises(InputError, match=f"unknown field {name!r}; did you mean {nearest!r}"):
        check_names([name], KNOWN)


def test_a_field_like_no_other_gets_the_list_of_all() -> None:
    with pytest.raises(InputError) as caught:
        check_names(["quux"], KNOWN)
    assert str(caught.value) == f"unknown field 'quux'; known are {', '.join(KNOWN)}"
