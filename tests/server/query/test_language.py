"""The query language over HTTP: what it finds, what it refuses, and how long it may take."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import event, text

from lenswatch.server.db.database import Database, QueryRefused
from lenswatch.server.http.services import Limits
from lenswatch.server.query.regex import RegexError, compile_regex

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


@pytest.mark.slow
def test_operators_on_values_and_their_members(search_values: Any) -> None:
    for query, expected in FOUND:
        assert search_values({"parameters.a": query}) == expected, query
        others = [value for value in VALUES if value not in expected]
        if isinstance(query, dict):
            assert search_values({"parameters.a": {"$not": query}}) == others, query


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.parametrize("options", ["m", "x", "im", 5, None])
def test_other_options_of_an_expression_are_refused_as_such(local: Any, options: Any) -> None:
    query = {"name": {"$regex": "a", "$options": options}}
    assert list(refusal_of(local, "/experiment/search", query)) == ["$options"]


LONG = "parameters.1.2.3.a.b.c.d"  # each position doubles the ways to go
WITHIN = {"$elemMatch": {"a.0": {"$elemMatch": {"b.c.d": {"$regex": "a.b"}}}}}  # as deep as may be


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
        {"parameters.1.2": {"$elemMatch": {"1.2.3": {"$elemMatch": {"1.2.3": 1}}}}},
    ],
)
def test_queries_that_would_cost_too_much_are_refused(local: Any, query: Any) -> None:
    drifts = f"/experiment/{local.experiment()['id']}/drift/search"
    for path in ("/user/search", "/experiment/search", drifts):
        [(_, [complaint])] = refusal_of(local, path, query).items()
        assert complaint.startswith("The query is too large: ")


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        {"$and": [{"model": {"$ne": str(n)}} for n in range(100)]},
        {"$nor": [{f"parameters.a{n}": n} for n in range(100)]},
        {"$nor": [{LONG: {"$gt": n}} for n in range(7)]},
        {LONG: {"$nin": list(range(200))}, "model": {"$nin": [str(n) for n in range(200)]}},
        {"$or": [{}] * 199},
        {"$nor": [{"$and": [{"$or": [{"parameters.a.0": {"$not": {"$not": WITHIN}}}]}]}]},
        {"$nor": [{"$and": [{"$or": [{"$and": [{"$nor": [{"$nor": [{"tags.a.0": WITHIN}]}]}]}]}]}]},
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
    within = {"parameters.a": {"$elemMatch": {"$elemMatch": {"$elemMatch": {"$gt": 1}}}}}
    long = {"parameters.a": list(range(401))}
    for query in (deep, wide, within, {"parameters.a": nested}, long):
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


ENDLESS = {  # for all that a test can wait for
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e9)"
    " SELECT sum(i) FROM n",
    "postgresql": "SELECT pg_sleep(300)",
}


def test_a_statement_stops_at_its_deadline(database_url: str) -> None:
    database = Database(database_url)
    statement = text(ENDLESS[database.engine.dialect.name])
    with (
        pytest.raises(QueryRefused, match="takes too long"),
        database.read() as connection,
        database.limited(connection, 0.2),
    ):
        connection.execute(statement)
    with database.read() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    database.close()


@pytest.mark.parametrize(
    "operation",
    [
        "POST /user/search",
        "POST /experiment/search",
        "POST /experiment/E/drift/search",
        "GET /experiment/E/series",
        "GET /experiment/E/streams",
    ],
)
def test_every_search_has_its_time(root: Any, operation: str) -> None:
    """The statement that finds the records of an answer does not end here."""
    experiment = root.experiment()
    root.drift(experiment)
    method, path = operation.replace("/E/", f"/{experiment['id']}/").split()
    options: dict[str, Any] = {"json": {}} if method == "POST" else {}
    assert root(method, path, **options).status_code == 200

    def replace(_c: Any, _u: Any, statement: str, parameters: Any, *_: Any) -> Any:
        return (endless, ()) if "ORDER BY" in statement else (statement, parameters)

    engine = root.client.app.state.services.database.engine
    endless = ENDLESS[engine.dialect.name]
    event.listen(engine, "before_cursor_execute", replace, retval=True)
    root.client.app.state.services.limits = Limits(query_seconds=0.2)
    answer = root(method, path, **options)
    assert answer.status_code == 422, answer.text
    [errors] = answer.json()["errors"].values()
    assert errors == {"_schema": ["The query takes too long."]}
