"""The parts of an answer that tell of the picture itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lenswatch.node.request import Request, clean_name
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
    notes: Sequence[str],
    schema: PictureSchema | None = None,
    size: tuple[int, int] | None = None,
    colours: str | None = None,
) -> dict[str, Any]:
    """Return the part of an answer on how the picture was read, if there is something to say.

    Args:
        notes: Sentences on what was assumed in reading it.
        schema: The kind of the clean pictures that it is compared with, if it is known.
        size: Width and height of the picture, upright.
        colours: "grey" or "in colour".
    """
    found = list(notes)
    if schema is not None and size is not None and colours is not None:
        found += schema.breaks(size, colours)
    return {"picture_notes": found} if found else {}
