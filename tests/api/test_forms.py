"""Forms read from a whole body, and aiohttp's own reader as their oracle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest
from aiohttp import StreamReader, web
from aiohttp.test_utils import make_mocked_request
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lenswatch.api.forms import read_form, split_form

BOUNDARY = "a-b"
KIND = f"multipart/form-data; boundary={BOUNDARY}"

names = st.sampled_from(["stream", "input_file", "", "a b", 'a"b', "ü", "captured_at"])
files = st.sampled_from(
    [None, "a.jpg", "", "a (1), b.jpg", 'a\\"b.jpg', "ü.jpg", "%22.jpg", "a;b.jpg"]
)
types = st.sampled_from(
    [None, "image/jpeg", "text/plain", "text/plain; charset=latin-1", "application/json", "x"]
)
values = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [b"pier", b"\r\n--a-b", b"\r\n--a-bc", b"\r\n--a-b--", b"--a-b", b"\xff\xd8\r\n"]
    ),
)
parts = st.lists(st.tuples(names, files, types, values), max_size=4)
heads = st.sampled_from(["", "preamble\r\n", "\r\n", "--a-b--\r\n"])
ends = st.sampled_from(["--\r\n", "--", "", "\r\n", "--\r\nepilogue", "-- \r\n", "x--\r\n"])


def body_of(fields: list[tuple[str, str | None, str | None, bytes]], head: str, end: str) -> bytes:
    found = [head.encode()]
    for name, file, kind, value in fields:
        lines = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
        lines += "" if file is None else f'; filename="{file}"'
        lines += "" if kind is None else f"\r\nContent-Type: {kind}"
        found += [f"{lines}\r\n\r\n".encode(), value, b"\r\n"]
    return b"".join([*found, f"--{BOUNDARY}{end}".encode()])


def read(
    reader: Callable[[web.Request], Coroutine[Any, Any, Any]], body: bytes, kind: str = KIND
) -> Any:
    """Return what a reader finds, or the class of its error."""

    async def run() -> Any:
        request = make_mocked_request("POST", "/", {"Content-Type": kind})
        payload = StreamReader(request.protocol, 2**20, loop=asyncio.get_running_loop())
        payload.feed_data(body)
        payload.feed_eof()
        request = make_mocked_request("POST", "/", {"Content-Type": kind}, payload=payload)
        try:
            found = await reader(request)
        except Exception as error:
            return ValueError if isinstance(error, ValueError) else type(error)
        return [(name, plain(value)) for name, value in found.items()]

    return asyncio.run(run())


def plain(value: Any) -> Any:
    if isinstance(value, web.FileField):
        with value.file:
            return value.name, value.filename, value.content_type, value.file.read()
    return value


# aiohttp leaves its temporary files open when a form is damaged.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@example(
    [("stream", None, None, b"pier"), ("input_file", "a.jpg", None, b"\xff\xd8")], "", "--\r\n"
)
@example([("stream", None, None, b"\xff")], "", "--\r\n")
@given(parts, heads, ends)
@settings(max_examples=150, deadline=None)
def test_every_form_is_read_as_by_aiohttp(fields: Any, head: str, end: str) -> None:
    body = body_of(fields, head, end)
    assert read(read_form, body) == read(web.Request.post, body)


@pytest.mark.parametrize("boundary", [BOUNDARY, f'"{BOUNDARY}"'])
def test_a_usual_form_is_split_without_aiohttps_reader(boundary: str) -> None:
    picture = bytes(range(256)) * 40
    body = body_of(
        [("stream", None, None, b"pier"), ("input_file", "a (1).jpg", "image/jpeg", picture)],
        "",
        "--\r\n",
    )
    found = split_form(f"multipart/form-data; boundary={boundary}", body)
    assert found is not None
    assert [(name, plain(value)) for name, value in found] == [
        ("stream", "pier"),
        ("input_file", ("input_file", "a (1).jpg", "image/jpeg", picture)),
    ]


def test_the_forms_of_known_clients_are_usual_ones() -> None:
    """requests' by its own encoder, aiohttp's by its own: curl writes them as requests does."""
    import requests

    sent = requests.Request(
        "POST", "http://x", data={"stream": "pier"}, files={"input_file": ("a.jpg", b"\xff\xd8")}
    ).prepare()
    assert isinstance(sent.body, bytes)
    assert split_form(sent.headers["Content-Type"], sent.body) is not None

    form = aiohttp.FormData({"stream": "pier"})
    form.add_field("input_file", b"\xff\xd8", filename="a.jpg", content_type="image/jpeg")

    async def written() -> tuple[str, bytes]:
        payload = form()
        return payload.headers["Content-Type"], await payload.as_bytes()

    kind, body = asyncio.run(written())
    assert read(read_form, body, kind) == read(web.Request.post, body, kind)
