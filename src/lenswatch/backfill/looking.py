"""The look at the pictures of an archive, by the workers of a cluster."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lenswatch.backfill.index import Index, Known
from lenswatch.backfill.parts import Parts, to_parquet, without
from lenswatch.backfill.sources import Content, read_address
from lenswatch.cluster.connection import Cluster, kept
from lenswatch.errors import ImageError, ImageTooLarge, InputError, WorkerError
from lenswatch.node.extractor import Extractor
from lenswatch.node.features import Features
from lenswatch.progress import Progress, Step
from lenswatch.reference.order import exif_of

__all__ = ["Looked", "error_of", "look_at_all"]

CHUNK = 64  # pictures of a task


@dataclass(frozen=True)
class _Chunk:
    """Some pictures of one stream: key, address and stamp of each."""

    stream: str
    pictures: tuple[tuple[bytes, str, str], ...]


@dataclass(frozen=True)
class _Found:
    """A worker's findings about a chunk.

    Attributes:
        digests: SHA-256 of each picture; None for one that could not be read.
        known: The contents, by their digests; `row` counts in `table`.
        table: A Parquet file; None if there is no picture that can be used.
        troubles: Sentences on the pictures that could not be read.
    """

    digests: tuple[bytes | None, ...]
    known: tuple[Known, ...]
    table: bytes | None
    troubles: tuple[str, ...]


@dataclass(frozen=True)
class Looked:
    """The outcome of a look at an archive.

    Attributes:
        new: Pictures that were read.
        unread: Pictures that could not be read, and are not judged.
    """

    new: int
    unread: int


def look_at_all(
    cluster: Cluster,
    index: Index,
    parts: Parts,
    extractor: Extractor,
    told: Callable[[str], None],
    progress: Progress,
) -> Looked:
    """Look at all pictures of the index whose content is not known.

    Args:
        cluster: Its workers look.
        index: Gets what is found out.
        parts: Gets the features.
        extractor: The reference.
        told: Called with a sentence on each picture that could not be read.
        progress: Called after each chunk.

    Raises:
        WorkerError: The cluster cannot be used.
    """
    total, variant = index.unknown(), extractor.variant
    if not total:
        return Looked(0, 0)
    cluster.keep(variant, extractor.ready)
    singles: deque[_Chunk] = deque()
    chunks = (
        _Chunk(stream, tuple(rows))
        for stream, _ in index.streams()
        for rows in index.chunks_of_unknown(stream, CHUNK)
    )

    def take() -> _Chunk | None:
        return singles.popleft() if singles else next(chunks, None)

    part, done, unread = index.next_part(variant), 0, 0
    work = functools.partial(_look, variant)
    for chunk, found in cluster.map(work, take):
        if isinstance(found, WorkerError):
            if len(chunk.pictures) > 1:  # one of them may end each process that decodes it
                singles += [_Chunk(chunk.stream, (each,)) for each in chunk.pictures]
                continue
            _, address, _ = chunk.pictures[0]
            found = _Found((None,), (), None, (f"{address}: {found}",))
        for trouble in found.troubles:
            told(trouble)
        part += _keep(index, parts, variant, part, chunk, found)
        done, unread = done + len(chunk.pictures), unread + len(found.troubles)
        progress(Step("looking at pictures", done, total))
    return Looked(total, unread)


def _keep(
    index: Index, parts: Parts, variant: str, part: int, chunk: _Chunk, found: _Found
) -> bool:
    """Keep what was found out about a chunk, and return whether the part is in use."""
    table, known = found.table, list(found.known)
    have = index.have(variant, [each.digest for each in known])
    if table is not None and have:
        table = without(table, have)
        known = [each for each in known if each.digest not in have]
        rows = iter(range(len(known)))
        known = [each if each.row is None else each._replace(row=next(rows)) for each in known]
    is_used = any(each.row is not None for each in known)
    if table is not None and is_used:
        parts.write(part, table)
        known = [each if each.row is None else each._replace(part=part) for each in known]
    contents = [
        (*picture, digest)
        for picture, digest in zip(chunk.pictures, found.digests, strict=True)
        if digest is not None
    ]
    index.learn(variant, chunk.stream, known, contents)
    return is_used


def _look(variant: str, chunk: _Chunk) -> _Found:
    """Look at some pictures, in a worker."""
    extractor: Extractor = kept(variant)
    digests: list[bytes | None] = []
    known: dict[bytes, Known] = {}
    features: dict[bytes, Features] = {}
    troubles: list[str] = []
    for _, address, _ in chunk.pictures:
        try:
            content = read_address(address, extractor.limits)
        except InputError as error:
            digests.append(None)
            troubles.append(str(error))
            continue
        digests.append(content.digest)
        if content.digest not in known:
            found = _outcome(extractor, content)
            exif, readable = exif_of(content.data)
            shown = None if exif is None else exif.shown.isoformat()
            if isinstance(found, Features):
                row = len(features)
                features[content.digest] = found
                known[content.digest] = Known(content.digest, None, row, shown, readable)
            else:
                kind, message = type(found).__name__, str(found)
                known[content.digest] = Known(
                    content.digest, None, None, shown, readable, kind, message
                )
    table = to_parquet(features) if features else None
    return _Found(tuple(digests), tuple(known.values()), table, tuple(troubles))


def _outcome(extractor: Extractor, content: Content) -> Features | InputError:
    if content.error is not None:
        return content.error
    try:
        return extractor.features(content.data)
    except InputError as error:
        return error


def error_of(known: Known | None) -> InputError:
    """Return the error that makes a picture unusable."""
    kinds: dict[str, type[InputError]] = {"ImageTooLarge": ImageTooLarge, "ImageError": ImageError}
    if known is None or known.error is None:
        return InputError("the picture cannot be used")
    return kinds.get(known.kind or "", InputError)(known.error)
