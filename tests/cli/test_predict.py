"""`lenswatch predict` and `explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from conftest import Camera, write_settings
from lenswatch.cli.main import main
from lenswatch.config import Config
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
    answers = [json.loads(line) for line in ended.output.splitlines()]
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


def test_predict_without_a_tracking_server_keeps_the_jobs(
    trained: Config, tmp_path: Path, camera: Camera
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    settings = write_settings(tmp_path, url)
    (tmp_path / "one.jpg").write_bytes(camera(60))
    command = ["predict", "--config", str(settings), str(tmp_path / "one.jpg")]
    ended = CliRunner().invoke(main, command)
    assert ended.exit_code == 0
    assert f"1 drift jobs wait in the outbox for {url}" in ended.output
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=1)
    assert (
        "1 jobs and 0 pictures waiting"
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
