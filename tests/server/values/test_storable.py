"""Values that both databases can keep, and their limits."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from marshmallow import ValidationError

from lenswatch.server.http.bodies import MAX_PARAMETERS, MAX_TAGS
from lenswatch.server.values.storable import storable
from support.samples import JOB


class Endless(list[int]):
    """A list of which not much must be looked at."""

    def __init__(self, most: int) -> None:
        super().__init__([0])
        self.left = most

    def __iter__(self) -> Any:
        while self.left:
            self.left -= 1
            yield 0
        raise AssertionError("everything was looked at")


def test_what_is_too_large_is_not_looked_at_to_its_end() -> None:
    with pytest.raises(ValidationError, match=r"Larger than 3,000 bytes\."):
        storable({"a": Endless(3000)}, 3000)


@pytest.mark.parametrize(
    "value", ["x" * 5000, {"x" * 5000: 1}, [[]] * 2000, {str(i): 0 for i in range(999)}]
)
def test_texts_keys_and_containers_count(value: Any) -> None:
    assert storable({"a": value}) == {"a": value}
    with pytest.raises(ValidationError, match="Larger"):
        storable({"a": value}, 3000)


@pytest.mark.parametrize(
    "part", [1, 0.1234567890123456, -1.7976931348623157e308, True, None, "\x01", "é", "😀", [], {}]
)
def test_the_limit_is_to_bytes_of_json(part: Any) -> None:
    value = {"a": [part] * 500}
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    assert storable(value, size) == value
    with pytest.raises(ValidationError, match="Larger"):
        storable(value, size - 1)


def test_there_is_no_minus_nought() -> None:
    assert math.copysign(1, storable(-0.0)) == 1
    assert repr(storable([-0.0, 0, 0.5])) == "[0.0, 0, 0.5]"


def test_numbers_come_back_alike_from_both_databases(local: Any) -> None:
    experiment = local.experiment()
    sent = {"a": -0.0, "b": 1e16, "c": 1e300, "d": -0.5, "e": 2**63 - 1}
    made = local.drift(experiment, parameters=sent)
    path = f"/experiment/{experiment['id']}/drift/{made['id']}"
    assert json.dumps(local.get(path).json()["parameters"], sort_keys=True) == json.dumps(
        {"a": 0.0, "b": 10**16, "c": 1e300, "d": -0.5, "e": 2**63 - 1}
    )


def test_parameters_of_a_megabyte_are_the_largest(local: Any) -> None:
    path = f"/experiment/{local.experiment()['id']}/drift"
    fits, does_not = ({"a": "x" * (MAX_PARAMETERS - less)} for less in (20, 0))
    assert local.post(path, json=JOB | {"parameters": fits}).status_code == 201
    answer = local.post(path, json=JOB | {"parameters": does_not})
    assert answer.status_code == 422
    complaint = {"json": {"parameters": ["Larger than 1,048,576 bytes."]}}
    assert answer.json()["errors"] == complaint
    batch = local.post(f"{path}/batch", json={"drifts": [JOB | {"parameters": does_not}, JOB]})
    assert [result["status"] for result in batch.json()["results"]] == [422, 201]


def test_ten_thousand_tags_are_the_most(local: Any) -> None:
    path = f"/experiment/{local.experiment()['id']}/drift"
    most = [str(number) for number in range(MAX_TAGS)]
    answer = local.post(path, json=JOB | {"tags": most})
    assert (answer.status_code, answer.json().get("tags")) == (201, most)
    answer = local.post(path, json=JOB | {"tags": [*most, "one more"]})
    assert answer.status_code == 422
    assert answer.json()["errors"] == {"json": {"tags": ["Longer than maximum length 10000."]}}


@pytest.mark.slow
def test_queries_are_small(local: Any) -> None:
    experiment = local.experiment()
    query = json.dumps({"model": "m", "parameters.a": "x" * 256 * 1024})
    headers = {"Content-Type": "application/json"}
    for path in (
        "/experiment/search",
        "/user/search",
        f"/experiment/{experiment['id']}/drift/search",
    ):
        assert local.post(path, content=query, headers=headers).status_code == 413
        assert (
            local.post(path, content="[" + "{}," * 80_000 + "{}]", headers=headers).status_code
            == 422
        )
