"""Names of the fields that a request may have."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lenswatch.api.schemas import check_names, checked, predict_fields, train_fields
from marshmallow import ValidationError

from lenswatch.errors import InputError

with warnings.catch_warnings():  # marshmallow's, of the class that deepaas-cli needs
    warnings.simplefilter("ignore")
    KNOWN = list(predict_fields())
    FIELDS = predict_fields() | train_fields()


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


@pytest.mark.parametrize(
    ("name", "value", "form"),
    [
        ("captured_at", "yesterday", "ISO 8601, such as 2026-06-01T10:00:00Z"),
        ("captured_at", "", "ISO 8601, such as 2026-06-01T10:00:00Z"),
        ("drift_distance", "much", "give a finite number, such as 0.25"),
        ("warning_distance", "", "give a finite number, such as 0.25"),
        ("drift_distance", "nan", "give a finite number, such as 0.25"),
        ("warning_distance", "-inf", "give a finite number, such as 0.25"),
        ("stream", "Not A Slug", "use 1 to 64 of a-z"),
        ("event_id", "{input} {0}", "use 1 to 64 of A-Z"),
        ("epochs", "many", "give a whole number from 1 to 10000"),
        ("epochs", "0", "give a whole number from 1 to 10000"),
        ("learning_rate", "-0.5", "give a number above 0"),
        ("learning_rate", "fast", "give a number above 0"),
        ("learning_rate", "nan", "give a finite number"),
        ("seed", "-1", "give a whole number, 0 or more"),
        ("seed", "x", "give a whole number, 0 or more"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_with_the_form_that_can(
    name: str, value: str, form: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        FIELDS[name].deserialize(value)
    (message,) = caught.value.messages
    assert form in message
    assert message.startswith((f"{value!r}: ", f"{value}: "))


def test_a_long_value_is_cut() -> None:
    with pytest.raises(ValidationError) as caught:
        FIELDS["drift_distance"].deserialize("9x" * 10_000)
    assert len(str(caught.value.messages)) < 200


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("captured_at", "yesterday", "captured_at: 'yesterday': give a date and time in ISO 8601"),
        (
            "captured_at",
            "20230728T993036Z",
            "captured_at: '20230728T993036Z': give a date and time",
        ),
        ("stream", "Bad Name", "stream: 'Bad Name': use 1 to 64"),
        ("event_id", "", "event_id: '': use 1 to 64"),
        ("drift_distance", float("nan"), "drift_distance: nan: give a finite number"),
        ("warning_distance", "high", "warning_distance: 'high': give a finite number"),
    ],
)
def test_an_argument_is_checked_whoever_calls(name: str, value: Any, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        checked(FIELDS, {name: value})


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("20230728T083036Z", datetime(2023, 7, 28, 8, 30, 36, tzinfo=UTC)),
        ("20230728T083036", datetime(2023, 7, 28, 8, 30, 36, tzinfo=UTC)),
        ("20230728T0830+0200", datetime(2023, 7, 28, 6, 30, tzinfo=UTC)),
        ("20230728T083036.25-05", datetime(2023, 7, 28, 13, 30, 36, 250_000, tzinfo=UTC)),
        ("2023-07-28T08:30:36Z", datetime(2023, 7, 28, 8, 30, 36, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_in_both_forms_of_iso_8601(text: str, moment: datetime) -> None:
    assert checked(FIELDS, {"captured_at": text}) == {"captured_at": moment}


def test_what_was_checked_before_stays_as_it_is() -> None:
    given = {"captured_at": datetime(2026, 6, 1, tzinfo=UTC), "stream": "reef", "event_id": None}
    assert checked(FIELDS, given) == given
