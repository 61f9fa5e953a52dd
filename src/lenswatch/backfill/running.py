"""A backfill: list the archive, look at its pictures, judge each stream."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lenswatch.backfill.folding import Folded, Receivers, fold_stream
from lenswatch.backfill.index import Index
from lenswatch.backfill.looking import Looked, look_at_all
from lenswatch.backfill.parts import Parts
from lenswatch.backfill.sources import Listed, list_source
from lenswatch.cluster.connection import Cluster
from lenswatch.config import Config
from lenswatch.errors import InputError
from lenswatch.held import hold
from lenswatch.node.current import Current
from lenswatch.node.extractor import extractor_of
from lenswatch.node.observe import Node
from lenswatch.progress import Step
from lenswatch.wire import check_stream

__all__ = ["Backfill", "StreamRule", "held_backfill"]

StreamRule = Callable[[Listed], tuple[str, Listed] | None]
"""The stream of a picture, and the picture with its name below that stream's folder; None leaves it out."""


class Backfill:
    """A backfill of some sources into one node.

    It may be killed at any time. Started again with the same sources, it goes on where it was: what was
    looked at and what was judged is on the disk.

    Args:
        config: The settings.
        node: Judges the pictures.
        told: Receivers of what happens.

    Attributes:
        streams: The streams that were listed, each with the number of its pictures.
    """

    def __init__(self, config: Config, node: Node, told: Receivers) -> None:
        self._config, self._node, self._told = config, node, told
        folder = _folder(config)
        self._index = Index(folder / "index.db")
        wants = config.storage.keep_images and bool(config.tracking.url)
        loaded = Current(config).fitted_reference()
        self._extractor = extractor_of(config, *loaded, thumbnails=wants)
        self._parts = Parts(folder / self._extractor.variant)
        self.streams: list[tuple[str, int]] = []

    def list(self, sources: Sequence[str], stream_of: StreamRule) -> int:
        """List the pictures of all sources, and return their number.

        Raises:
            InputError: A source cannot be listed, or there is no picture.
        """

        def listed() -> Iterator[tuple[str, Listed]]:
            for source in sources:
                for count, each in enumerate(list_source(source), 1):
                    placed = stream_of(each)
                    if placed is None:
                        continue
                    stream, named = placed
                    check_stream(stream)
                    if count % 10_000 == 0:
                        self._told.progress(Step("listing", count, 0, each.name))
                    yield stream, named

        count = self._index.list_anew(self._extractor.variant, listed())
        if not count:
            raise InputError(f"{', '.join(sources)}: no picture; check the sources")
        self.streams = self._index.streams()
        return count

    def unknown(self) -> int:
        """Return the number of pictures that have to be looked at."""
        return self._index.unknown()

    def look(self, cluster: Cluster) -> Looked:
        """Look at what is not known yet, by the workers of a cluster.

        Raises:
            WorkerError: The cluster cannot be used.
        """
        told = self._told
        return look_at_all(
            cluster, self._index, self._parts, self._extractor, told.trouble, told.progress
        )

    def judge(self) -> Iterator[tuple[str, Folded]]:
        """Judge each stream in order, and yield it with the outcome."""
        variant = self._extractor.variant
        for stream, count in self.streams:
            yield (
                stream,
                fold_stream(
                    self._node, self._index, self._parts, variant, stream, count, self._told
                ),
            )

    def close(self) -> None:
        """Close the index."""
        self._index.close()


@contextmanager
def held_backfill(config: Config) -> Iterator[None]:
    """Hold the node's backfill for the block.

    Raises:
        InputError: Another process has it.
    """
    folder = _folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = hold(folder)
    except BlockingIOError:
        raise InputError(
            f"{folder}: another `lenswatch backfill` is running in this storage"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _folder(config: Config) -> Path:
    return config.storage_path / "backfill"
