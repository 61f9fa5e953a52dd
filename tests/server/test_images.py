"""/experiment/E/drift/D/image."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image


def picture(
    kind: str = "JPEG", size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: Any
) -> bytes:
    target = io.BytesIO()
    Image.new(mode, size, "navy" if mode == "RGB" else None).save(target, kind, **options)
    return target.getvalue()


@pytest.fixture
def path(local: Any) -> str:
    experiment = local.experiment()
    return f"/experiment/{experiment['id']}/drift/{local.drift(experiment)['id']}/image"


def put(api: Any, path: str, data: bytes, kind: str = "image/jpeg") -> Any:
    return api.put(path, content=data, headers={"Content-Type": kind})


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_large_picture_is_kept_small(local: Any, path: str, kind: str) -> None:
    answer = put(local, path, picture(kind, (1920, 1080)), f"image/{kind.lower()}")
    assert answer.status_code == 200
    assert (answer.json()["width"], answer.json()["height"]) == (512, 288)
    got = local.get(path)
    assert got.headers["Content-Type"] == "image/jpeg"
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    with Image.open(io.BytesIO(got.content)) as image:
        assert (image.format, image.size) == ("JPEG", (512, 288))


def test_a_known_picture_is_not_sent_again(local: Any, path: str) -> None:
    put(local, path, picture())
    tag = local.get(path).headers["ETag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        answer = local.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
    put(local, path, picture(size=(32, 32)))
    answer = local.get(path, headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert answer.headers["ETag"] != tag


def test_a_picture_is_turned_upright_and_loses_its_metadata(local: Any, path: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x010E] = "where it was taken"
    put(local, path, picture(size=(60, 40), exif=exif))
    data = local.get(path).content
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (40, 60)
        assert not image.getexif()
    assert b"taken" not in data


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "I;16", "1", "CMYK"])
def test_pictures_of_every_mode(local: Any, path: str, mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert put(local, path, picture(kind, mode=mode), f"image/{kind.lower()}").status_code == 200


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def bomb() -> bytes:
    """A PNG of 50,000 x 50,000 pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 10_000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        SVG,
        picture()[:200],
        picture("GIF"),
        picture("BMP"),
        bomb(),
        b"%PDF-1.7",
        picture("PNG")[:-30],
    ],
)
def test_what_is_no_picture_is_422(local: Any, path: str, data: bytes) -> None:
    answer = put(local, path, data)
    assert answer.status_code == 422
    assert answer.json()["errors"]["image"]["_schema"]
    assert local.get(path).json()["message"] == "Image not found."


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_script_in_a_picture_does_not_come_back(local: Any, path: str, kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = SVG.decode()
    data = picture(kind, exif=exif) + SVG  # in its metadata, and behind its end
    assert data.count(b"<script>") == 2
    put(local, path, data, f"image/{kind.lower()}")
    got = local.get(path)
    assert b"script" not in got.content
    assert got.headers["Content-Type"] == "image/jpeg"
    assert got.headers["Content-Security-Policy"] == "default-src 'none'"
    assert got.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("kind", ["image/svg+xml", "text/html", "image/gif", ""])
def test_other_types_are_415(local: Any, path: str, kind: str) -> None:
    answer = put(local, path, picture(), kind)
    assert answer.status_code == 415
    assert set(answer.json()) == {"code", "status", "message"}


def test_it_is_gone_with_its_job(local: Any, path: str) -> None:
    put(local, path, picture())
    local.delete(path.removesuffix("/image"))
    assert local.get(path).json()["message"] == "Drift not found."


def test_it_is_as_private_as_its_job(ann: Any, bob: Any, anonymous: Any) -> None:
    experiment = ann.experiment()
    path = f"/experiment/{experiment['id']}/drift/{ann.drift(experiment)['id']}/image"
    assert put(ann, path, picture()).status_code == 200
    assert put(anonymous, path, picture()).status_code == 401
    assert put(bob, path, picture()).status_code == 403
    assert bob.get(path).status_code == anonymous.get(path).status_code == 403
    reader = [{"entity": "crew", "level": "Read"}]
    ann.put(f"/experiment/{experiment['id']}", json={"name": "x", "permissions": reader})
    assert bob.get(path).status_code == 200
    assert put(bob, path, picture()).status_code == 403


def test_it_is_not_part_of_v1(local: Any, path: str) -> None:
    assert local.client.get(f"/api/v1{path}").status_code == 404
