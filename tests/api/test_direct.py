"""The direct way to the workers, and DEEPaaS' own reading of arguments as its oracle."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from typing import Any

import pytest
import webargs.core
from aiohttp import StreamReader, web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lenswatch.api.direct import Direct
from lenswatch.api.forms import read_form
from lenswatch.api.predicting import _complaint
from lenswatch.api.schemas import predict_fields
from webargs.aiohttpparser import parser

from lenswatch.errors import InputError

# The class of field that deepaas-cli needs.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*:marshmallow.warnings.ChangedInMarshmallow4Warning"
)

KIND = {"Content-Type": "multipart/form-data; boundary=x"}


class Pool:
    """A pool that carries out calls in this process."""

    async def apply(self, fn: Any) -> dict[str, Any]:
        return {"output": fn()}


class Model:
    @staticmethod
    def predict(**arguments: Any) -> dict[str, Any]:
        upload = arguments["input_file"]
        path = Path(upload.filename)
        found = {"bytes": path.read_bytes().decode(), "name": upload.original_filename}
        path.unlink()
        return found | {"stream": arguments["stream"]}


def direct() -> Direct:
    return Direct(Model, Pool())  # type: ignore[arg-type]


def request_of(fields: dict[str, str], *, picture: bool = True) -> web.Request:
    """Return a request with a form; it needs a running loop."""
    lines = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    if picture:
        head = '--x\r\nContent-Disposition: form-data; name="input_file"; filename="a.jpg"'
        lines.append(f"{head}\r\n\r\npixels\r\n")
    request = make_mocked_request("POST", "/", KIND)
    payload = StreamReader(request.protocol, 2**20, loop=asyncio.get_running_loop())
    payload.feed_data("".join([*lines, "--x--\r\n"]).encode())
    payload.feed_eof()
    return make_mocked_request("POST", "/", KIND, payload=payload)


numbers = st.sampled_from(["0.25", "", "nan", "inf", "1e999", "x", " 1 ", "-3"])
fields = st.fixed_dictionaries(
    {},
    optional={
        "stream": st.sampled_from(["pier", "", "Pier", "a" * 65, "ü"]),
        "drift_distance": numbers,
        "warning_distance": numbers,
        "event_id": st.sampled_from(["e1", "", "a b", "ü"]),
        "captured_at": st.sampled_from(
            [
                "2026-06-01T10:00:00Z",
                "2026-06-01T10:00:00",
                "yesterday",
                "",
                "0001-01-01T00:00:00+14:00",
            ]
        ),
        "accept": st.just("application/json"),
    },
)


@example({}, True)
@example({"stream": "Pier", "drift_distance": "x"}, False)
@given(fields, st.booleans())
@settings(max_examples=100, deadline=None)
def test_arguments_are_those_that_deepaas_reads(given: dict[str, str], picture: bool) -> None:
    async def as_deepaas() -> Any:
        schema = webargs.core.dict2schema(predict_fields())
        try:
            return await parser.parse(schema, request_of(given, picture=picture))
        except web.HTTPClientError as error:
            return _complaint(error)

    async def directly() -> Any:
        try:
            return direct().arguments(await read_form(request_of(given, picture=picture)))
        except InputError as error:
            return str(error)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, found = asyncio.run(as_deepaas()), asyncio.run(directly())
    if isinstance(expected, str):
        assert sorted(found.split("; ")) == sorted(expected.split("; "))
        return
    for arguments in (expected, found):
        with arguments.pop("input_file").file as file:
            assert file.read() == b"pixels"
    assert found == dict(expected)


def test_an_upload_is_passed_as_a_file_and_its_answer_is_json() -> None:
    async def run() -> web.StreamResponse:
        arguments = direct().arguments(await read_form(request_of({"stream": "pier"})))
        with arguments["input_file"].file:
            return await direct().answer(arguments, make_mocked_request("POST", "/"))

    reply = asyncio.run(run())
    assert isinstance(reply, web.Response)
    assert reply.text == '{"bytes": "pixels", "name": "a.jpg", "stream": "pier"}'
    assert reply.content_type == "application/json"


@pytest.mark.parametrize(
    ("path", "kind", "taken"),
    [
        ("/", "multipart/form-data; boundary=x", True),
        ("/?stream=pier", "multipart/form-data; boundary=x", False),
        ("/", "application/json", False),
    ],
)
def test_only_forms_without_a_query_go_directly(path: str, kind: str, taken: bool) -> None:
    class Wrapper:
        model_obj = Model

    class Handler:
        model_obj = Wrapper

        async def post(self, request: web.Request) -> web.Response:
            raise AssertionError(request)

    seen = []

    async def run() -> None:
        @web.middleware
        async def look(request: web.Request, handler: Any) -> web.Response:
            del handler
            seen.append(direct().takes(request))
            return web.Response()

        app = web.Application(middlewares=[look])
        app.router.add_post("/", Handler().post)
        async with TestClient(TestServer(app)) as client:
            await client.post(path, data=b"", headers={"Content-Type": kind})
            await client.post("/nowhere", data=b"", headers={"Content-Type": kind})

    asyncio.run(run())
    assert seen == [taken, False]
