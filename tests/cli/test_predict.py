"""`lenswatch predict` and `explain`."""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from PIL import ExifTags, Image

from conftest import Camera, camera_pixels, jpeg, write_settings
from lenswatch.cli.main import main
from lenswatch.config import Config
from lenswatch.node.observe import Node
from lenswatch.node.request import open_store
from support.ports import free_port


def test_predict_judges_one_picture(
    trained: Config, run: Any, tmp_path: Path, camera: Camera
) -> None:
    (tmp_path / "one.jpg").write_bytes(camera(60))
    ended = run("predict", tmp_path / "one.jpg")
    assert ended.exit_code == 0, ended.output
    name, distance, score, verdict = ended.output.split()
    assert (name, verdict) == ("one.jpg", "clean")
    assert abs(float(distance)) < 1
    assert float(score) >= 0


def test_predict_judges_a_folder_in_order_as_json(
    trained: Config, run: Any, tmp_path: Path, camera: Camera
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in (62, 60, 61):
        (folder / f"{i}.jpg").write_bytes(camera(i))
    ended = run("predict", "--json", "--stream", "reef", folder)
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert "3 pictures, ordered by name" in ended.stderr
    assert [answer["image_name"] for answer in answers] == ["60.jpg", "61.jpg", "62.jpg"]
    assert {answer["stream"] for answer in answers} == {"reef"}


def test_a_bad_picture_in_a_folder_is_named_and_the_others_are_judged(
    trained: Config, run: Any, tmp_path: Path, camera: Camera
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"")
    (folder / "b.jpg").write_bytes(camera(60))
    ended = run("predict", folder)
    assert ended.exit_code == 1
    assert "a.jpg: the file is empty" in ended.output
    assert "b.jpg" in ended.output
    assert "1 of 2 pictures could not be used" in ended.output


@pytest.fixture
def timed(tmp_path: Path) -> Path:
    """A folder with pictures of 8:00, 9:00 and 10:00, the last one a copy of the second."""
    folder = tmp_path / "timed"
    folder.mkdir()
    for number, (hour, frame) in {10: (8, 60), 2: (9, 61), 3: (10, 61)}.items():
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.Exif)[0x9003] = f"2026:06:01 {hour:02}:00:00"
        exif.get_ifd(ExifTags.IFD.Exif)[0x9011] = "+00:00"
        (folder / f"{number}.jpg").write_bytes(jpeg(camera_pixels(frame), exif=exif))
    (folder / "3.jpg").write_bytes((folder / "2.jpg").read_bytes())
    return folder


def answers_of(ended: Any) -> list[dict[str, Any]]:
    assert ended.exit_code == 0, ended.output
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_a_folder_is_judged_in_the_order_in_which_it_was_taken(
    trained: Config, run: Any, timed: Path
) -> None:
    ended = run("predict", "--json", timed)
    found = [(answer["image_name"], answer["captured_at"][11:16]) for answer in answers_of(ended)]
    assert found == [("10.jpg", "08:00"), ("2.jpg", "09:00"), ("3.jpg", "09:00")]
    assert "ordered by EXIF time: 2026-06-01 08:00 to 2026-06-01 09:00 UTC" in ended.stderr
    assert "3.jpg (2026-06-01 09:00) comes before 10.jpg" in ended.stderr


def test_pictures_without_any_time_come_one_after_the_other(
    trained: Config, run: Any, camera: Camera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their time is that of judging, although threads look at them in any order."""
    folder = tmp_path / "timeless"
    folder.mkdir()
    for i in range(24):
        (folder / f"{i:02}.jpg").write_bytes(camera(60 + i))
        os.utime(folder / f"{i:02}.jpg", (0, 0))
    look, begun = Node.look, itertools.count()

    def slowly(node: Node, source: Any, request: Any) -> Any:
        time.sleep(0.02 if next(begun) % 3 == 0 else 0)
        return look(node, source, request)

    monkeypatch.setattr(Node, "look", slowly)
    monkeypatch.setattr("lenswatch.cli.predict.usable_cores", lambda: 4)
    answers = answers_of(run("predict", "--json", folder))
    assert [answer["late"] for answer in answers] == [False] * 24
    times = [answer["captured_at"] for answer in answers]
    assert times == sorted(times)


def test_the_same_folder_again_counts_nothing_twice(trained: Config, run: Any, timed: Path) -> None:
    """Copies are pictures of their own: a frozen camera writes the same file again and again."""
    first = answers_of(run("predict", "--json", timed))
    assert len({answer["event_id"] for answer in first}) == 3
    (timed / "20.jpg").write_bytes((timed / "10.jpg").read_bytes())
    again = run("predict", "--json", timed)
    repeated = {answer["image_name"]: answer for answer in answers_of(again)}
    assert [repeated[answer["image_name"]] for answer in first] == first
    assert "3 of 4 pictures were judged before" in again.stderr
    assert "1 of 4 pictures is older than the newest of stream default" in again.stderr
    assert repeated["20.jpg"]["late"] is True
    assert [stream.images for stream in open_store(trained).streams()] == [3]
    anew = answers_of(run("predict", "--json", "--again", timed))
    assert not {a["event_id"] for a in anew} & {a["event_id"] for a in first}


def test_another_stream_or_rule_is_another_verdict(trained: Config, run: Any, timed: Path) -> None:
    runs = [(), ("--stream", "reef"), ("--drift-distance", "0.5"), ("--warning-distance", "0.5")]
    found = [answers_of(run("predict", "--json", *options, timed)) for options in runs]
    assert len({answer["event_id"] for answers in found for answer in answers}) == 12


def test_an_interrupted_folder_is_continued(trained: Config, run: Any, timed: Path) -> None:
    whole = answers_of(run("predict", "--json", "--stream", "whole", timed))
    (timed / "3.jpg").rename(timed.parent / "3.jpg")
    run("predict", "--stream", "part", timed)
    (timed.parent / "3.jpg").rename(timed / "3.jpg")
    continued = answers_of(run("predict", "--json", "--stream", "part", timed))
    same = ("image_name", "distance", "score", "window", "captured_at", "late")
    assert [[a[name] for name in same] for a in continued] == [
        [a[name] for name in same] for a in whole
    ]


def test_a_folder_of_years_ago_leaves_the_live_stream_alone(
    trained: Config, run: Any, timed: Path, tmp_path: Path, camera: Camera
) -> None:
    answers_of(run("predict", "--json", timed))
    old = tmp_path / "old"
    old.mkdir()
    for hour in (8, 9):
        (old / f"20230728-{hour:02}0000.jpg").write_bytes(camera(60, blurred=True))
    ended = run("predict", old)
    assert [line.split()[-1] for line in ended.stdout.splitlines()] == ["(late)"] * 2
    assert [stream.images for stream in open_store(trained).streams()] == [3]


def test_one_wrong_clock_in_a_folder_changes_no_other_time(
    trained: Config, run: Any, tmp_path: Path, camera: Camera
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(11):
        name = f"cam{i:02}_{'20150101' if i == 4 else '20260601'}-08{i:02}00.jpg"
        (folder / name).write_bytes(camera(60 + i % 3))
    ended = run("predict", "--json", folder)
    answers = answers_of(ended)
    assert [answer["captured_at"][:16] for answer in answers] == [
        f"2026-06-01T08:{3 if i == 4 else i:02}" for i in range(11)
    ]
    assert not any(answer["late"] for answer in answers)
    (told,) = [answer for answer in answers if "camera_time" in answer]
    assert (told["image_name"][:5], told["camera_time"][:16]) == ("cam04", "2015-01-01T08:04")
    assert "camera clock" in [cause["name"] for cause in told["causes"]]
    assert "1 of 11 pictures has no time in the name that can be right: cam04" in ended.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("--stream", "Bad"), ("--drift-distance", "nan"), ("--warning-distance", "inf")],
)
def test_an_option_that_no_picture_can_be_judged_with_is_told_once(
    trained: Config, run: Any, timed: Path, option: str, value: str
) -> None:
    ended = run("predict", option, value, timed)
    assert ended.exit_code == 1
    (line,) = ended.output.splitlines()
    assert value in line


def test_one_picture_is_judged_each_time(
    trained: Config, run: Any, tmp_path: Path, camera: Camera
) -> None:
    (tmp_path / "latest.jpg").write_bytes(camera(60))
    ids = {
        answers_of(run("predict", "--json", tmp_path / "latest.jpg"))[0]["event_id"]
        for _ in range(2)
    }
    assert len(ids) == 2


def test_predict_without_a_tracking_server_keeps_the_jobs(
    trained: Config, tmp_path: Path, camera: Camera
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    settings = write_settings(tmp_path, url)
    (tmp_path / "one.jpg").write_bytes(camera(60))
    command = ["predict", "--config", str(settings), str(tmp_path / "one.jpg")]
    ended = CliRunner().invoke(main, command)
    assert ended.exit_code == 0
    assert f"1 drift job waits in the outbox for {url}" in ended.output
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=1)
    assert (
        "1 job and 1 picture waiting"
        in CliRunner().invoke(main, ["status", "--config", str(settings)]).output
    )


def test_explain_draws_a_blurred_picture_and_names_the_cause(
    trained: Config, run: Any, tmp_path: Path, camera: Camera
) -> None:
    (tmp_path / "blurred.jpg").write_bytes(camera(60, blurred=True))
    ended = run("explain", "--output", tmp_path / "why.png", tmp_path / "blurred.jpg")
    assert ended.exit_code == 0, ended.output
    assert "times the threshold" in ended.output
    assert "nearest clean picture: clean/00" in ended.output
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
    assert "stream" not in run("status").output.splitlines()[-1]  # nothing was recorded


@pytest.mark.parametrize("name", ["why.xyz", "why", "why.gif"])
def test_explain_refuses_a_name_that_is_no_drawing(
    trained: Config, run: Any, tmp_path: Path, camera: Camera, name: str
) -> None:
    (tmp_path / "one.jpg").write_bytes(camera(60))
    ended = run("explain", "--output", tmp_path / name, tmp_path / "one.jpg")
    assert ended.exit_code == 1
    assert ended.output.endswith("use a name that ends in .png, .jpg or .webp\n")
    assert not (tmp_path / name).exists()


def test_explain_says_where(trained: Config, run: Any, tmp_path: Path, camera: Camera) -> None:
    (tmp_path / "blurred.jpg").write_bytes(camera(60, blurred=True))
    ended = run("explain", "--output", tmp_path / "why.png", tmp_path / "blurred.jpg")
    assert "row,column of the cells: 1,1 " in ended.output
