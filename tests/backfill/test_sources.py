"""Sources of archives: folders, lists, and storage behind a real server."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.fs
import pytest
from cheroot.wsgi import Server
from hypothesis import given
from hypothesis import strategies as st
from wsgidav.wsgidav_app import WsgiDAVApp

from conftest import Camera
from lenswatch.backfill import sources
from lenswatch.backfill.index import name_key
from lenswatch.backfill.sources import Listed, list_source, read_address
from lenswatch.config import UploadConfig
from lenswatch.errors import ImageError, ImageTooLarge, InputError
from lenswatch.reference.order import natural_key
from support.ports import free_port
from support.waiting import until_it_answers

LIMITS = UploadConfig()


@pytest.fixture
def archive(tmp_path: Path, camera: Camera) -> Path:
    """Two cameras' pictures, and what is no picture of theirs."""
    root = tmp_path / "archive"
    for camera_name in ("north", "south"):
        (root / camera_name / "2026").mkdir(parents=True)
        for i in (2, 10):
            (root / camera_name / "2026" / f"{i}.jpg").write_bytes(camera(i))
    (root / "north" / ".hidden").mkdir()
    (root / "north" / ".hidden" / "a.jpg").write_bytes(b"")
    (root / "notes.txt").write_text("none")
    (root / "north" / "link").symlink_to(root)
    return root


@pytest.fixture
def webdav(archive: Path) -> Iterator[str]:
    """The address of a WebDAV server with the archive, which asks for a password."""
    users = {"*": {"ann": {"password": "secret"}}}
    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(archive)},
            "simple_dc": {"user_mapping": users},
            "logging": {"enable": False},
            "verbose": 0,
        }
    )
    port = free_port()
    server = Server(("127.0.0.1", port), app, numthreads=4)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield f"webdav://127.0.0.1:{port}"
    server.stop()
    thread.join(10)


def forget_connections() -> None:
    sources._webdav.cache_clear()
    sources._bucket.cache_clear()


def named(listed: Iterator[Listed]) -> dict[str, Listed]:
    return {each.name: each for each in listed}


NAMES = ["north/2026/10.jpg", "north/2026/2.jpg", "south/2026/10.jpg", "south/2026/2.jpg"]


def test_a_folder_is_listed_with_its_subfolders(archive: Path) -> None:
    found = named(list_source(str(archive)))
    assert sorted(found) == NAMES
    one = found["north/2026/2.jpg"]
    assert (one.address, one.folder) == (str(archive / one.name), "north")
    assert one.changed == (archive / one.name).stat().st_mtime
    before = one.stamp
    (archive / one.name).write_bytes(b"another")
    assert named(list_source(str(archive)))[one.name].stamp != before


def test_a_list_names_paths_and_addresses(archive: Path) -> None:
    file = archive / "list.txt"
    file.write_text(f"# pictures\n\nnorth/2026/2.jpg\n{archive}/south/2026/10.jpg\ngone.jpg\n")
    found = list(list_source(str(file)))
    assert [each.address for each in found] == [
        str(archive / name) for name in ("north/2026/2.jpg", "south/2026/10.jpg", "gone.jpg")
    ]
    assert [each.folder for each in found] == ["2026", "2026", "archive"]
    with pytest.raises(ImageError, match=r"gone\.jpg: cannot be read"):
        read_address(found[2].address, LIMITS)


@pytest.mark.parametrize("source", ["nothing", "nothing.txt", "teapot://x/y"])
def test_a_source_that_is_not_there_is_named(tmp_path: Path, source: str) -> None:
    given_source = source if "://" in source else str(tmp_path / source)
    with pytest.raises(InputError, match=source):
        list(list_source(given_source))


def test_webdav_is_listed_and_read(
    webdav: str, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fsspec.config.conf, "webdav", {"auth": ["ann", "secret"]})
    forget_connections()
    found = named(list_source(f"{webdav}/"))
    assert sorted(found) == NAMES
    below = named(list_source(f"{webdav}/north"))
    assert sorted(below) == ["2026/10.jpg", "2026/2.jpg"]
    one = below["2026/2.jpg"]
    assert one.address == f"{webdav}/north/2026/2.jpg"
    file = archive / "north" / "2026" / "2.jpg"
    assert one.changed == pytest.approx(file.stat().st_mtime, abs=1)
    assert datetime.fromtimestamp(one.changed or 0, UTC).year >= 2026
    content = read_address(one.address, LIMITS)
    assert content.data == file.read_bytes()
    assert content.digest == hashlib.sha256(content.data).digest()
    with pytest.raises(ImageError, match="it is gone"):
        read_address(f"{webdav}/north/gone.jpg", LIMITS)
    with pytest.raises(InputError, match="there is nothing"):
        list(list_source(f"{webdav}/east"))


def test_a_server_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    waited = list[float]()
    monkeypatch.setattr("lenswatch.backfill.sources.time.sleep", waited.append)
    with pytest.raises(ImageError, match="cannot be read: Cannot connect to host"):
        read_address(f"http://127.0.0.1:{free_port()}/1.jpg", LIMITS)
    assert waited == [1, 2, 4]


def test_a_wrong_password_is_told(webdav: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fsspec.config.conf, "webdav", {"auth": ["ann", "wrong"]})
    forget_connections()
    with pytest.raises(InputError, match="cannot be listed"):
        list(list_source(f"{webdav}/"))


@pytest.fixture
def s3(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a bucket with the archive."""
    program = shutil.which("moto_server")
    if program is None:
        pytest.skip(
            "by design: moto does not install beside what Lenswatch needs; put it on the PATH"
        )
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    keys = {"access_key": "a", "secret_key": "b", "endpoint_override": endpoint}
    monkeypatch.setitem(fsspec.config.conf, "s3", keys)
    forget_connections()
    log = tmp_path / "moto.log"
    with log.open("wb") as output:
        server = subprocess.Popen([program, "-p", str(port)], stdout=output, stderr=output)
    try:
        until_it_answers(endpoint, server, log)
        bucket = pyarrow.fs.S3FileSystem(allow_bucket_creation=True, **keys)
        bucket.create_dir("cameras")
        local = pyarrow.fs.SubTreeFileSystem(str(archive), pyarrow.fs.LocalFileSystem())
        for name in NAMES:
            pyarrow.fs.copy_files(name, f"cameras/lake #1/{name}", local, bucket)
        yield "s3://cameras/lake #1"
    finally:
        server.kill()
        server.wait()


def test_a_bucket_is_listed_and_read(s3: str, archive: Path) -> None:
    found = named(list_source(s3))
    assert sorted(found) == NAMES
    one = found["south/2026/10.jpg"]
    assert (one.address, one.folder) == (f"{s3}/south/2026/10.jpg", "south")
    assert one.changed is not None
    assert str(len((archive / one.name).read_bytes())) in one.stamp
    assert read_address(one.address, LIMITS).data == (archive / one.name).read_bytes()
    assert [each.name for each in list_source(one.address)] == ["10.jpg"]
    with pytest.raises(InputError, match="there is nothing"):
        list(list_source(f"{s3}/east"))


@pytest.mark.parametrize("size", [0, 1001])
def test_a_file_of_a_wrong_size_keeps_its_digest(tmp_path: Path, size: int) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(bytes(size))
    content = read_address(str(file), UploadConfig(max_bytes=1000))
    assert content.digest == hashlib.sha256(bytes(size)).digest()
    assert isinstance(content.error, ImageTooLarge if size else ImageError)


_PARTS = st.lists(
    st.sampled_from(["a", "B", "0", "00", "7", "12", "é", "\udc80", "-", ".", " ", "😀"]),
    max_size=6,
)


@given(st.lists(st.tuples(_PARTS, _PARTS), max_size=12))
def test_names_in_the_index_sort_as_those_of_a_folder(
    parts: list[tuple[list[str], list[str]]],
) -> None:
    addresses = [f"/x{''.join(folder)}/{''.join(name)}" for folder, name in parts]

    def natural(address: str) -> Any:
        parent, _, name = address.rpartition("/")
        return (natural_key(parent), parent), (natural_key(name), name)

    assert sorted(addresses, key=name_key) == sorted(addresses, key=natural)
