"""SQL on both databases answers as a plain evaluation in Python does, over random documents and queries."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select

from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import cursors, drifts, experiments
from lenswatch.server.jobs import search, store
from lenswatch.server.query.language import parse_query
from lenswatch.server.query.regex import RegexError, compile_regex
from lenswatch.server.values.storable import storable
from support.plain_queries import COMPARE, matches

KEYS = ("a", "b", "0", "1", "x y", 'q"', "ü")
numbers = st.one_of(
    st.integers(-3, 3),
    st.sampled_from(
        [0.5, -0.5, 1.0, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 1e18, 1e300, -1e-300, 1e16]
    ),
    st.floats(allow_nan=False, allow_infinity=False),
)
texts = st.sampled_from(
    ["", "a", "b", "ab", "A", "é", "z", "1", "true", "null", "a\nb", "\\", "'", "😀"]
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
keys = st.sampled_from(KEYS)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=6,
)
documents = st.dictionaries(keys, values, max_size=4)
paths = st.lists(keys, min_size=1, max_size=3).map(lambda parts: ".".join(["parameters", *parts]))
comparable = st.one_of(st.booleans(), numbers, texts, st.none())
regexes = st.sampled_from(
    ["a", "^a", "b$", "a|b", "[^a]", "a.b", "^$", "é", "^.{2}$", "(a|b)+"]
).map(lambda r: r.replace("$", r"\Z"))
simple_tests = st.one_of(
    st.fixed_dictionaries({"$eq": values}),
    st.fixed_dictionaries({"$ne": values}),
    st.sampled_from(sorted(COMPARE)).flatmap(
        lambda name: st.fixed_dictionaries({name: comparable})
    ),
    st.fixed_dictionaries({"$in": st.lists(values, max_size=3)}),
    st.fixed_dictionaries({"$nin": st.lists(values, max_size=3)}),
    st.fixed_dictionaries({"$exists": st.booleans()}),
    st.fixed_dictionaries({"$all": st.lists(scalars, max_size=2)}),
    st.fixed_dictionaries({"$size": st.integers(0, 3)}),
    st.fixed_dictionaries({"$regex": regexes, "$options": st.sampled_from(["", "i"])}),
)
element_tests = st.fixed_dictionaries(
    {
        "$elemMatch": st.one_of(
            simple_tests, st.dictionaries(keys, st.one_of(scalars, simple_tests), max_size=2)
        )
    }
)
tests = st.one_of(
    simple_tests,
    element_tests,
    st.fixed_dictionaries({"$all": st.lists(element_tests, min_size=1, max_size=2)}),
).flatmap(lambda test: st.sampled_from([test, {"$not": test}]))
fields = st.one_of(
    st.tuples(paths, st.one_of(values.filter(lambda v: not isinstance(v, dict)), tests)),
    st.tuples(
        st.just("parameters"), st.one_of(documents, st.fixed_dictionaries({"$ne": documents}))
    ),
    st.tuples(
        st.sampled_from(
            [
                "tags",
                "tags.0",
                "model",
                "job_status",
                "drift_detected",
                "schema_version",
                "nope",
                "model.x",
            ]
        ),
        st.one_of(scalars, tests, st.just(["a", "b"])),
    ),
).map(lambda pair: {pair[0]: pair[1]})
queries = st.recursive(
    fields,
    lambda inner: st.tuples(
        st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, min_size=1, max_size=2)
    ).map(lambda pair: {pair[0]: pair[1]}),
    max_leaves=3,
)
records = st.fixed_dictionaries(
    {
        "job_status": st.sampled_from(["Running", "Completed", "Failed"]),
        "model": st.sampled_from(["", "a", "ab", "B", "é"]),
        "drift_detected": st.booleans(),
        "tags": st.lists(st.sampled_from(["a", "b", "ab"]), max_size=3),
        "parameters": documents,
    }
)


def stored(record: dict[str, Any]) -> dict[str, Any]:
    return storable(record) | {"schema_version": "1.0.0"}  # type: ignore[no-any-return]


def plain(query: Any) -> Any:
    """The query as Python's `re` and our numbers have it."""
    return storable(query)


def ours(query: Any) -> Any:
    """The query as a client would send it: `$` is the end, where Python says `\\Z`."""
    if isinstance(query, dict):
        return {k: v.replace(r"\Z", "$") if k == "$regex" else ours(v) for k, v in query.items()}
    return [ours(item) for item in query] if isinstance(query, list) else query


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """A transaction with an experiment in it, on a database that knows `$regex`."""
    database = Database(database_url)
    with database.write() as connection, database.limited(connection, 3600):
        row = {
            "id": "e",
            "created_at": 0,
            "name": "e",
            "name_digest": "e",
            "public": True,
            "permissions": [],
        }
        number = connection.execute(
            insert(experiments).values(row).returning(experiments.c.number)
        ).scalar_one()
        connection.execute(insert(cursors).values(experiment=number, seq=0, irregular=False))
        connection.info["experiment"] = number
        yield connection
        connection.rollback()
    database.close()


def ask(connection: Connection, query: Any) -> list[int]:
    condition = search.condition(connection, parse_query(query))
    found = connection.execute(select(drifts.c.seq).where(condition).order_by(drifts.c.seq))
    return list(found.scalars())


@pytest.mark.slow
@given(st.lists(records, min_size=1, max_size=4), st.lists(queries, min_size=1, max_size=4))
def test_sql_answers_as_python_does(connection: Connection, documents: Any, asked: Any) -> None:
    with connection.begin_nested() as savepoint:
        rows = store.store(
            connection, connection.info["experiment"], [storable(d) for d in documents]
        )
        for query in asked:
            expected = [
                row["seq"]
                for document, (row, _) in zip(documents, rows, strict=True)
                if matches(stored(document), plain(query))
            ]
            assert ask(connection, ours(query)) == expected, query
        savepoint.rollback()


@pytest.mark.slow
@settings(max_examples=20)
@given(st.lists(records, min_size=1, max_size=5), st.lists(queries, min_size=1, max_size=6))
def test_the_api_answers_as_python_does(local: Any, documents: Any, asked: Any) -> None:
    experiment = local.experiment()
    path = f"/experiment/{experiment['id']}/drift/batch"
    local.post(path, json={"drifts": [storable(d) for d in documents]})
    kept = local.search(experiment, {}, order_by="asc", page_size=100).json()
    assert len(kept) == len(documents)
    for query in asked:
        expected = [record for record in kept if matches(record, plain(query))]
        answer = local.search(experiment, ours(query), order_by="asc")
        assert answer.status_code == 200, answer.text
        assert answer.json() == expected, query
        assert json.loads(answer.headers["X-Pagination"])["total"] == len(expected)


def with_absolute_ends(regex: str) -> str:
    """For Python: `$` outside classes as `\\Z`, since ours does not match before a last newline."""
    parts, i, first_in_class = [], 0, -1
    while i < len(regex):
        c = regex[i]
        if c == "\\":
            parts.append(regex[i : i + 2])
            i += 2
            continue
        if first_in_class < 0 and c == "[":
            first_in_class = i + (2 if regex[i + 1 : i + 2] == "^" else 1)
        elif first_in_class >= 0 and c == "]" and i > first_in_class:
            first_in_class = -1
        parts.append(r"\Z" if c == "$" and first_in_class < 0 else c)
        i += 1
    return "".join(parts)


@pytest.mark.slow
@given(
    st.text(alphabet="ab.^$*+?{}2,[]-\\d|()i", max_size=8),
    st.sampled_from(["", "i", "s", "is"]),
    st.lists(st.text(alphabet="abAB2.\n-", max_size=5), min_size=1, max_size=5),
)
def test_regular_expressions_are_refused_or_answered_alike(
    connection: Connection, regex: str, options: str, given_texts: list[str]
) -> None:
    try:
        compiled = compile_regex(regex, options)
    except RegexError:
        return
    flags = (re.IGNORECASE if "i" in options else 0) | (re.DOTALL if "s" in options else 0)
    warnings.simplefilter("ignore", FutureWarning)  # of "[[", which both take for a class with "["
    reference = re.compile(with_absolute_ends(regex), flags)
    with connection.begin_nested() as savepoint:
        made: list[dict[str, Any]] = [
            {
                "job_status": "Failed",
                "model": t,
                "drift_detected": False,
                "tags": [],
                "parameters": {},
            }
            for t in given_texts
        ]
        rows = store.store(connection, connection.info["experiment"], made)
        found = set(ask(connection, {"model": {"$regex": regex, "$options": options}}))
        for job, (row, _) in zip(made, rows, strict=True):
            assert (
                (row["seq"] in found)
                == compiled.search(job["model"])
                == bool(reference.search(job["model"]))
            )
        savepoint.rollback()
