"""/experiment/E/drift/D/image."""

from __future__ import annotations

import io
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageOps

from lenswatch.server.jobs import pictures
from support.samples import huge_png, picture


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


def test_sixteen_bits_of_grey_become_eight(local: Any, path: str) -> None:
    target = io.BytesIO()
    Image.new("I;16", (32, 32), 32768).save(target, "PNG")
    assert put(local, path, target.getvalue(), "image/png").status_code == 200
    with Image.open(io.BytesIO(local.get(path).content)) as image:
        assert np.asarray(image)[16, 16] == pytest.approx(128, abs=2)


def test_a_large_picture_of_sixteen_bits_is_taken(local: Any, path: str) -> None:
    data = picture("PNG", (2048, 2048), "I;16")
    answer = put(local, path, data, "image/png")
    assert (answer.status_code, answer.json()["width"]) == (200, 512)


def test_a_palette_that_is_missing_is_422(local: Any, path: str) -> None:
    data = picture("PNG", mode="P")
    begin = data.index(b"PLTE") - 4
    length = int.from_bytes(data[begin : begin + 4], "big") + 12
    answer = put(local, path, data[:begin] + data[begin + length :], "image/png")
    assert answer.status_code == 422
    assert answer.json()["errors"]["image"]["_schema"]


def exif_of(*entries: tuple[int, int, int, bytes]) -> bytes:
    """A JPEG whose EXIF has these entries (tag, type, count, value), whatever they say."""
    written = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    ifd = struct.pack("<H", len(entries)) + written + bytes(4)
    return picture(exif=b"Exif\0\0II*\0\x08\0\0\0" + ifd)


TURNED = (0x0112, 3, 1, b"\6")


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (exif_of((0x0101, 2, 4, b"cam"), TURNED), (48, 64)),  # text for a number
        (exif_of(TURNED, (0x8825, 4, 1, b"\xf0\xff\xff\xff")), (48, 64)),  # beyond its end
        (exif_of((0x011A, 2, 4, b"cam"), TURNED), (48, 64)),  # text for a fraction
        (exif_of((0x0112, 2, 2, b"6")), (64, 48)),
        (exif_of((0x0112, 3, 2, b"\6\0\6\0")), (48, 64)),
    ],
)
def test_broken_exif_is_no_reason_to_refuse_a_picture(
    local: Any, path: str, data: bytes, size: Any
) -> None:
    answer = put(local, path, data)
    assert (answer.json()["width"], answer.json()["height"]) == size


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation(turn: int) -> None:
    image = Image.new("RGB", (64, 48), "black")
    image.paste("white", (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = turn
    target = io.BytesIO()
    image.save(target, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(target.getvalue())))
    with Image.open(io.BytesIO(pictures.thumbnail(target.getvalue()).data)) as shown:
        assert np.asarray(ImageChops.difference(shown, expected).convert("L")).max() < 40


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        SVG,
        picture()[:200],
        picture("GIF"),
        picture("BMP"),
        huge_png(50_000, 50_000),
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {"progressive": True})],
)
def test_what_takes_much_memory_is_422(local: Any, path: str, kind: str, options: Any) -> None:
    data = picture(kind, (5100, 5000), "L" if kind == "JPEG" else "RGB", **options)
    answer = put(local, path, data, f"image/{kind.lower()}")
    assert answer.status_code == 422
    assert answer.json()["errors"]["image"]["_schema"] == [
        "Over 25,000,000 pixels; only a baseline JPEG may be larger."
    ]


def test_a_large_plain_jpeg_is_taken(local: Any, path: str) -> None:
    assert put(local, path, picture(size=(6000, 5000), mode="L")).status_code == 200


def test_pictures_of_who_may_not_send_any_are_not_looked_at(
    ann: Any, bob: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = ann.experiment(permissions=[{"entity": "crew", "level": "Read"}])
    base = f"/experiment/{experiment['id']}/drift"
    path = f"{base}/{ann.drift(experiment)['id']}/image"
    looked_at: list[bytes] = []
    monkeypatch.setattr(pictures, "thumbnail", looked_at.append)
    assert put(bob, path, picture()).status_code == 403
    assert put(ann, f"{base}/{experiment['id']}/image", picture()).status_code == 404
    assert looked_at == []


def test_nobody_waits_while_a_picture_is_scaled(
    local: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, go_on, real = threading.Event(), threading.Event(), pictures.thumbnail

    def slow(data: bytes) -> Any:
        going.set()
        assert go_on.wait(60)
        return real(data)

    monkeypatch.setattr(pictures, "thumbnail", slow)
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(put, local, path, picture())
        assert going.wait(60)
        assert local.experiment("meanwhile")
        assert local.delete(path.removesuffix("/image")).status_code == 204
        go_on.set()
        assert sent.result().json()["message"] == "Drift not found."


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
