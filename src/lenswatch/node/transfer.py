"""References as one file, so that a node can serve what was trained on another machine.

The file is a zip archive, without compression, of the reference's folder and its calibrations, as they are in
the storage folder. Everything in it has a digest that is checked before it is taken.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lenswatch.errors import ArtefactError, InputError, WriteError
from lenswatch.files import write_atomically
from lenswatch.node.calibration_seal import FORMAT, check_made_for, read_sealed
from lenswatch.reference.artefact import put_into_place
from lenswatch.reference.light import LIGHT, read_light_file
from lenswatch.reference.manifest import MANIFEST, read_json, verified_manifest
from lenswatch.reference.paths import calibration_folder, reference_folder
from lenswatch.reference.schema import SCHEMA
from lenswatch.reference.thumbnails import THUMBNAILS
from lenswatch.wire import STREAM

__all__ = ["Imported", "export_reference", "import_reference"]

_REFERENCE, _CALIBRATION = "reference", "calibration"  # folders in the archive
_BESIDE = (LIGHT, THUMBNAILS, SCHEMA)  # files of a reference that its manifest does not list
_BROKEN = (zipfile.BadZipFile, EOFError, KeyError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Imported:
    """A reference that was imported.

    Attributes:
        digest: Its digest.
        new: It was not there before.
        light: It can be served without torch.
        calibrated: Streams whose thresholds came with it, and had none here.
    """

    digest: str
    new: bool
    light: bool
    calibrated: tuple[str, ...]


def export_reference(storage: Path, digest: str, file: Path) -> None:
    """Write a reference and its calibrations into one file.

    Args:
        storage: The storage folder.
        digest: The reference.
        file: The file to write; one that is there is replaced.

    Raises:
        ArtefactError: A file of the reference or a calibration is damaged.
        WriteError: The file cannot be written.
    """
    folder = reference_folder(storage) / digest
    names = [MANIFEST, *verified_manifest(folder, digest)["files"]]
    if (folder / LIGHT).is_file():
        read_light_file(folder / LIGHT, digest)  # raises ArtefactError
    names += [name for name in _BESIDE if (folder / name).is_file()]
    members = {f"{_REFERENCE}/{name}": folder / name for name in names}
    for calibration in sorted((calibration_folder(storage) / digest).glob("*.json")):
        if read_sealed(calibration)["format"] == FORMAT:
            members[f"{_CALIBRATION}/{calibration.name}"] = calibration
    with _replaced(file) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, path in members.items():
            archive.write(path, name)


def import_reference(storage: Path, file: Path) -> Imported:
    """Take a reference from a file that `export_reference` wrote.

    A reference that is here already stays as it is, and gets a light form and thumbnails if it has none.
    Calibrations that are here stay, too. The reference in use does not change.

    Args:
        storage: The storage folder.
        file: The file.

    Raises:
        InputError: The file cannot be read, or is no such file.
        ArtefactError: A file in it is damaged, or belongs to another reference.
        WriteError: The storage folder cannot be written.
    """
    references = reference_folder(storage)
    try:
        references.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=references))
    except OSError as error:
        raise WriteError(f"{references}: cannot be written: {error.strerror}") from None
    try:
        _unpack(file, temporary)
        try:
            digest = _verified(temporary)
        except ArtefactError as error:
            raise ArtefactError(str(error).replace(f"{temporary}/", f"{file}: ")) from None
        folder, kept = temporary / _REFERENCE, references / digest
        beside = {n: (folder / n).read_bytes() for n in _BESIDE if (folder / n).is_file()}
        new = put_into_place(folder, kept)
        for name, content in beside.items():
            if not (kept / name).is_file():
                write_atomically(kept / name, content)
        calibrations = sorted((temporary / _CALIBRATION).glob("*.json"))
        taken = [each.stem for each in calibrations if _take(each, storage, digest)]
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Imported(digest, new, (kept / LIGHT).is_file(), tuple(taken))


def _verified(unpacked: Path) -> str:
    """Return the digest of an unpacked reference, of which every file is what was exported."""
    folder = unpacked / _REFERENCE
    digest = str(read_json(folder / MANIFEST).get("digest"))
    manifest = verified_manifest(folder, digest)
    known = {MANIFEST, *_BESIDE, *manifest["files"]}
    for path in folder.iterdir():
        if path.name not in known:
            raise ArtefactError(f"{path}: is no file of the reference; export it again")
    if (folder / LIGHT).is_file():
        read_light_file(folder / LIGHT, digest)  # raises ArtefactError
    for calibration in (unpacked / _CALIBRATION).glob("*.json"):
        check_made_for(digest, read_sealed(calibration), calibration)
    return digest


def _take(calibration: Path, storage: Path, digest: str) -> bool:
    """Copy a calibration, and return True, if its stream has none."""
    kept = calibration_folder(storage) / digest / calibration.name
    if kept.exists():
        return False
    write_atomically(kept, calibration.read_bytes())
    return True


def _unpack(file: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                path = folder.joinpath(*_parts(member))
                write_atomically(path, archive.read(member))
    except _BROKEN as error:
        raise InputError(f"{file}: is no exported reference, or is cut off: {error}") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from None
    if not (folder / _REFERENCE / MANIFEST).is_file():
        raise InputError(f"{file}: is no exported reference: it holds no manifest")


def _parts(member: zipfile.ZipInfo) -> tuple[str, str]:
    """Return the folder and the name of a member that an export may hold.

    Raises:
        ValueError: It is another one, or compressed, so that it might be of any size.
    """
    parts = PurePosixPath(member.filename).parts
    if len(parts) == 2 and member.compress_type == zipfile.ZIP_STORED:
        folder, name = parts
        plain = not name.startswith(".") and "\\" not in name
        stream = name.removesuffix(".json")
        if folder == _REFERENCE and plain:
            return folder, name
        if folder == _CALIBRATION and plain and name != stream and STREAM.match(stream):
            return folder, name
    raise ValueError(f"it holds {member.filename!r:.80}")


@contextmanager
def _replaced(file: Path) -> Iterator[Path]:
    """Yield a file beside another that replaces it in the end."""
    try:
        with tempfile.TemporaryDirectory(prefix=f".{file.name}-", dir=file.parent) as folder:
            temporary = Path(folder) / file.name
            yield temporary
            temporary.replace(file)
    except OSError as error:
        raise WriteError(f"{file}: cannot be written: {error.strerror}") from None
