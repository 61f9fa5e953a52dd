"""The kind of pictures that a reference was made of: their sizes and colours; importable without torch.

It is a file in the reference's folder. The digest of the reference does not cover it: judging works without.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from lenswatch.detect.arrays import Pixels
from lenswatch.errors import ArtefactError
from lenswatch.files import write_atomically
from lenswatch.reference.paths import reference_folder

__all__ = ["SCHEMA", "PictureSchema", "colours_of", "load_schema", "save_schema"]

SCHEMA = "picture_schema.json"
_SHOWN = 3  # sizes that a sentence names
_STEP = 8  # of the pixels that are looked at in each direction
_GREY = 2  # by which the channels of a grey picture may differ, after a JPEG's rounding

Size = tuple[int, int]


def colours_of(pixels: Pixels) -> str:
    """Return "grey" or "in colour", by the pixels (height, width, 3) uint8.

    A camera with infrared light stores grey pictures as colours, so the kind of file does not tell.
    """
    wide = pixels[::_STEP, ::_STEP].astype(np.int16)
    grey = np.abs(wide - wide[..., 1:2]).max() <= _GREY
    return "grey" if grey else "in colour"


@dataclass(frozen=True)
class PictureSchema:
    """The properties that all clean pictures of a reference share.

    Attributes:
        sizes: Width and height of each size among them, upright.
        colours: What `colours_of` returns for them.
    """

    sizes: frozenset[Size]
    colours: frozenset[str]

    @classmethod
    def of(cls, pictures: Iterable[tuple[Size, str]]) -> Self:
        """Return the schema of pictures, of which each is given by its size and colours."""
        found = list(pictures)
        return cls(frozenset(size for size, _ in found), frozenset(each for _, each in found))

    def breaks(self, size: Size, colours: str) -> list[str]:
        """Return a sentence on each respect in which a picture is of another kind than the clean ones.

        Args:
            size: Its width and height, upright.
            colours: What `colours_of` returns for it.
        """
        notes = []
        if self.sizes and size not in self.sizes:
            named = [f"{width} x {height}" for width, height in sorted(self.sizes)[:_SHOWN]]
            more = f" or one of {len(self.sizes) - _SHOWN} more" * (len(self.sizes) > _SHOWN)
            notes.append(
                f"the picture has {size[0]} x {size[1]} pixels, while each clean one had "
                f"{' or '.join(named)}{more}"
            )
        if len(self.colours) == 1 and colours not in self.colours:
            notes.append(f"the picture is {colours}, while each clean one was {min(self.colours)}")
        return notes

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that `from_json` reads."""
        sizes = [list(size) for size in sorted(self.sizes)]
        return {"sizes": sizes, "colours": sorted(self.colours)}

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Return the schema that `to_json` wrote.

        Raises:
            ArtefactError: The document is no schema.
        """
        try:
            sizes = frozenset((int(width), int(height)) for width, height in document["sizes"])
            return cls(sizes, frozenset(str(each) for each in document["colours"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"not a schema of pictures: {error!r}; train again") from None


def save_schema(storage: Path, digest: str, schema: PictureSchema) -> None:
    """Write the schema of a reference, which replaces an earlier one.

    Raises:
        WriteError: The file cannot be written.
    """
    text = json.dumps(schema.to_json(), indent=1)
    write_atomically(reference_folder(storage) / digest / SCHEMA, f"{text}\n".encode())


def load_schema(storage: Path, digest: str) -> PictureSchema | None:
    """Return the schema of a reference; None if it has none.

    Raises:
        ArtefactError: The file is damaged.
    """
    try:
        document = json.loads((reference_folder(storage) / digest / SCHEMA).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ArtefactError(f"the schema of reference {digest} cannot be read: {error}") from None
    return PictureSchema.from_json(document)
