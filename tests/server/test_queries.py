"""The query language: SQL on both databases answers as a plain evaluation in Python does."""

from __future__ import annotations

import json
import operator
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select

from lenswatch.server import jobs, search
from lenswatch.server.bodies import storable
from lenswatch.server.database import Database
from lenswatch.server.models import cursors, drifts, experiments
from lenswatch.server.queries import parse_query
from lenswatch.server.regex import RegexError, compile_regex

# ---- the plain evaluation -------------------------------------------------------------------------

EXAMPLES = settings().max_examples  # more with --hypothesis-profile
COMPARE = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
EQUAL = ("$eq", "$gte", "$lte")  # to null, for which there is no less and no greater
MISSING = object()


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return type(value).__name__


def same(left: Any, right: Any) -> bool:
    if kind(left) != kind(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


def reach(document: dict[str, Any], path: list[str]) -> list[Any]:
    """Everything that a dotted path leads to, and MISSING for each way that ends too early.

    After MongoDB's rules: of an array's members only objects are looked into, or the one at a position.
    """
    value: Any = document
    for i, key in enumerate(path):
        if not isinstance(value, dict) or key not in value:
            return [MISSING]
        value = value[key]
        if isinstance(value, list) and path[i + 1 :]:
            return reach_into(value, path[i + 1 :])
    return [value]


def reach_into(array: list[Any], path: list[str]) -> list[Any]:
    found: list[Any] = []
    for i, item in enumerate(array):
        if isinstance(item, dict):
            found += reach(item, path)
        if path[0] != str(i):
            continue
        if len(path) == 1:
            found.append(item)
        elif isinstance(item, dict):
            found += reach(item, path[1:])
        elif isinstance(item, list):
            found += reach_into(item, path[1:])
    return found


def holds(value: Any, name: str, wanted: Any, options: str) -> bool:
    """One operator on one value, members not looked at."""
    if value is MISSING:
        return (name == "$in" and None in wanted) or (wanted is None and name in EQUAL)
    if wanted is None and name in EQUAL:
        return value is None
    if name == "$eq":
        return same(value, wanted)
    if name == "$in":
        return any(same(value, w) for w in wanted)
    if name in COMPARE:
        return kind(value) == kind(wanted) and COMPARE[name](value, wanted)
    if name == "$regex":
        flags = re.IGNORECASE if "i" in options else 0
        return isinstance(value, str) and bool(re.search(wanted, value, flags))
    if name == "$size":
        return isinstance(value, list) and len(value) == wanted
    if name == "$elemMatch":
        if all(key.startswith("$") for key in wanted) and wanted:
            return isinstance(value, list) and any(
                operators([v], wanted, deep=False) for v in value
            )
        objects = [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []
        return any(matches(v, wanted) for v in objects)
    raise AssertionError(name)


def operators(values: list[Any], tests: dict[str, Any], deep: bool = True) -> bool:
    return all(
        one(values, name, wanted, tests.get("$options", ""), deep)
        for name, wanted in tests.items()
        if name != "$options"
    )


def one(values: list[Any], name: str, wanted: Any, options: str, deep: bool) -> bool:
    if name == "$not":
        return not operators(values, wanted, deep)
    if name == "$ne":
        return not one(values, "$eq", wanted, options, deep)
    if name == "$nin":
        return not one(values, "$in", wanted, options, deep)
    if name == "$exists":
        return any(value is not MISSING for value in values) == bool(wanted)
    if name == "$all":
        each = [w if kind(w) == "dict" and "$elemMatch" in w else {"$eq": w} for w in wanted]
        return bool(wanted) and all(operators(values, test, deep) for test in each)
    members = name in ("$eq", "$in", "$regex", *COMPARE) and deep
    candidates = list(values)
    for value in values:
        if members and isinstance(value, list):
            candidates += value
    return any(holds(value, name, wanted, options) for value in candidates)


def matches(document: Any, query: dict[str, Any]) -> bool:
    for key, wanted in query.items():
        if key == "$and":
            held = all(matches(document, q) for q in wanted)
        elif key == "$or":
            held = any(matches(document, q) for q in wanted)
        elif key == "$nor":
            held = not any(matches(document, q) for q in wanted)
        else:
            values = reach(document, key.split("."))
            tests = (
                wanted
                if isinstance(wanted, dict) and any(k[0] == "$" for k in wanted)
                else {"$eq": wanted}
            )
            held = operators(values, tests)
        if not held:
            return False
    return True


# ---- random documents and queries -----------------------------------------------------------------

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


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(records, min_size=1, max_size=4), st.lists(queries, min_size=1, max_size=4))
def test_sql_answers_as_python_does(connection: Connection, documents: Any, asked: Any) -> None:
    with connection.begin_nested() as savepoint:
        rows = jobs.store(
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


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
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


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
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
        made = [
            {
                "job_status": "Failed",
                "model": t,
                "drift_detected": False,
                "tags": [],
                "parameters": {},
            }
            for t in given_texts
        ]
        rows = jobs.store(connection, connection.info["experiment"], made)
        found = set(ask(connection, {"model": {"$regex": regex, "$options": options}}))
        for job, (row, _) in zip(made, rows, strict=True):
            assert (
                (row["seq"] in found)
                == compiled.search(job["model"])
                == bool(reference.search(job["model"]))
            )
        savepoint.rollback()


REFUSED = {
    "$where": {"$where": "sleep(1000)"},
    "$expr": {"$expr": {"$function": {}}},
    "$function": {"parameters.a": {"$function": "x"}},
    "$jsonSchema": {"$jsonSchema": {}},
    "$text": {"$text": {"$search": "a"}},
    "$type": {"parameters.a": {"$type": "string"}},
    "$mod": {"parameters.a": {"$mod": [2, 0]}},
    "$and": {"$and": []},
    "$or": {"$or": {"a": 1}},
    "$nor": {"$nor": [1]},
    "$in": {"parameters.a": {"$in": 1}},
    "$nin": {"parameters.a": {"$nin": list(range(201))}},
    "$all": {"tags": {"$all": "a"}},
    "$size": {"tags": {"$size": -1}},
    "$exists": {"tags": {"$exists": "yes"}},
    "$gt": {"parameters.a": {"$gt": [1]}},
    "$lte": {"parameters.a": {"$lte": {"b": 1}}},
    "$not": {"parameters.a": {"$not": 1}},
    "$elemMatch": {"parameters.a": {"$elemMatch": 1}},
    "$options": {"model": {"$options": "i"}},
    "$regex": {"model": {"$regex": "(a"}},
    "a..b": {"a..b": 1},
    "parameters.$where": {"parameters.$where": 1},
    "parameters.a": {"parameters.a": float("inf")},
    "$eq": {"parameters.a": {"$eq": 2**63}},
    "created_at": {"created_at": {"$gt": "yesterday"}},
    ".".join("abcdefghi"): {".".join("abcdefghi"): 1},
    "a.0.1.2.3": {"a.0.1.2.3": 1},
}


# Queries on `parameters.a`, and which values of it they find; "gone" is a job without it.
FOUND: list[tuple[Any, list[Any]]] = [
    ({"$eq": None}, ["gone", None, [1, None]]),
    ({"$gte": None}, ["gone", None, [1, None]]),
    ({"$gt": None}, []),
    ({"$in": [None, 7]}, ["gone", None, 7, [1, None], [7, "x"]]),
    ({"$exists": False}, ["gone"]),
    ({"$all": [{"$elemMatch": {"$gte": 5}}]}, [[7, "x"]]),
    ({"$all": [{"$elemMatch": {"b": 1}}, {"$elemMatch": {"c": 2}}]}, [[{"b": 1}, {"c": 2}]]),
    ({"$size": 1}, [[[1, 8]], ["y"]]),
    ({"$elemMatch": {"$gte": 1, "$not": {"$gt": 3}}}, [[1, None]]),
    ({"$elemMatch": {"$elemMatch": {"$gte": 5}}}, [[[1, 8]]]),
    ({"$elemMatch": {"$ne": 1, "$eq": [1, 8]}}, [[[1, 8]]]),
    (["x", 7], []),
    ([7, "x"], [[7, "x"]]),
    ([1, 8], [[[1, 8]]]),
    ({"$gt": "w"}, ["x", [7, "x"], ["y"]]),
    ({"$lt": 8}, [7, [1, None], [7, "x"]]),
    ({"$lt": "8"}, ["7"]),
    ({"$regex": "^[xy]$"}, ["x", [7, "x"], ["y"]]),
]
PLACES: list[tuple[str, list[Any]]] = [  # paths below `parameters`, and where they lead to null
    ("a.b", ["gone", None, 7, "7", "x", [{"b": 1}, {"c": 2}]]),
    ("a.0", ["gone", None, 7, "7", "x", [{"b": 1}, {"c": 2}]]),
    ("a.1", ["gone", None, 7, "7", "x", [1, None], [{"b": 1}, {"c": 2}]]),
    ("a.0.b", ["gone", None, 7, "7", "x", [{"b": 1}, {"c": 2}]]),
    ("a.00", ["gone", None, 7, "7", "x", [{"b": 1}, {"c": 2}]]),
]
VALUES = ["gone", None, 7, "7", "x", [], [1, None], [7, "x"], [[1, 8]], [{"b": 1}, {"c": 2}], ["y"]]


@pytest.fixture
def search_values(local: Any) -> Any:
    """Asks for jobs, and gives what their parameters say of `a`."""
    pier = local.experiment()
    for value in VALUES:
        local.drift(pier, parameters={} if value == "gone" else {"a": value})

    def ask_for(query: Any) -> list[Any]:
        answer = local.search(pier, query, order_by="asc", page_size=100)
        assert answer.status_code == 200, answer.text
        return [job["parameters"].get("a", "gone") for job in answer.json()]

    return ask_for


def test_operators_on_values_and_their_members(search_values: Any) -> None:
    for query, expected in FOUND:
        assert search_values({"parameters.a": query}) == expected, query
        others = [value for value in VALUES if value not in expected]
        if isinstance(query, dict):
            assert search_values({"parameters.a": {"$not": query}}) == others, query


def test_null_is_found_where_a_path_ends_too_early(search_values: Any) -> None:
    for path, expected in PLACES:
        found = search_values({f"parameters.{path}": None})
        assert found == expected, path
        others = [value for value in VALUES if value not in expected]
        assert search_values({f"parameters.{path}": {"$ne": None}}) == others, path


def test_records_by_their_columns(local: Any) -> None:
    pier = local.experiment()
    one, two = (local.drift(pier, model=model, tags=["a", "b"]) for model in ("one", "two"))
    for query, expected in (
        ({"id": {"$in": [one["id"], "x"]}}, [one]),
        ({"_id": {"$gt": max(one["id"], two["id"])}}, []),
        ({"$or": [{"id": one["id"]}, {"_id": two["id"]}]}, [one, two]),
        ({"model": {"$not": {"$regex": "^o"}}}, [two]),
        ({"tags": ["a", "b"]}, [one, two]),
        ({"tags": ["b", "a"]}, []),
        ({"created_at": {"$ne": one["created_at"]}}, [two]),
        ({"created_at": {"$in": [one["created_at"], "2025"]}}, [one]),
        ({"created_at": {"$not": {"$gt": "2025-10-17"}}}, []),
        ({"created_at": {"$gte": None}}, []),
    ):
        assert local.search(pier, query, order_by="asc").json() == expected, query


@pytest.mark.parametrize("number", [-(2**63), -float(2**63), 2**63 - 1024, 1e16, -1e16, 1e300])
def test_large_numbers_are_equal_whatever_they_were_written_as(local: Any, number: Any) -> None:
    pier = local.experiment()
    job = local.drift(pier, parameters={"n": number})
    other = float(number) if isinstance(number, int) or abs(number) > 2**63 else int(number)
    for asked in (number, other):
        for query in (asked, {"$gte": asked, "$lte": asked}, {"$in": [asked]}):
            assert local.search(pier, {"parameters.n": query}).json() == [job], asked


def test_an_experiment_is_found_by_a_name_of_any_length(local: Any) -> None:
    reef = local.experiment("reef " * 2000)
    assert local.post("/experiment", json={"name": reef["name"]}).status_code == 409
    assert local.post("/experiment/search", json={"name": reef["name"]}).json() == [reef]


@pytest.mark.parametrize("name", ["$in", "$nin", "$all"])
def test_lists_hold_values_and_no_operators(local: Any, name: str) -> None:
    query = {"parameters.a": {name: [1, {"$gt": 1}]}}
    drifts = f"/experiment/{local.experiment()['id']}/drift/search"
    assert list(refusal_of(local, drifts, query)) == [name]


def refusal_of(api: Any, path: str, query: Any) -> Any:
    """The complaints of a 422."""
    headers = {"Content-Type": "application/json"}
    answer = api.post(path, content=json.dumps(query), headers=headers)
    assert answer.status_code == 422, answer.text
    assert set(answer.json()) == {"code", "status", "errors"}
    return answer.json()["errors"]["json"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused_by_name(local: Any, name: str) -> None:
    paths = ("/user/search", "/experiment/search")
    drifts = f"/experiment/{local.experiment()['id']}/drift/search"
    for path in (*paths, drifts):
        assert list(refusal_of(local, path, REFUSED[name])) == [name]
        assert list(refusal_of(local, path, {"$or": [{"model": "a"}, REFUSED[name]]})) == [name]


LONG = "parameters.1.2.3.a.b.c.d"  # each position doubles the ways to go


@pytest.mark.parametrize(
    "query",
    [
        {f"parameters.a{n}": {"$in": []} for n in range(101)},
        {f"parameters.a{n}": {"$all": []} for n in range(101)},
        {"$and": [{}] * 201},
        {"$or": [{"$nor": [{}] * 50}] * 5},
        {"$or": [{"permissions.entity": {"$nin": []}}] * 101},
        {"parameters.a": {"$in": [[0] * 300, [1] * 200]}},
        {"$and": [{LONG: {"$gt": n}} for n in range(8)]},
        {"parameters.1.2": {"$elemMatch": {"1.2": {"$elemMatch": {"1.2.3": {"$elemMatch": {}}}}}}},
    ],
)
def test_queries_that_would_cost_too_much_are_refused(local: Any, query: Any) -> None:
    drifts = f"/experiment/{local.experiment()['id']}/drift/search"
    for path in ("/user/search", "/experiment/search", drifts):
        [(_, [text])] = refusal_of(local, path, query).items()
        assert text.startswith("The query is too large: ")


@pytest.mark.parametrize(
    "query",
    [
        {"$and": [{"model": {"$ne": str(n)}} for n in range(100)]},
        {"$nor": [{f"parameters.a{n}": n} for n in range(100)]},
        {"$nor": [{LONG: {"$gt": n}} for n in range(7)]},
        {LONG: {"$nin": list(range(200))}, "model": {"$nin": [str(n) for n in range(200)]}},
        {"$or": [{}] * 199},
    ],
)
def test_the_largest_queries_that_are_taken_find_what_they_ask_for(local: Any, query: Any) -> None:
    pier = local.experiment()
    job = local.drift(pier)
    assert local.search(pier, query).json() == [job]


def test_lists_without_values(local: Any) -> None:
    pier = local.experiment()
    job = local.drift(pier, tags=["a"])
    for field in ("tags", "model", "parameters.x", "drift_detected", "created_at"):
        assert local.search(pier, {field: {"$nin": []}}).json() == [job]
        for name in ("$in", "$all"):
            assert local.search(pier, {field: {name: []}}).json() == []


def test_deep_and_large_queries_are_refused(local: Any) -> None:
    deep: dict[str, Any] = {"model": "a"}
    for _ in range(12):
        deep = {"$and": [deep]}
    wide = {"$or": [{"model": str(i)} for i in range(101)]}
    nested: Any = 1
    for _ in range(70):
        nested = [nested]
    drifts = f"/experiment/{local.experiment()['id']}/drift/search"
    for query in (deep, wide, {"parameters.a": nested}, {"parameters.a": list(range(401))}):
        for path in ("/user/search", "/experiment/search", drifts):
            assert refusal_of(local, path, query)


@pytest.mark.parametrize(
    "regex",
    [
        r"(a)\1",
        "(?=a)",
        "(?!a)",
        "(?<=a)b",
        "(?i)a",
        r"\bword",
        "a{101}",
        "a{2,1}",
        "[b-a]",
        "a**",
        "*a",
        "(",
        ")",
        "[a",
        "\\",
    ],
)
def test_expressions_outside_the_subset_are_refused(local: Any, regex: str) -> None:
    with pytest.raises(RegexError):
        compile_regex(regex)
    for query in ({"name": {"$regex": regex}}, {"a": {"$not": {"$regex": regex}}}):
        assert list(refusal_of(local, "/experiment/search", query)) == ["$regex"]


@pytest.mark.parametrize(
    ("regex", "found"),
    [
        (".?" * 200 + "[\\n]", False),
        ("^" + "(a?)" * 60 + "[bc]", False),
        ("^" + "(a|a?)" * 60 + "[bc]", False),
        ("((((((){100}){100}){100}){100}){100}){100}", True),
        ("(((a{0}|()){100}){100}){100}$", True),
        ("((()*)*)*", True),
    ],
)
def test_no_expression_makes_a_search_long(local: Any, regex: str, found: bool) -> None:
    reef = local.experiment("a" * 44)
    answer = local.post("/experiment/search", json={"name": {"$regex": regex}})
    assert answer.json() == ([reef] if found else [])


def test_no_expression_takes_long() -> None:
    text = "a" * 50_000
    for regex in ("(a*)*b", "(a|a)*b", "(a|aa)+$b", "a*a*a*a*b", "((a{0,20}){0,2})*b"):
        assert not compile_regex(regex).search(text)


@pytest.mark.parametrize("what", ["user", "experiment"])
def test_every_search_has_its_time(
    root: Any, issuer: Any, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lenswatch.server import operations

    field = {"user": "email", "experiment": "name"}[what]
    for n in range(3):
        text = "a" * 20_000 + str(n)
        if what == "experiment":
            root.experiment(text)
        else:
            token = issuer.account(f"user {n}", "user", email=text)
            assert root.as_(token).post("/user").status_code == 201
    query = {"$or": [{field: {"$regex": f"(a*)*b{n}"}} for n in range(6)]}
    assert root.post(f"/{what}/search", json=query).json() == []
    monkeypatch.setattr(operations, "QUERY_SECONDS", 0.001)
    answer = root.post(f"/{what}/search", json=query)
    assert answer.status_code == 422
    assert answer.json()["errors"] == {"json": {"_schema": ["The query takes too long."]}}


def test_an_expression_stops_at_its_deadline() -> None:
    from lenswatch.server.regex import RegexTimeout

    with pytest.raises(RegexTimeout):
        compile_regex("a").search("b" * 100_000, deadline=0.0)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.text(alphabet="ab.^$*+?{}2,[]-\\d|()", max_size=8),
    st.text(alphabet="abAB2.\n-", max_size=5),
)
def test_the_quick_way_and_the_sure_way_agree(regex: str, text: str) -> None:
    try:
        compiled = compile_regex(regex)
    except RegexError:
        return
    padding = "\x01" * 600  # too long for the quick way
    anchored = any(sign in regex for sign in "^$")
    if not anchored and "[^" not in regex and "." not in regex and "\\D" not in regex:
        assert compiled.search(text) == compiled.search(text + padding)
