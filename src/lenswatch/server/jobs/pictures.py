"""Pictures of drift jobs: checked, scaled down, and encoded again unless they are small and plain already."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marshmallow import fields
from PIL import ExifTags, Image
from PIL.Image import Transpose
from sqlalchemy import Connection, bindparam, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from starlette.responses import Response

from lenswatch.server.db.prepared import Prepared
from lenswatch.server.db.tables import pictures, streams
from lenswatch.server.experiments.api import require
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.records import Count, Record
from lenswatch.server.jobs.api import find_drift
from lenswatch.server.jobs.plain_jpeg import plain_size
from lenswatch.server.jobs.storage import pictures_stored
from lenswatch.server.jobs.store import lock
from lenswatch.server.values.refusals import Refusal, invalid, not_found

__all__ = [
    "FORMATS",
    "StoredPicture",
    "check_type",
    "keep_picture",
    "keep_pictures",
    "operations",
    "picture_answer",
    "scale",
    "thumbnail",
]

LONGEST_SIDE = 512
MAX_PIXELS = 64_000_000
MAX_UNPACKED = 25_000_000  # pixels in memory; a baseline JPEG is scaled while it is read
FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
_QUALITY = 85
_JPEG = "image/jpeg"
# Exceptions of Pillow for a broken file.
_BROKEN = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError),
    *(LookupError, ArithmeticError, AssertionError, struct.error),
)
_TURNS: dict[Any, Transpose] = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}

operations = Operations()


class PictureRecord(Record):
    """A stored picture."""

    id = fields.UUID()
    media_type = fields.String()
    etag = fields.String()
    width = Count()
    height = Count()
    bytes = Count()


@dataclass(frozen=True)
class StoredPicture:
    """A JPEG as it is stored."""

    data: bytes
    width: int
    height: int

    @property
    def etag(self) -> str:
        """A digest of the bytes."""
        return hashlib.sha256(self.data).hexdigest()[:32]


def thumbnail(data: bytes) -> StoredPicture:
    """Return `data`, a JPEG, PNG or WebP, as a JPEG of at most 512 px a side, upright and without metadata.

    One that is such a JPEG already stays as it is.

    Raises:
        Refusal: 422 if it is no picture, or too large.
    """
    plain = plain_size(data)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(data), formats=list(FORMATS.values())) as image,
        ):
            if plain is not None and max(plain) <= LONGEST_SIDE and image.size == plain:
                image.draft(
                    "L", (1, 1)
                )  # an eighth of the size, in grey: enough to see that it can
                image.load()
                return StoredPicture(bytes(data), *plain)
            if image.width * image.height > MAX_PIXELS:
                raise _refuse(f"Over {MAX_PIXELS:,} pixels.")
            if not image.info.get("progressive"):  # Pillow unpacks those in full
                image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
            if image.width * image.height > MAX_UNPACKED:
                raise _refuse(f"Over {MAX_UNPACKED:,} pixels; only a baseline JPEG may be larger.")
            return _written(_upright(_scaled(image)))
    except (*_BROKEN, Image.DecompressionBombError):
        raise _refuse("Not a readable JPEG, PNG or WebP image.") from None


def _scaled(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits; a JPEG has 8
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return image


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except _BROKEN:
        turn = None
    return image if turn is None else image.transpose(turn)


def _written(image: Image.Image) -> StoredPicture:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    target = io.BytesIO()
    image = image.convert("RGB")
    image.info = {}  # of which Pillow would write the comment
    image.save(target, "JPEG", quality=_QUALITY)
    return StoredPicture(target.getvalue(), image.width, image.height)


def _refuse(text: str) -> Refusal:
    return invalid("image", {"_schema": [text]})


def check_type(call: Call) -> None:
    """Raise a Refusal (415) unless the body is said to be of a format that is read."""
    kind = call.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in FORMATS:
        raise Refusal(415, f"Send one of {', '.join(FORMATS)}.")


def _authorize(call: Call) -> None:
    check_type(call)
    find_drift(call, require("Edit", call))


def scale(call: Call) -> None:
    """Replace the body, a picture, by what is stored of it."""
    call.body = thumbnail(call.body)


@operations.add(
    "PUT /experiment/{experiment_id}/drift/{drift_id}/image",
    who=Who.REGISTERED,
    accepts=tuple(FORMATS),
    authorize=_authorize,
    prepare=scale,
    writes=True,
    extension=True,
    returns=PictureRecord(),
    refusals=(401, 403, 404, 415, 422),
)
def put_image(call: Call) -> Response:
    """Store the picture of a job, scaled down to 512 px. It replaces an earlier one."""
    experiment = require("Edit", call)
    lock(call.connection, experiment["number"])
    drift = find_drift(call, experiment)
    return reply(keep_picture(call.connection, drift, call.body))


def keep_picture(
    connection: Connection, drift: Mapping[Any, Any], picture: StoredPicture
) -> dict[str, Any]:
    """Store the picture of a job, in place of an earlier one, and return a PictureRecord.

    Raises:
        Refusal: 404 if something else than this server deleted the job meanwhile.
    """
    keep_pictures(connection, [(drift, picture)])
    return {
        "id": drift["id"],
        "media_type": _JPEG,
        "etag": picture.etag,
        "width": picture.width,
        "height": picture.height,
        "bytes": len(picture.data),
    }


def keep_pictures(
    connection: Connection, kept: Sequence[tuple[Mapping[Any, Any], StoredPicture]]
) -> None:
    """Store the pictures of jobs of one experiment, in place of earlier ones; of one job the last counts.

    Raises:
        Refusal: 404 if something else than this server deleted one of the jobs meanwhile.
    """
    newest = {drift["number"]: (drift, picture) for drift, picture in kept}
    if not newest:
        return
    rows = [
        {
            "drift": number,
            "media_type": _JPEG,
            "etag": picture.etag,
            "width": picture.width,
            "height": picture.height,
            "data": picture.data,
        }
        for number, (_, picture) in newest.items()
    ]
    try:
        _put(connection, rows)
    except IntegrityError:
        raise not_found("Drift") from None
    pictures_stored(connection, [(drift, len(picture.data)) for drift, picture in newest.values()])
    _note_pictures(connection, [drift for drift, _ in newest.values()])


def _note_pictures(connection: Connection, jobs: Sequence[Mapping[Any, Any]]) -> None:
    """Note the newest job of each stream that has a picture."""
    newest: dict[tuple[int, str], int] = {}
    for job in jobs:
        if not job["late"]:
            here = job["experiment"], job["stream"] or ""
            newest[here] = max(job["number"], newest.get(here, 0))
    for (experiment, stream), number in newest.items():
        _note(connection, {"of_experiment": experiment, "of_stream": stream, "newest": number})


def _build_put(dialect: str) -> Any:
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    names = [column.name for column in pictures.c]
    query = insert(pictures).values({name: bindparam(name) for name in names})
    replaced = {name: query.excluded[name] for name in names if name != "drift"}
    return query.on_conflict_do_update(index_elements=[pictures.c.drift], set_=replaced)


_put = Prepared(_build_put)
_note = Prepared(
    lambda _: (
        update(streams)
        .where(
            streams.c.experiment == bindparam("of_experiment"),
            streams.c.stream == bindparam("of_stream"),
            or_(streams.c.last_pictured.is_(None), streams.c.last_pictured < bindparam("newest")),
        )
        .values(last_pictured=bindparam("newest"))
    )
)


@operations.add(
    "GET /experiment/{experiment_id}/drift/{drift_id}/image",
    who=Who.ANYBODY,
    extension=True,
    returns="image/jpeg",
    refusals=(403, 404),
)
def get_image(call: Call) -> Response:
    """Return the picture of a job."""
    drift = find_drift(call, require("Read", call))
    row = call.connection.execute(
        select(pictures).where(pictures.c.drift == drift["number"])
    ).first()
    if row is None:
        raise not_found("Image")
    return picture_answer(call, row.etag, row.data)


def picture_answer(call: Call, digest: str, data: bytes) -> Response:
    """Return a stored JPEG, or 304 when the caller has it already."""
    etag = f'"{digest}"'
    headers = {
        "ETag": etag,
        "Cache-Control": "private, max-age=0, must-revalidate",
        "Content-Security-Policy": "default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }
    known = [
        tag.strip().removeprefix("W/")
        for tag in call.request.headers.get("if-none-match", "").split(",")
    ]
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="image/jpeg", headers=headers)
