"""Forms (multipart/form-data) that are read from the bytes of a whole body.

The usual form, as curl, requests and browsers send it, is split at its boundary. Any other one goes through
aiohttp's reader, which takes every form, line by line, and three times as long.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from aiohttp import BodyPartReader, MultipartReader, StreamReader, hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy, MultiDict

__all__ = ["Field", "read_form", "split_form"]

Field = str | bytearray | web.FileField

MOST_FIELDS = 100  # more are left to aiohttp, and refused as unknown then
_BOUNDARY = re.compile(r"multipart/form-data; ?boundary=\"?([0-9A-Za-z'()+_./:=?-]{1,70})\"?\Z")
_NAME = rb"[0-9A-Za-z_]+"
_FILE = rb"[0-9A-Za-z_.()+, -]+"  # without escapes, and the same in every character set
_TYPE = rb"[0-9A-Za-z]+/[0-9A-Za-z.+-]+"
_HEAD = re.compile(
    rb'\r\nContent-Disposition: form-data; name="(' + _NAME + rb')"'
    rb'(?:; filename="(' + _FILE + rb')")?'
    rb"(?:\r\nContent-Type: (" + _TYPE + rb"))?\r\n\r\n",
    re.IGNORECASE,
)


async def read_form(request: web.Request) -> MultiDict[Field]:
    """Return the fields of a form, as `request.post()` does.

    Raises:
        HTTPRequestEntityTooLarge: The body is larger than the request may be.
        ValueError: The form is damaged, or has a part that is no field.
    """
    body = await request.read()
    fields = split_form(request.headers.get(hdrs.CONTENT_TYPE, ""), body)
    return MultiDict(fields) if fields is not None else await _read_any(request, body)


def split_form(content_type: str, body: bytes) -> list[tuple[str, Field]] | None:
    r"""Return the fields of a usual form in their order; None for any other form.

    >>> body = b'--x\r\nContent-Disposition: form-data; name="stream"\r\n\r\npier\r\n--x--\r\n'
    >>> split_form("multipart/form-data; boundary=x", body)
    [('stream', 'pier')]
    """
    found = _BOUNDARY.match(content_type)
    if found is None:
        return None
    try:
        return list(_parts(b"--" + found[1].encode(), body))
    except ValueError:  # of a character set too
        return None


def _parts(mark: bytes, body: bytes) -> Iterator[tuple[str, Field]]:
    """Yield names and values.

    Raises:
        ValueError: The form is not a usual one.
    """
    if not body.startswith(mark):
        raise ValueError("something before the first field")
    at, end = len(mark), b"\r\n" + mark
    for _ in range(MOST_FIELDS):
        head = _HEAD.match(body, at)
        after = -1 if head is None else body.find(end, head.end())
        if head is None or after < 0:
            raise ValueError("an unusual field")
        yield _field(head, body[head.end() : after])
        at = after + len(end)
        if body[at:] in (b"--\r\n", b"--"):
            return
    raise ValueError("very many fields")


def _field(head: re.Match[bytes], value: bytes) -> tuple[str, Field]:
    name = head[1].decode()
    if head[2] is None:
        if head[3] is not None:
            raise ValueError("text of a type")
        return name, value.decode()
    kind = b"application/octet-stream" if head[3] is None else head[3]
    headers = CIMultiDict({hdrs.CONTENT_TYPE: kind.decode()})
    file = io.BytesIO(value)
    return name, web.FileField(
        name, head[2].decode(), file, kind.decode(), CIMultiDictProxy(headers)
    )


async def _read_any(request: web.Request, body: bytes) -> MultiDict[Field]:
    """Read a form by aiohttp's own reader, as `request.post()` does."""
    stream = StreamReader(request.protocol, len(body) + 1)  # which never pauses the connection
    stream.feed_data(body)
    stream.feed_eof()
    reader = MultipartReader(request.headers, stream)
    fields: MultiDict[Field] = MultiDict()
    while (part := await reader.next()) is not None:
        if not (isinstance(part, BodyPartReader) and part.name is not None):
            raise ValueError("a form within a form, or a field without a name")
        value = await part.read(decode=True)
        kind = part.headers.get(hdrs.CONTENT_TYPE)
        if part.filename:
            known = kind or "application/octet-stream"
            file = io.BytesIO(value)
            fields.add(
                part.name, web.FileField(part.name, part.filename, file, known, part.headers)
            )
        elif kind is None or kind.startswith("text/"):
            fields.add(part.name, bytes(value).decode(part.get_charset(default="utf-8")))
        else:
            fields.add(part.name, bytearray(value))
    return fields
