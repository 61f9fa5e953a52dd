"""The light form of a reference: its encoder and embeddings as files that need no torch.

`light.zip` in the reference's folder holds `encoder.onnx`, `embeddings.npy` and `light.json`. It is made of
the reference, whose digest does not cover it: a reference that was made without can get one. `light.json` has
the digests of the other two, which are checked before they are used, and can be checked without NumPy.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenswatch.errors import ArtefactError
from lenswatch.files import write_atomically
from lenswatch.reference.paths import reference_folder

if TYPE_CHECKING:
    from lenswatch.detect.arrays import Floats32

__all__ = [
    "LIGHT",
    "Light",
    "can_run",
    "check_light",
    "have_light",
    "read_light",
    "read_light_file",
    "save_light",
]

LIGHT = "light.zip"
_MODEL, _EMBEDDINGS, _ABOUT = "encoder.onnx", "embeddings.npy", "light.json"
_BROKEN = (OSError, zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError)
_NO_ARRAY = (ValueError, EOFError, OSError)


@dataclass(frozen=True)
class Light:
    """The light form.

    Attributes:
        model: The encoder as ONNX.
        embeddings: (n, d) float32, those of the reference.
        about: The reference's digest, and how far embeddings by ONNX differ from those by torch.
    """

    model: bytes
    embeddings: Floats32
    about: Mapping[str, Any]


def can_run() -> bool:
    """Return True if onnxruntime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def have_light(storage: Path, digest: str) -> bool:
    """Return True if a reference has a light form."""
    return _path(storage, digest).is_file()


def save_light(storage: Path, digest: str, light: Light) -> None:
    """Write the light form of a reference, which replaces an earlier one.

    Raises:
        WriteError: The file cannot be written.
    """
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(light.embeddings, np.float32), allow_pickle=False)
    files = {_MODEL: light.model, _EMBEDDINGS: buffer.getvalue()}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    about = {**light.about, "reference": digest, "files": digests}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as made:
        for name, content in (files | {_ABOUT: json.dumps(about, indent=2).encode()}).items():
            made.writestr(zipfile.ZipInfo(name), content)
    write_atomically(_path(storage, digest), archive.getvalue())


def read_light(storage: Path, digest: str) -> Light:
    """Return the light form of a reference.

    Raises:
        ArtefactError: There is none, or it is damaged or that of another reference.
    """
    return read_light_file(_path(storage, digest), digest)


def read_light_file(path: Path, digest: str) -> Light:
    """Return the light form in a file, which must be that of the reference `digest`.

    Raises:
        ArtefactError: There is none, or it is damaged or that of another reference.
    """
    import numpy as np

    files, about = _checked(path, digest)
    try:
        embeddings = np.load(io.BytesIO(files[_EMBEDDINGS]), allow_pickle=False)
    except _NO_ARRAY as error:
        raise _damaged(path, str(error)) from None
    return Light(files[_MODEL], embeddings, about)


def check_light(storage: Path, digest: str) -> None:
    """Compare the light form of a reference with the digests under which it was saved.

    Raises:
        ArtefactError: There is none, or it is damaged or that of another reference.
    """
    _checked(_path(storage, digest), digest)


def _checked(path: Path, digest: str) -> tuple[dict[str, bytes], Mapping[str, Any]]:
    """Return the model and the embeddings as files, and what is said of them."""
    try:
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in (_MODEL, _EMBEDDINGS, _ABOUT)}
        about = json.loads(files.pop(_ABOUT))
        stated, reference = about["files"], about["reference"]
    except FileNotFoundError:
        raise ArtefactError(
            f"{path}: there is none; make it with `lenswatch reference light`"
        ) from None
    except (*_BROKEN, ValueError, TypeError) as error:
        raise _damaged(path, str(error)) from None
    if reference != digest:
        raise _damaged(path, f"it belongs to the reference {reference!r:.40}")
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != stated.get(name):
            raise _damaged(path, f"{name} is not the file that was saved")
    return files, about


def _path(storage: Path, digest: str) -> Path:
    return reference_folder(storage) / digest / LIGHT


def _damaged(path: Path, reason: str) -> ArtefactError:
    return ArtefactError(
        f"{path}: cannot be used ({reason}); delete it, and make it with `lenswatch reference light`"
    )
