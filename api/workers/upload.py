"""An uploaded file as worker processes get it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Upload"]


class Upload(NamedTuple):
    """The attributes of DEEPaaS' `UploadedFile`, in a class that a worker reads without importing DEEPaaS."""

    name: str
    filename: str  # path of the temporary file
    content_type: str
    original_filename: str
