"""The parts of an answer that tell of the picture itself."""

from __future__ import annotations

from typing import Any

from lenswatch.detect.arrays import Pixels
from lenswatch.node.request import Request, clean_name
from lenswatch.reference.pictures import Picture
from lenswatch.reference.schema import PictureSchema
from lenswatch.wire import new_event_id

__all__ = ["identity_of", "notes_of"]


def identity_of(request: Request) -> dict[str, Any]:
    """Return the part of an answer that identifies the picture."""
    return {
        "stream": request.stream,
        "event_id": request.event_id or new_event_id(),
        "image_name": clean_name(request.image_name),
    }


def notes_of(
    picture: Picture, schema: PictureSchema | None = None, pixels: Pixels | None = None
) -> dict[str, Any]:
    """Return the part of an answer on how the picture was read, if there is something to say.

    Args:
        picture: The picture.
        schema: The kind of the clean pictures that it is compared with, if it is known.
        pixels: Its pixels (height, width, 3) uint8, at any scale.
    """
    notes = list(picture.notes)
    if schema is not None and pixels is not None:
        notes += schema.breaks((picture.width, picture.height), pixels)
    return {"picture_notes": notes} if notes else {}
