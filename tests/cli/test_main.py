"""The lenswatch command."""

import json
import subprocess
import sys

import numpy as np
import pytest
import requests
import torch
from click.testing import CliRunner

from conftest import SIZE, write_settings
from lenswatch.cli.main import main
from lenswatch.reference.autoencoder import Autoencoder
from lenswatch.reference.paths import current_digest
from support.ports import free_port


@pytest.fixture
def run(tmp_path):
    """Runs a command with the small camera's settings; nothing is sent anywhere."""
    settings = write_settings(tmp_path)

    def command(*arguments, needs_config=True):
        extra = ["--config", str(settings)] if needs_config else []
        return CliRunner().invoke(main, [arguments[0], *extra, *map(str, arguments[1:])])

    return command


def test_predict_judges_one_picture(trained, run, tmp_path, camera):
    (tmp_path / "one.jpg").write_bytes(camera(60))
    ended = run("predict", tmp_path / "one.jpg")
    assert ended.exit_code == 0, ended.output
    name, distance, score, verdict = ended.output.split()
    assert (name, verdict) == ("one.jpg", "clean")
    assert abs(float(distance)) < 1
    assert float(score) >= 0


def test_predict_judges_a_folder_in_order_as_json(trained, run, tmp_path, camera):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in (62, 60, 61):
        (folder / f"{i}.jpg").write_bytes(camera(i))
    ended = run("predict", "--json", "--stream", "reef", folder)
    answers = [json.loads(line) for line in ended.output.splitlines()]
    assert [answer["image_name"] for answer in answers] == ["60.jpg", "61.jpg", "62.jpg"]
    assert {answer["stream"] for answer in answers} == {"reef"}


def test_a_bad_picture_in_a_folder_is_named_and_the_others_are_judged(
    trained, run, tmp_path, camera
):
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"")
    (folder / "b.jpg").write_bytes(camera(60))
    ended = run("predict", folder)
    assert ended.exit_code == 1
    assert "a.jpg: the file is empty" in ended.output
    assert "b.jpg" in ended.output
    assert "1 of 2 pictures were refused" in ended.output


def test_status_and_reset_tell_of_streams(trained, run, tmp_path, camera):
    (tmp_path / "one.jpg").write_bytes(camera(60))
    run("predict", "--stream", "reef", tmp_path / "one.jpg")
    shown = run("status").output
    assert "reef" in shown
    assert current_digest(trained.storage_path) in shown
    assert "window cleared" in run("reset", "reef").output
    again = run("reset", "reef")
    assert again.exit_code == 1
    assert "no window" in again.output


def test_train_makes_a_reference_and_its_thresholds(run, tmp_path, camera):
    clean = tmp_path / "storage" / "images" / "clean"
    clean.mkdir(parents=True)
    dirty = tmp_path / "storage" / "images" / "dirty"
    dirty.mkdir()
    for i in range(40):
        (clean / f"{i:03}.jpg").write_bytes(camera(i))
    for i in range(14):
        (dirty / f"{i:03}.jpg").write_bytes(camera(i, blurred=True))
    ended = run("train")
    assert ended.exit_code == 0, ended.output
    assert "training: 1/4 loss" in ended.output
    assert "drift above" in ended.output
    assert current_digest(tmp_path / "storage") in ended.output
    assert "dirty pictures: 14; by the distance alone, drift in" in ended.output


def test_calibrate_takes_a_streams_own_pictures(trained, run, tmp_path, camera):
    own = tmp_path / "own"
    own.mkdir()
    for i in range(30):
        (own / f"own-{i:03}.jpg").write_bytes(camera(100 + i))
    ended = run("calibrate", "--stream", "reef", own)
    assert ended.exit_code == 0, ended.output
    assert "stream reef:" in ended.output
    assert "distance: drift above" in ended.output
    assert list((tmp_path / "storage" / "calibration").glob("*/reef.json"))


def test_the_tutorials_pair_is_adopted(run, tmp_path):
    torch.manual_seed(0)
    pair = tmp_path / "pair"
    pair.mkdir()
    network = Autoencoder(SIZE, 8)
    torch.save(network.state_dict(), pair / "autoencoder.pth")
    rows = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    torch.save([torch.from_numpy(row[None]) for row in rows], pair / "clean_embeddings.pth")
    ended = run("adopt", pair)
    assert ended.exit_code == 0, ended.output
    assert "from 40 clean embeddings" in ended.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train",), "camera_state.clean: 'clean/*' names no picture"),
        (("calibrate",), "there is no reference yet"),
        (("status",), None),
    ],
)
def test_what_is_missing_is_one_clear_line(run, arguments, says):
    ended = run(*arguments)
    assert ended.exit_code == (1 if says else 0)
    if says:
        assert ended.output.startswith("lenswatch: ")
        assert len(ended.output.splitlines()) == 1
        assert says in ended.output


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from lenswatch.cli.main import main
main()
"""


def test_a_command_of_the_node_says_what_the_server_alone_is_without(tmp_path):
    settings = write_settings(tmp_path)
    command = [sys.executable, "-c", WITHOUT_TORCH, "train", "--config", str(settings)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "lenswatch: this command needs torch, and only the tracking server is installed here; "
        "pip install . in its source folder brings the rest\n"
    )


def test_a_missing_settings_file_is_one_clear_line(tmp_path):
    ended = CliRunner().invoke(main, ["status", "--config", str(tmp_path / "none.toml")])
    assert ended.exit_code == 1
    assert ended.output.startswith("lenswatch: ")
    assert "--config" in ended.output


def test_every_command_is_in_the_readme():
    from pathlib import Path

    readme = (Path(__file__).parents[2] / "README.md").read_text()
    missing = [name for name in main.commands if f"lenswatch {name}" not in readme]
    assert missing == []


def test_predict_without_a_tracking_server_keeps_the_jobs(trained, tmp_path, camera):
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


def test_calibrate_draws_its_runs(trained, run, tmp_path):
    ended = run("calibrate", "--plot", tmp_path / "runs.png")
    assert ended.exit_code == 0, ended.output
    assert (tmp_path / "runs.png").read_bytes().startswith(b"\x89PNG")


def test_explain_draws_a_blurred_picture_and_names_the_cause(trained, run, tmp_path, camera):
    (tmp_path / "blurred.jpg").write_bytes(camera(60, blurred=True))
    ended = run("explain", "--output", tmp_path / "why.png", tmp_path / "blurred.jpg")
    assert ended.exit_code == 0, ended.output
    assert "times the threshold" in ended.output
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
    assert "stream" not in run("status").output.splitlines()[-1]  # nothing was recorded


def test_compare_tells_folders_apart_and_writes_a_page(trained, run, tmp_path, camera):
    for name, blurred in (("same", False), ("blurred", True)):
        folder = tmp_path / name
        folder.mkdir()
        for i in range(30):
            (folder / f"{i:03}.jpg").write_bytes(camera(2 * i, blurred=blurred))
    clean = tmp_path / "storage" / "images" / "clean"
    page = tmp_path / "report.html"
    ended = run("compare", "--html", page, clean, tmp_path / "same", tmp_path / "blurred")
    assert ended.exit_code == 0, ended.output
    assert "same: no drift" in ended.output
    assert "blurred: drift" in ended.output
    assert "plotly" in page.read_text().lower()


def test_keys_are_made_listed_and_revoked(tmp_path):
    settings = str(write_settings(tmp_path))

    def keys(*arguments):
        return CliRunner().invoke(
            main, ["keys", arguments[0], "--config", settings, *arguments[1:]]
        )

    made = keys("create", "buoy-7", "--level", "Read")
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    listed = keys("list").output
    assert "buoy-7" in listed
    assert secret not in listed
    assert "revoked: buoy-7" in keys("revoke", "buoy-7").output
    again = keys("revoke", "nobody")
    assert again.exit_code == 1
    assert again.output.startswith("lenswatch: ")


def test_an_unknown_detector_is_named_with_the_known_ones(run, tmp_path, camera):
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(camera(1))
    ended = run("evaluate", "--detector", "nobody:nothing", folder)
    assert ended.exit_code == 1
    assert "lenswatch, tutorial" in ended.output


def test_a_detector_of_ones_own_is_judged(run, tmp_path, camera):
    folder = tmp_path / "harbour"
    folder.mkdir()
    for i in range(262):
        (folder / f"{i:03}.jpg").write_bytes(camera(i))
    files = [tmp_path / "figures.json", tmp_path / "page.html"]
    asked = ("--detector", "support.detectors:brightness", "--onsets", "1", "--processes", "2")
    ended = run("evaluate", *asked, "--json", files[0], "--html", files[1], folder)
    assert ended.exit_code == 0, ended.output
    assert "harbour: corrupted footage: 21/21" in ended.output
    (found,) = json.loads(files[0].read_text())
    assert found["own threshold"]["false alarms"]["images"] == 125
    assert found["own threshold"]["detections"]["sudden 3"]["brightness"]["share"] == 1
    assert "support.detectors:brightness" in files[1].read_text()
