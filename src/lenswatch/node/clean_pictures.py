"""The clean picture nearest to a live one, among those that the tracking server is sent."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lenswatch.config import Config
from lenswatch.detect.nearest import Nearest
from lenswatch.errors import ArtefactError
from lenswatch.held import hold
from lenswatch.node.clean_files import clean_files
from lenswatch.reference.artefact import Reference
from lenswatch.reference.keep_thumbnails import chosen_rows, keep_thumbnails
from lenswatch.reference.paths import reference_folder
from lenswatch.reference.thumbnails import have_thumbnails, thumbnail_names

__all__ = ["CleanPictures"]

log = logging.getLogger(__name__)


class _Known(NamedTuple):
    """The clean pictures of one reference that have thumbnails."""

    digest: str
    names: tuple[str, ...]
    nearest: Nearest | None


class CleanPictures:
    """A finder of the nearest clean picture, which any number of threads may share.

    A reference of an earlier version has no thumbnails. They are made in the background when the first
    picture is judged under it, as far as its clean pictures are still there.

    Args:
        config: The settings.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._wanted = config.storage.keep_images and bool(config.tracking.url)
        self._known: _Known | None = None
        self._begun: set[str] = set()  # references whose thumbnails this process has begun to make

    def nearest(self, reference: Reference, embedding: npt.NDArray[np.float32]) -> dict[str, Any]:
        """Return the part of an answer that names the nearest clean picture; empty if there is none.

        Args:
            reference: The reference in force.
            embedding: (d,), of the picture that is judged.
        """
        known = self._of(reference) if self._wanted else None
        if known is None or known.nearest is None:
            return {}
        row = known.nearest.row(embedding)
        return {"nearest_clean": {"reference": known.digest, "name": known.names[row]}}

    def _of(self, reference: Reference) -> _Known | None:
        known, digest = self._known, reference.digest
        if known is not None and known.digest == digest:
            return known
        if have_thumbnails(self._config.storage_path, digest):
            self._known = self._load(reference)
            return self._known
        if reference.pictures and digest not in self._begun:
            self._begun.add(digest)
            threading.Thread(
                target=self._make, args=(reference,), name="clean-pictures", daemon=True
            ).start()
        return None

    def _load(self, reference: Reference) -> _Known:
        try:
            names = thumbnail_names(self._config.storage_path, reference.digest)
            rows = [int(name) for name in names]
            nearest = Nearest(reference.embeddings[rows]) if rows else None
            return _Known(reference.digest, names, nearest)
        except (ArtefactError, ValueError, IndexError) as error:
            because = str(error)
        log.warning("jobs name no nearest clean picture: %s", because)
        return _Known(reference.digest, (), None)

    def _make(self, reference: Reference) -> None:
        """Make the thumbnails of a reference that has none; one process of all does it."""
        folder = reference_folder(self._config.storage_path) / reference.digest
        with contextlib.suppress(OSError):  # another process is at it, or the folder is gone
            descriptor = hold(folder)
            try:
                files = clean_files(self._config, reference, chosen_rows(reference))
                keep_thumbnails(self._config, reference, files)
            finally:
                os.close(descriptor)
