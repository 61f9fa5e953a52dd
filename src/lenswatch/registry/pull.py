"""A registered model back as a reference."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from lenswatch.errors import InputError, RegistryError
from lenswatch.node.transfer import Imported, import_reference
from lenswatch.registry.session import connected

__all__ = ["pull_reference"]

_MODEL = re.compile(r"models:/[^/@]+(@[^/@]+|/[0-9]+)\Z")
_REFERENCE = "reference.zip"  # as registry.pyfunc names it, which needs pandas


def pull_reference(storage: Path, uri: str) -> Imported:
    """Import the reference of a registered model, as `import_reference` does.

    Args:
        storage: The storage folder.
        uri: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Raises:
        ArtefactError: A file in it is damaged.
        InputError: `uri` names no model.
        RegistryError: MLflow has no such model, or it is no reference.
        WriteError: The storage folder cannot be written.
    """
    if not _MODEL.match(uri):
        raise InputError(f"{uri}: names no model; give models:/NAME@ALIAS or models:/NAME/VERSION")
    with tempfile.TemporaryDirectory() as scratch:
        with connected():
            from mlflow.artifacts import download_artifacts

            folder = Path(download_artifacts(uri, dst_path=scratch))
        found = list(folder.rglob(_REFERENCE))
        if len(found) != 1:
            raise RegistryError(f"{uri}: holds no reference of Lenswatch")
        return import_reference(storage, found[0])
