"""Pictures of an archive by their addresses: folders, lists of addresses, and storage that fsspec reads."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import posixpath
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
import pyarrow.fs
from fsspec.core import url_to_fs
from fsspec.implementations.arrow import ArrowFSWrapper

from lenswatch.config import UploadConfig
from lenswatch.errors import ImageError, InputError
from lenswatch.reference.pictures import SUFFIXES
from lenswatch.reference.pictures.limits import check_size

__all__ = ["Content", "Listed", "list_source", "read_address"]

log = logging.getLogger(__name__)

LISTS = {".txt", ".lst", ".list"}  # suffixes of files that list addresses
TRIES = 4  # to read from remote storage
_BLOCK = 1 << 20  # bytes
_MODIFIED = ("LastModified", "last_modified", "updated", "modified", "mtime")
_TAGS = ("ETag", "etag", "md5Hash", "generation")


@dataclass(frozen=True)
class Listed:
    """A picture of an archive.

    Attributes:
        address: An absolute path, or a URL.
        name: Its path below its source, with "/"; for a list, the line.
        folder: Name of the first folder below its source; for a list, of the folder that it is in.
        stamp: A text that changes with its content; empty where the storage tells too little.
        changed: Time of its last change, in seconds since 1970; None if that is not known.
    """

    address: str
    name: str
    folder: str
    stamp: str
    changed: float | None


@dataclass(frozen=True)
class Content:
    """The content of a picture.

    Attributes:
        digest: SHA-256 of its bytes.
        data: The bytes; the first ones where they are too many.
        error: What makes them unusable, if they are too many or none.
    """

    digest: bytes
    data: bytes
    error: ImageError | None


def list_source(source: str) -> Iterator[Listed]:
    """Yield the pictures of a source, folder by folder, each by names; hidden files and folders are left out.

    Args:
        source: A folder, a file that lists addresses (`.txt`, one a line), or a URL that fsspec reads.

    Raises:
        InputError: There is no such source, or it cannot be read.
    """
    if not _is_url(source):
        given = Path(source)
        if given.is_dir():
            yield from _local(given.resolve(), "")
        elif given.suffix.lower() in LISTS and given.is_file():
            yield from _list_file(given)
        elif given.is_file():
            yield _one(str(given.parent.resolve() / given.name), given.name, "")
        else:
            raise InputError(f"{source}: no such folder, list or picture")
        return
    system, root = _system(source)
    try:
        if system.isdir(root):
            yield from _remote(system, root, source)
            return
        is_there = system.exists(root)
    except Exception as error:  # each storage has exceptions of its own
        raise InputError(f"{source}: cannot be listed: {_told(error)}") from None
    if not is_there:
        raise InputError(f"{source}: there is nothing; check the address")
    yield _one(source, posixpath.basename(root), "")


def read_address(address: str, limits: UploadConfig) -> Content:
    """Read a picture.

    Raises:
        ImageError: It cannot be read; nothing is said of its content.
    """
    if not _is_url(address):
        return _read_local(Path(address), limits)
    for wait in (*(2.0**i for i in range(TRIES - 1)), None):
        try:
            system, path = _system(address)
            with system.open(path, "rb", cache_type="none") as file:
                data = file.read(limits.max_bytes + 1)
                digest = hashlib.sha256(data)
                size = len(data)
                while size > limits.max_bytes and (block := file.read(_BLOCK)):
                    digest.update(block)
                    size += len(block)
        except FileNotFoundError as error:
            cause = error.__cause__  # of a server that does not answer
            if not isinstance(cause, OSError) or isinstance(cause, FileNotFoundError):
                raise ImageError(f"{address}: cannot be read: it is gone") from None
            said = _told(cause)
        except Exception as error:  # each storage has exceptions of its own
            said = _told(error)
        else:
            return Content(digest.digest(), data, _wrong(size, limits))
        if wait is None:
            raise ImageError(f"{address}: cannot be read: {said}")
        time.sleep(wait)
    raise AssertionError


def _is_url(source: str) -> bool:
    return "://" in source


def _read_local(path: Path, limits: UploadConfig) -> Content:
    try:
        with path.open("rb") as file:
            data = file.read(limits.max_bytes + 1)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").digest()
            size = file.tell()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from None
    return Content(digest, data, _wrong(size, limits))


def _wrong(size: int, limits: UploadConfig) -> ImageError | None:
    try:
        check_size(size, limits)
    except ImageError as error:
        return error
    return None


def _local(root: Path, below: str) -> Iterator[Listed]:
    folder = root / below if below else root
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        log.warning("%s cannot be looked through: %s", folder, error.strerror)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        name = f"{below}/{entry.name}" if below else entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _local(root, name)
        elif Path(entry.name).suffix.lower() in SUFFIXES:
            yield _one(entry.path, name, _first(name))


def _one(address: str, name: str, folder: str) -> Listed:
    """Return one picture with its stamp."""
    if not _is_url(address):
        try:
            status = Path(address).stat()
        except OSError:
            return Listed(address, name, folder, "", None)
        stamp = f"{status.st_size} {status.st_mtime_ns}"
        return Listed(address, name, folder, stamp, status.st_mtime)
    system, path = _system(address)
    try:
        return _listed(address, name, folder, system.info(path))
    except Exception:  # each storage has exceptions of its own; reading it says what is wrong
        return Listed(address, name, folder, "", None)


def _list_file(file: Path) -> Iterator[Listed]:
    """Yield the pictures whose addresses are the lines of a file; paths start from its folder."""
    try:
        with file.open(encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                text = line.strip()
                if not text or text.startswith("#"):
                    continue
                address = text if _is_url(text) else str(file.parent.resolve() / text)
                yield _one(address, text, address.rpartition("/")[0].rpartition("/")[2])
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from None


def _remote(system: Any, root: str, source: str) -> Iterator[Listed]:
    base = source.rstrip("/")
    top = root.rstrip("/")
    for folder, folders, files in system.walk(root, detail=True, on_error="raise"):
        for name in [name for name in folders if name.startswith(".")]:
            del folders[name]
        below = folder.rstrip("/")[len(top) :].strip("/")
        for name in sorted(files):
            if name and not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                path = f"{below}/{name}" if below else name
                yield _listed(f"{base}/{path}", path, _first(path), files[name])


def _first(name: str) -> str:
    """Return the first folder of a path; empty without one."""
    folder, _, rest = name.partition("/")
    return folder if rest else ""


def _listed(address: str, name: str, folder: str, info: Mapping[str, Any]) -> Listed:
    tags = [str(info[key]) for key in (*_TAGS, *_MODIFIED) if info.get(key)]
    stamp = " ".join([str(info.get("size")), *tags]) if tags else ""
    return Listed(address, name, folder, stamp, _time(info))


def _time(info: Mapping[str, Any]) -> float | None:
    for key in _MODIFIED:
        value = info.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):
            try:
                return datetime.fromisoformat(value).timestamp()
            except ValueError:
                continue
    return None


def _system(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it.

    Raises:
        InputError: There is no such kind of storage, or its package is not installed.
    """
    kind, _, rest = address.partition("://")
    host, _, path = rest.partition("/")
    try:
        if kind in ("webdav", "webdavs"):
            return _webdav(kind, host), unquote(path)
        if kind in ("s3", "gs"):
            return _bucket(kind, host), rest
        system, path = url_to_fs(address, use_listings_cache=False)
    except (ValueError, ImportError) as error:
        raise InputError(f"{address}: {_told(error)}") from None
    return system, str(path)


@functools.cache
def _bucket(kind: str, name: str) -> Any:
    """Return the file system of a bucket, by pyarrow: nothing else has to be installed."""
    settings = dict(fsspec.config.conf.get(kind, {}))
    if kind == "gs":
        return ArrowFSWrapper(pyarrow.fs.GcsFileSystem(**settings))
    if not ({"region", "endpoint_override"} & set(settings) or "AWS_ENDPOINT_URL" in os.environ):
        settings["region"] = pyarrow.fs.resolve_s3_region(name)
    return ArrowFSWrapper(pyarrow.fs.S3FileSystem(**settings))


@functools.cache
def _webdav(kind: str, host: str) -> Any:
    settings = dict(fsspec.config.conf.get("webdav", {}))
    if isinstance(settings.get("auth"), list):
        settings["auth"] = tuple(settings["auth"])
    protocol = "https" if kind == "webdavs" else "http"
    system = fsspec.get_filesystem_class("webdav")
    return system(f"{protocol}://{host}", **settings)


def _told(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
