"""Everything about a picture that depends on its content and the reference alone.

It takes most of the time, needs no state and no database, and is the same in every process. So it may be
computed anywhere, and once for each content.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from lenswatch.detect.arrays import Floats32
from lenswatch.detect.chart.chart import LensChart
from lenswatch.detect.chart.features import Measured, measure, view
from lenswatch.detect.mmd import Entry, FittedMMD
from lenswatch.node.aside import Beside, at_once
from lenswatch.reference.artefact import Reference
from lenswatch.reference.capture import Reading
from lenswatch.reference.pictures import Picture
from lenswatch.reference.schema import colours_of
from lenswatch.stages import elsewhere

__all__ = ["Features", "features_of"]


@dataclass(frozen=True)
class Features:
    """All that was found out about the content of a picture.

    Attributes:
        embedding: (d,) float32.
        entry: The embedding as an entry of a window.
        nearest_row: Number of the nearest clean picture; None for an adopted pair.
        measured: Measurements for the lens chart; None where none is used.
        size: Width and height of the picture, upright.
        colours: "grey" or "in colour"; None where nobody asks.
        taken: Reading of the camera's clock, by the metadata.
        notes: Sentences on how the picture was read.
        thumbnail: A small JPEG for the tracking server; None if none is sent.
    """

    embedding: Floats32
    entry: Entry
    nearest_row: int | None
    measured: Measured | None
    size: tuple[int, int]
    colours: str | None = None
    taken: Reading | None = None
    notes: tuple[str, ...] = ()
    thumbnail: bytes | None = None


def features_of(
    picture: Picture,
    reference: Reference,
    fitted: FittedMMD,
    *,
    measured: bool = True,
    chart: LensChart | None = None,
    colours: bool = True,
    thumbnail: bool = False,
    beside: Beside = at_once,
) -> Features:
    """Encode and measure a picture.

    Args:
        picture: The picture.
        reference: The reference that it is compared with.
        fitted: The reference's detector.
        measured: Measure it for the lens chart.
        chart: The chart that will be updated with it, which is prepared for that.
        colours: Look whether it is grey.
        thumbnail: Make a small JPEG.
        beside: Does what needs no Python, while the caller does the rest.

    Raises:
        InputError: The embedding has NaN or infinite values.
    """
    pixels = picture.pixels(reference.transform.resize)
    embedded = beside(elsewhere("encode", partial(reference.encoder, pixels)))
    small = beside(picture.thumbnail) if thumbnail else None
    cells = measure(view(pixels)) if measured else None
    found = colours_of(pixels) if colours else None
    if chart is not None and cells is not None:
        chart.prepare(cells)
    embedding = embedded.result()
    return Features(
        embedding=embedding,
        entry=fitted.entry(embedding),
        nearest_row=reference.nearest_row(embedding),
        measured=cells,
        size=(picture.width, picture.height),
        colours=found,
        taken=picture.taken,
        notes=picture.notes,
        thumbnail=None if small is None else small.result(),
    )
