"""Making the thumbnails of a reference from its clean pictures."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from lenswatch.config import Config
from lenswatch.errors import InputError, WriteError
from lenswatch.reference.artefact import Reference
from lenswatch.reference.pictures import read_picture_file
from lenswatch.reference.representative import representative_rows
from lenswatch.reference.thumbnails import MOST, SIDE, save_thumbnails

__all__ = ["chosen_rows", "keep_thumbnails"]

log = logging.getLogger(__name__)


def chosen_rows(reference: Reference) -> list[int]:
    """Return the rows of the clean pictures whose thumbnails are kept; none for an adopted pair."""
    return representative_rows(reference.embeddings, MOST) if reference.pictures else []


def keep_thumbnails(config: Config, reference: Reference, files: Mapping[int, Path]) -> bool:
    """Make thumbnails and keep them with a saved reference; return False if that was not possible.

    People see them; no verdict needs them. So a failure is logged, and the reference is used without them.

    Args:
        config: The settings.
        reference: The reference.
        files: Clean pictures by the rows of their embeddings.
    """
    limits, bits = config.upload, reference.transform.sample_bits
    thumbnails: dict[int, bytes] = {}
    for row, file in files.items():
        try:
            thumbnails[row] = read_picture_file(file, (SIDE, SIDE), limits, bits).thumbnail(SIDE)
        except InputError as error:
            log.info("a clean picture has no thumbnail: %s", error)
    if not thumbnails:
        return False
    try:
        save_thumbnails(config.storage_path, reference.digest, thumbnails)
    except WriteError as error:
        failed = error
    else:
        return True
    log.warning("the nearest clean picture is not shown beside pictures: %s", failed)
    return False
